"""The keyring: a registry's credentials, wherever the operator keeps them."""

from __future__ import annotations

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure

from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Registry
from image_cri_shim.registry.credential_helper import Processes, ask_helper, no_answer
from image_cri_shim.registry.docker_config import DockerConfig, Helper, parse_docker_config
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.health import BackOff
from image_cri_shim.registry.local_file import Reread, cannot_use, read_file
from image_cri_shim.registry.systemd_credential import credential_path, read_credential
from image_cri_shim.singleflight import SingleFlight

# For how long a helper is left alone that has failed: as long as a registry would be.
_BACK_OFF = BackOff()
# Seconds; one that nobody wanted to wait for any longer has failed too, if that was so long.
_LONG = 5.0


@attrs.frozen
class _Kept:
    """What a helper has answered.

    :ivar until: on the clock; until then nobody asks again.
    """

    credentials: Credentials | None
    until: float


@attrs.frozen
class _Failure:
    """How a helper has failed.

    :ivar failures: how often it has failed without an answer in between.
    :ivar until: on the clock; until then nobody asks again.
    """

    detail: str
    timed_out: bool
    failures: int
    until: float


class Keyring:
    """Finds credentials: those in the configuration, else those that a file has or leads to.

    The file is one that docker has written, or a credential of systemd's.

    A helper that fails is left alone for a while, in which it fails at once for the same reason:
    it may take its time, and everybody who pulls would wait for it.

    :param reactor: runs credential helpers, and measures time.
    :param ttl: seconds that what a helper has answered holds; 0 to ask it every time.
    :param credentials_directory: where systemd has put the service's credentials; None for none.
    """

    def __init__(
        self, reactor: Processes, ttl: float, credentials_directory: str | None = None
    ) -> None:
        self._reactor = reactor
        self._ttl = ttl
        self._directory = credentials_directory
        self._handed: dict[str, Reread[Credentials]] = {}
        self._files: dict[str, Reread[DockerConfig]] = {}
        self._kept: dict[Helper, _Kept] = {}
        self._failures: dict[Helper, _Failure] = {}
        self._running: SingleFlight[Helper, Credentials | None] = SingleFlight()

    def credentials(self, registry: Registry) -> Deferred[Credentials | None]:
        """Find a registry's credentials as they are now.

        :returns: a Deferred with None where the registry has none. It fails with Unanswered if the
            file, or the helper that it names, cannot be used.
        """
        if registry.credentials is not None:
            return succeed(registry.credentials)
        try:
            found = self._find(registry)
        except Unanswered as problem:
            return fail(problem)
        if not isinstance(found, Helper):
            return succeed(found)
        kept = self._kept.get(found)
        if kept is not None and kept.until > self._reactor.seconds():
            return succeed(kept.credentials)
        failure = self._failures.get(found)
        if failure is not None and failure.until > self._reactor.seconds():
            return fail(Unanswered(failure.detail, timed_out=failure.timed_out))
        return self._running.join(found, lambda: self._ask(found))

    def forget(self, registry: Registry) -> None:
        """Drop what a helper has answered for a registry: it was of no use there.

        That it has failed is not forgotten.
        """
        try:
            found = self._find(registry)
        except Unanswered:
            return
        if isinstance(found, Helper):
            self._kept.pop(found, None)

    def _handed_over(self, registry: Registry) -> Credentials | None:
        path = credential_path(registry, self._directory)
        if path is None:
            return None
        if path not in self._handed:
            self._handed[path] = Reread((path,), lambda: read_credential(path))
        return self._handed[path].get()

    def _find(self, registry: Registry) -> Credentials | Helper | None:
        path = registry.auth_file
        if path is None:
            return self._handed_over(registry)
        if path not in self._files:
            self._files[path] = Reread((path,), lambda: _read(path))
        config = self._files[path].get()
        try:
            return config.find(registry.domain, registry.prefix)
        except ValueError as problem:
            why = str(problem)
        raise cannot_use(path, why)

    def _ask(self, helper: Helper) -> Deferred[Credentials | None]:
        asking = ask_helper(self._reactor, helper)
        asked = self._reactor.seconds()
        return asking.addCallbacks(
            self._keep, self._failed, callbackArgs=(helper,), errbackArgs=(helper, asked)
        )

    def _keep(self, credentials: Credentials | None, helper: Helper) -> Credentials | None:
        self._failures.pop(helper, None)
        if self._ttl > 0:
            self._kept[helper] = _Kept(credentials, self._reactor.seconds() + self._ttl)
        return credentials

    def _failed(self, failure: Failure, helper: Helper, asked: float) -> Failure:
        now = self._reactor.seconds()
        reason = failure.value
        if failure.check(CancelledError) and now - asked >= _LONG:
            reason = no_answer(helper, now - asked)
        if isinstance(reason, Unanswered):
            before = self._failures.get(helper)
            failures = 1 if before is None else before.failures + 1
            until = now + _BACK_OFF.delay(failures, None, 0.0)
            self._failures[helper] = _Failure(reason.detail, reason.timed_out, failures, until)
        return failure


def _read(path: str) -> DockerConfig:
    content = read_file(path)
    try:
        return parse_docker_config(content)
    except ValueError as problem:
        why = str(problem)
    raise cannot_use(path, why)
