"""A pull that fails goes on with the next source, within the same call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import grpc
import pytest

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome, Registry
from tests.cri.background import PATIENCE
from tests.cri.scripted import ScriptedUpstream, UpstreamCall, frame, hang, refuse, reply
from tests.cri.shim import IMAGES, Shim
from tests.cri.test_pull_image import HUB_NGINX, PULL, PULLED, in_turn, requests
from tests.cri.wire import Wire
from tests.support.cri_client import CRI

OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
HARBOR = Registry("harbor.corp")
MIRROR = Registry("mirror.corp", priority=100)
NGINX = b"\x0a\x0c\x0a\x0anginx:1.25"
PRESENT, ABSENT = Outcome.PRESENT, Outcome.ABSENT
GONE = "NOT_FOUND: gone"


@pytest.fixture
def shim(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> Shim:
    return make_shim(upstream.path, registries=[HARBOR, OFFLINE, MIRROR])


def candidates(shim: Shim) -> tuple[Candidate, ...]:
    return shim.policy.candidates("nginx:1.25")


def pulled(upstream: ScriptedUpstream) -> list[str]:
    return [request.image.image for request in requests(upstream)]


class Resolver:
    """Makes planned decisions, and remembers what it was told for each."""

    def __init__(self, shim: Shim, *decisions: Decision) -> None:
        self.told: list[tuple[str, Decision | None, tuple[Candidate, ...]]] = []
        self._left = iter(decisions)
        shim.resolve = self.first
        shim.resolve_again = self.again

    async def first(self, image: str) -> Decision:
        self.told.append((image, None, ()))
        return next(self._left)

    async def again(self, image: str, earlier: Decision, failed: Sequence[Candidate]) -> Decision:
        self.told.append((image, earlier, tuple(failed)))
        return next(self._left)


def test_an_image_that_is_gone_comes_from_the_next_registry_that_has_it(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    hub, harbor, mirror, origin = candidates(shim)
    first = Decision((hub, origin), (LookUp(hub, PRESENT),))
    second = Decision((mirror, origin), (LookUp(harbor, ABSENT, "404"), LookUp(mirror, PRESENT)))
    resolver = Resolver(shim, first, second)
    upstream.scripts["PullImage"] = in_turn(refuse(5, b"gone"), reply(PULLED))
    assert client.pull("nginx:1.25") == "sha256:" + "ab" * 32
    assert pulled(upstream) == [hub.name, mirror.name]
    assert resolver.told == [("nginx:1.25", None, ()), ("nginx:1.25", first, (hub,))]
    pull = shim.notes.next_pull()
    assert pull.error == ""
    assert [(a.candidate, a.error) for a in pull.attempts] == [(hub, GONE), (mirror, "")]


def test_each_decision_is_told_of_the_one_before_and_of_all_that_failed(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    hub, harbor, mirror, origin = candidates(shim)
    decisions = [Decision((one, origin)) for one in (hub, harbor, mirror)]
    resolver = Resolver(shim, *decisions)
    upstream.scripts["PullImage"] = in_turn(*[refuse(5, b"gone")] * 2, reply(PULLED))
    client.pull("nginx:1.25")
    assert resolver.told[1:] == [
        ("nginx:1.25", decisions[0], (hub,)),
        ("nginx:1.25", decisions[1], (hub, harbor)),
    ]


def test_the_log_hears_of_the_first_decision_alone(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    hub, harbor, _, origin = candidates(shim)
    first = Decision((hub, origin))
    Resolver(shim, first, Decision((harbor, origin)))
    upstream.scripts["PullImage"] = in_turn(refuse(5, b"gone"), reply(PULLED))
    client.pull("nginx:1.25")
    shim.wait_idle()
    assert shim.notes.decisions == [("nginx:1.25", first)]


def test_what_was_pulled_at_last_is_asked_for_first_from_then_on(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = in_turn(refuse(5), refuse(5), reply(PULLED))
    upstream.scripts["ImageStatus"] = reply(b"\x0a\x04\x0a\x02ab")
    client.pull("nginx:1.25")
    client.image_status("nginx:1.25")
    (call,) = upstream.of("ImageStatus")
    asked = cri_pb2.ImageStatusRequest.FromString(call.message).image.image
    assert asked == "mirror.corp/library/nginx:1.25"


def test_what_failed_is_forgotten_and_what_succeeded_is_not(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = in_turn(refuse(5), refuse(14, b"down"), reply(PULLED))
    client.pull("nginx:1.25")
    assert shim.forgotten == list(candidates(shim)[:2])


def test_a_pull_that_fails_altogether_leaves_nothing_remembered(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    hub, harbor, mirror, origin = candidates(shim)
    asked = (LookUp(hub, ABSENT, "404"), LookUp(harbor, ABSENT, "404"), LookUp(mirror, ABSENT))
    Resolver(shim, Decision((origin,), asked), Decision((), asked))
    upstream.scripts["PullImage"] = refuse(5, b"gone")
    assert client.raw(PULL, NGINX).code.value[0] == 5
    assert shim.forgotten == [origin, hub, harbor, mirror]


def test_it_is_forgotten_before_it_is_decided_again(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    forgotten: list[int] = []

    async def again(_: str, earlier: Decision, failed: Sequence[Candidate]) -> Decision:
        forgotten.append(len(shim.forgotten))
        return await shim.the_others("", earlier, failed)

    shim.resolve_again = again
    upstream.scripts["PullImage"] = in_turn(refuse(5), reply(PULLED))
    client.pull("nginx:1.25")
    assert forgotten == [1]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (3, b"invalid"),
        (2, b"write /var/lib/x: no space left on device"),
        (2, b"mkdir /var/lib/x: read-only file system"),
    ],
)
def test_what_no_other_source_cures_ends_it_with_the_runtimes_own_status(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, code: int, message: bytes
) -> None:
    details = (b"grpc-status-details-bin", b"CAUSB21pc3Npbmc")
    upstream.scripts["PullImage"] = in_turn(refuse(5, b"gone"), refuse(code, message, details))
    answer = client.raw(PULL, NGINX)
    assert (answer.code.value[0], answer.details) == (code, message.decode())
    assert ("grpc-status-details-bin", b"\x08\x05\x12\x07missing") in answer.trailing_metadata
    assert len(requests(upstream)) == 2
    assert shim.forgotten == list(candidates(shim)[:1])
    pull = shim.notes.next_pull()
    assert [a.error for a in pull.attempts] == [GONE, pull.error]


def test_a_registry_that_the_runtime_waited_for_in_vain_is_not_the_end(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    # containerd's words for a registry whose host drops packets.
    message = b'failed to do request: Head "http://x/": dial tcp 10.0.0.1:443: i/o timeout'
    upstream.scripts["PullImage"] = in_turn(refuse(4, message), reply(PULLED))
    client.pull("nginx:1.25")
    assert len(requests(upstream)) == 2


def test_the_same_words_end_it_when_no_time_is_left(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    # Less than a second of the client's: with its deadline over, another attempt makes no sense.
    shim = make_shim(upstream.path, registries=[OFFLINE], timeout=0.9)
    message = b"failed to pull and unpack image: context deadline exceeded"
    upstream.scripts["PullImage"] = refuse(4, message)
    answer = shim.client().raw(PULL, NGINX, timeout=None)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert answer.details == message.decode()
    assert pulled(upstream) == [HUB_NGINX]


def test_a_decision_for_what_has_failed_already_is_no_endless_loop(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    async def stubborn(_: str, earlier: Decision, failed: Sequence[Candidate]) -> Decision:
        return earlier

    shim.resolve_again = stubborn
    upstream.scripts["PullImage"] = refuse(5, b"gone")
    answer = client.raw(PULL, NGINX)
    assert answer.code is grpc.StatusCode.NOT_FOUND
    assert pulled(upstream) == [one.name for one in candidates(shim)]


def test_a_decision_for_nothing_more_ends_it(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    hub, *_ = candidates(shim)
    Resolver(shim, Decision((hub,), (LookUp(hub, PRESENT),)), Decision(()))
    upstream.scripts["PullImage"] = refuse(5, b"gone")
    answer = client.raw(PULL, NGINX)
    assert (answer.code, answer.details) == (grpc.StatusCode.NOT_FOUND, "gone")
    assert shim.notes.next_pull().error == GONE


def test_a_cancel_during_the_second_decision_ends_it_at_once(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    asked, cancelled = (shim.background.call(asyncio.Event) for _ in range(2))

    async def never(_: str, earlier: Decision, failed: Sequence[Candidate]) -> Decision:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    shim.resolve_again = never
    upstream.scripts["PullImage"] = refuse(5, b"gone")
    call = client.start(PULL, NGINX)
    shim.background.run(asked.wait())
    call.cancel()
    shim.background.run(cancelled.wait())
    pull = shim.notes.next_pull()
    assert [(a.candidate.name, a.error) for a in pull.attempts] == [(HUB_NGINX, GONE)]
    assert pull.error == "cancelled"
    assert len(upstream.calls) == 1


def test_a_cancel_during_the_second_attempt_reaches_the_runtime_and_ends_it(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = in_turn(refuse(5, b"gone"), hang)
    call = client.start(PULL, NGINX)
    upstream.next_call()
    second = upstream.next_call()
    call.cancel()
    assert second.reset.result(PATIENCE) == 8
    pull = shim.notes.next_pull()
    assert [a.error for a in pull.attempts] == [GONE, "cancelled"]
    assert pull.error == "cancelled"
    shim.wait_idle()
    assert len(upstream.calls) == 2


def test_all_attempts_share_the_clients_deadline(shim: Shim, upstream: ScriptedUpstream) -> None:
    upstream.scripts["PullImage"] = in_turn(refuse(5, b"gone"), hang)
    with Wire(shim.path) as wire:
        answer = wire.call(PULL.encode(), frame(NGINX), [(b"grpc-timeout", b"300m")])
    assert answer.status == (4, "context deadline exceeded")
    pull = shim.notes.next_pull()
    assert pull.error == "deadline exceeded"
    assert len(pull.attempts) == 2


def test_a_runtime_that_breaks_off_is_noted_with_the_attempt(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    async def reset(call: UpstreamCall) -> None:
        await call.request()
        call.abort(2)

    upstream.scripts["PullImage"] = in_turn(refuse(5, b"gone"), reset)
    answer = client.raw(PULL, NGINX)
    assert answer.code is grpc.StatusCode.INTERNAL
    pull = shim.notes.next_pull()
    assert [a.error for a in pull.attempts] == [GONE, f"INTERNAL: {answer.details}"]
    assert pull.error == pull.attempts[-1].error


def test_a_defect_in_the_second_decision_is_an_internal_error(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: str, earlier: Decision, failed: Sequence[Candidate]) -> Decision:
        raise ZeroDivisionError("a defect")

    shim.resolve_again = broken
    upstream.scripts["PullImage"] = refuse(5, b"gone")
    assert client.raw(PULL, NGINX).code is grpc.StatusCode.INTERNAL
    pull = shim.notes.next_pull()
    assert [a.error for a in pull.attempts] == [GONE]
    assert pull.error == "a defect"
    caplog.clear()


def test_a_digest_is_pulled_by_that_digest_alone_whatever_fails(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = refuse(9, b"unexpected commit digest")
    digest = "sha256:" + "12" * 32
    with pytest.raises(grpc.RpcError):
        client.pull(f"nginx:1.25@{digest}")
    names = pulled(upstream)
    assert len(names) == 4
    assert all(name.endswith(f"@{digest}") for name in names)


def test_pulls_at_the_same_time_do_not_share_what_failed(
    shim: Shim, upstream: ScriptedUpstream
) -> None:
    async def script(call: UpstreamCall) -> None:
        await call.request()
        image = cri_pb2.PullImageRequest.FromString(call.message).image.image
        gone = image.startswith(("sealos.hub", "harbor")) and "nginx" in image
        await (refuse(5, b"gone") if gone else reply(PULLED))(call)

    upstream.scripts["PullImage"] = script
    images = ["nginx:1", "redis:1", "nginx:2", "redis:2"] * 5
    body = [cri_pb2.PullImageRequest(image=cri_pb2.ImageSpec(image=one)) for one in images]
    client = shim.client()
    calls = [client.start(f"{IMAGES}PullImage", one.SerializeToString()) for one in body]
    assert all(call.result(PATIENCE) for call in calls)
    shim.wait_idle()
    for pull in shim.notes.pulls:
        attempts = [(a.candidate.source, a.error) for a in pull.attempts]
        if "nginx" in pull.image:
            assert attempts == [
                ("sealos.hub:5000", GONE),
                ("harbor.corp", GONE),
                ("mirror.corp", ""),
            ]
        else:
            assert attempts == [("sealos.hub:5000", "")]
