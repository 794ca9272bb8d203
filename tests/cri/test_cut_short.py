"""A pull that is cut short: what is remembered of its source is dropped, so the next one gets on.

A registry may answer look-ups and hang when it is pulled from.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from image_cri_shim.decision import Registry
from tests.cri.scripted import Script, ScriptedUpstream, UpstreamCall, frame, hang, refuse, reply
from tests.cri.shim import Shim
from tests.cri.test_fail_over import NGINX, candidates
from tests.cri.test_pull_image import PULL, PULLED, in_turn
from tests.cri.wire import Wire

OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
HARBOR = Registry("harbor.corp")
# Says DEADLINE_EXCEEDED in CRI-O's way, and in containerd's.
LATE = refuse(4, b"copying system image from manifest list: context deadline exceeded")
LATE_ALONE = refuse(4, b"context deadline exceeded")
LATE_DOCKER = refuse(2, b"context deadline exceeded")
STALLED = refuse(1, b"failed to pull and unpack image: context canceled")
Start = Callable[[float], Shim]


async def reset(call: UpstreamCall) -> None:
    """End as a gRPC server does whose own clock says that the deadline is over."""
    await call.request()
    call.abort(8)


@pytest.fixture
def start(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> Start:
    """Return a function that starts a shim with a `timeout`."""
    return lambda timeout: make_shim(upstream.path, registries=[HARBOR, OFFLINE], timeout=timeout)


def test_a_pull_that_takes_all_of_the_shims_time_exhausts_its_source(
    start: Start, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = hang
    shim = start(0.2)
    answer = shim.client().raw(PULL, NGINX, timeout=None)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    hub, *_ = candidates(shim)
    assert (shim.forgotten, shim.exhausted) == ([hub], [hub])
    pull = shim.notes.next_pull()
    assert [a.error for a in pull.attempts] == ["deadline exceeded"]
    assert pull.error == "deadline exceeded"


def test_only_the_one_that_was_being_pulled_is_exhausted(
    start: Start, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = in_turn(refuse(5, b"gone"), hang)
    shim = start(0.3)
    shim.client().raw(PULL, NGINX, timeout=None)
    hub, harbor, _ = candidates(shim)
    assert (shim.forgotten, shim.exhausted) == ([hub, harbor], [harbor])


@pytest.mark.parametrize("script", [LATE, LATE_ALONE, LATE_DOCKER, STALLED, reset])
def test_a_runtime_whose_clock_is_a_moment_ahead_says_the_same(
    start: Start, upstream: ScriptedUpstream, script: Script
) -> None:
    upstream.scripts["PullImage"] = script
    # Less than a second of the shim's is as good as none.
    shim = start(0.9)
    answer = shim.client().raw(PULL, NGINX, timeout=None)
    assert answer.code is not grpc.StatusCode.OK
    hub, *_ = candidates(shim)
    assert (shim.forgotten, shim.exhausted) == ([hub], [hub])
    assert len(upstream.of("PullImage")) == 1


@pytest.mark.parametrize("script", [hang, LATE, LATE_ALONE, LATE_DOCKER, reset])
def test_a_clients_own_deadline_is_no_reason_to_think_less_of_a_registry(
    start: Start, upstream: ScriptedUpstream, script: Script
) -> None:
    upstream.scripts["PullImage"] = script
    shim = start(900)
    with Wire(shim.path) as wire:
        wire.call(PULL.encode(), frame(NGINX), [(b"grpc-timeout", b"300m")])
    shim.notes.next_pull()
    hub, *_ = candidates(shim)
    assert (shim.forgotten, shim.exhausted) == ([hub], [])


def test_nor_is_a_client_that_gives_up(start: Start, upstream: ScriptedUpstream) -> None:
    upstream.scripts["PullImage"] = hang
    shim = start(900)
    call = shim.client().start(PULL, NGINX)
    upstream.next_call()
    call.cancel()
    pull = shim.notes.next_pull()
    assert ([a.error for a in pull.attempts], pull.error) == (["cancelled"], "cancelled")
    hub, *_ = candidates(shim)
    assert (shim.forgotten, shim.exhausted) == ([hub], [])


@pytest.mark.parametrize("script", [LATE_ALONE, reset])
def test_nor_is_a_runtime_that_breaks_off_while_there_is_time(
    start: Start, upstream: ScriptedUpstream, script: Script
) -> None:
    upstream.scripts["PullImage"] = script
    shim = start(900)
    shim.client().raw(PULL, NGINX, timeout=None)
    hub, *_ = candidates(shim)
    assert (shim.forgotten, shim.exhausted) == ([hub], [])


def test_a_failure_in_the_last_second_that_has_to_do_with_no_clock_exhausts_nobody(
    start: Start, upstream: ScriptedUpstream
) -> None:
    full = refuse(2, b"write /var/lib/x: no space left on device")
    upstream.scripts["PullImage"] = full
    shim = start(0.9)
    shim.client().raw(PULL, NGINX, timeout=None)
    assert (shim.forgotten, shim.exhausted) == ([], [])


def test_a_runtime_that_goes_away_is_not_its_registrys_fault(
    start: Start, upstream: ScriptedUpstream
) -> None:
    async def die(call: UpstreamCall) -> None:
        await call.request()
        call.connection.transport.abort()

    upstream.scripts["PullImage"] = die
    shim = start(0.9)
    shim.client().raw(PULL, NGINX, timeout=None)
    assert (shim.forgotten, shim.exhausted) == ([], [])


def test_a_source_that_stalls_while_there_is_time_is_passed_over_and_exhausts_nobody(
    start: Start, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = in_turn(STALLED, reply(PULLED))
    shim = start(900)
    shim.client().pull("nginx:1.25", timeout=None)
    hub, *_ = candidates(shim)
    assert (shim.forgotten, shim.exhausted) == ([hub], [])
