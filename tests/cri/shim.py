"""The CRI server under test, with hand-made collaborators."""

from __future__ import annotations

import queue
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import attrs
import grpc

from image_cri_shim.call_identity import CallIdentity
from image_cri_shim.config.settings import OriginalNames
from image_cri_shim.cri.memory import Memory
from image_cri_shim.cri.pull import Routing, configured_credentials
from image_cri_shim.cri.server import CriServer
from image_cri_shim.cri.upstream import Upstream
from image_cri_shim.decision import Candidate, Decision, Pull, Registry
from image_cri_shim.measurements import CallMeasurements
from image_cri_shim.policy import Policy
from image_cri_shim.redaction import Redactor
from image_cri_shim.rules import Rule
from tests.cri.background import PATIENCE, Background
from tests.support.cri_client import CRI
from tests.support.processes import wait_until

IMAGES = "/runtime.v1.ImageService/"
Resolve = Callable[[str], Awaitable[Decision]]
ResolveAgain = Callable[[str, Decision, Sequence[Candidate]], Awaitable[Decision]]


class Notes:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.callers: list[CallIdentity] = []
        self.decisions: list[tuple[str, Decision]] = []
        self.pulls: list[Pull] = []
        self.tried: list[Candidate] = []
        self._ended: queue.Queue[Pull] = queue.Queue()

    def began(self, image: str, identity: CallIdentity) -> Note:
        self.callers.append(identity)
        return Note(image, self)

    def ended(self, pull: Pull) -> None:
        self.pulls.append(pull)
        self._ended.put(pull)

    def next_pull(self) -> Pull:
        """Wait for a pull to be over."""
        return self._ended.get(timeout=PATIENCE)


class Note:
    """What is remembered of one pull."""

    def __init__(self, image: str, notes: Notes) -> None:
        self._image = image
        self._notes = notes

    def decided(self, decision: Decision) -> None:
        self._notes.decisions.append((self._image, decision))

    def trying(self, candidate: Candidate, decision: Decision) -> None:
        self._notes.tried.append(candidate)

    def ended(self, pull: Pull) -> None:
        self._notes.ended(pull)


class Shim:
    """A `CriServer` in front of the socket `runtime`.

    What decides can be replaced at any time: `resolve` makes the first decision of a pull,
    `resolve_again` the ones after an attempt that failed, `credentials` finds a registry's.
    `forgotten` are the candidates that were to be forgotten, `exhausted` those that took all of
    the time.
    """

    def __init__(
        self,
        background: Background,
        path: str,
        runtime: str,
        *,
        version: str = "v1",
        registries: Iterable[Registry] = (),
        rules: Sequence[Rule] = (),
        timeout: float = 900.0,
        original_names: OriginalNames = "keep",
        state: str = "",
    ) -> None:
        self.background = background
        self.path = path
        self.runtime = runtime
        self.notes = Notes()
        self.policy = Policy(registries, rules)
        self.resolve: Resolve = self.in_order
        self.resolve_again: ResolveAgain = self.the_others
        self.credentials = configured_credentials
        self.forgotten: list[Candidate] = []
        self.exhausted: list[Candidate] = []
        self.redactor = Redactor()
        self.measurements = CallMeasurements()
        self.upstream = Upstream(lambda: self.runtime, version)
        self.timeout = timeout
        self.original_names: OriginalNames = original_names
        self.state = state
        self._clients: list[CRI] = []
        self._stopped = False
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.server = background.run(self._start())

    async def _start(self) -> CriServer:
        self.memory = Memory(self.state)
        self.memory.load()
        server = CriServer(self._routing, self.notes, self.memory, measurements=self.measurements)
        await server.start(self.listener)
        return server

    def _routing(self) -> Routing:
        return Routing(
            self.policy,
            self._resolve,
            self.timeout,
            self.upstream,
            self.redactor,
            lambda registry: self.credentials(registry),
            self.forgotten.append,
            self.exhausted.append,
            self.original_names,
        )

    async def _resolve(
        self, image: str, earlier: Decision | None = None, failed: Sequence[Candidate] = ()
    ) -> Decision:
        if earlier is None:
            return await self.resolve(image)
        return await self.resolve_again(image, earlier, failed)

    async def in_order(self, text: str) -> Decision:
        """Decide for all candidates that are allowed, in the policy's order."""
        plan = self.policy.plan(text)
        origin = (plan.as_written,) if plan.origin_allowed else ()
        return Decision(
            (*plan.candidates, *origin),
            rule=plan.rule.label if plan.rule is not None else "",
            excluded=plan.excluded,
            origin_allowed=plan.origin_allowed,
        )

    async def the_others(
        self, text: str, earlier: Decision, failed: Sequence[Candidate]
    ) -> Decision:
        """Decide for what has not failed yet."""
        left = tuple(one for one in earlier.attempts if one not in failed)
        return attrs.evolve(earlier, attempts=left)

    def client(self, version: str = "v1") -> CRI:
        """Return a new client with a connection of its own."""
        client = CRI(self.path, version)
        self._clients.append(client)
        return client

    def channel(self) -> grpc.Channel:
        """Return the connection of a new client, for calls that are not unary."""
        return self.client()._channel

    def streams(self) -> int:
        """Count the calls that either side still has registered."""
        return self.background.call(self._count_streams)

    def _count_streams(self) -> int:
        protocols: list[Any] = [*self.server._server._protocols]
        for connection in self.upstream._connector.living:
            protocols.append(connection._channel._protocol)
        return sum(len(protocol.processor.streams) for protocol in protocols)

    def wait_idle(self) -> None:
        """Wait until no call is left anywhere; nothing may remain of one that is over."""
        assert wait_until(lambda: self.streams() == 0, PATIENCE), "streams are still registered"

    def stop(self, grace: float = 0.0) -> None:
        self._stopped = True
        self.background.run(self.server.stop(grace), PATIENCE + grace)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        if not self._stopped:
            self.wait_idle()
            self.stop()
        self.background.call(self.upstream.close)
        self.listener.close()
