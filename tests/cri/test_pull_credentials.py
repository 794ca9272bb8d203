"""Whose credentials go along with a pull, and what happens where they cannot be had."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import grpc
import pytest

from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Registry
from image_cri_shim.pattern import parse_pattern
from image_cri_shim.rules import Rule
from tests.cri.scripted import ScriptedUpstream, refuse, reply
from tests.cri.shim import Shim
from tests.cri.test_fail_over import NGINX, pulled
from tests.cri.test_pull_image import (
    CLIENTS,
    HARBOR_NGINX,
    HUB_NGINX,
    PULL,
    PULLED,
    auth,
    in_turn,
    requests,
)
from tests.support.cri_client import CRI

OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
HARBOR = Registry("harbor.corp", credentials=Credentials("old", "0ld"))
NO_CREDENTIALS = "no credentials for sealos.hub:5000: the helper is missing"
FOUND = {OFFLINE.name: Credentials("robot", "f0und"), HARBOR.name: Credentials("h", "harb0r")}


async def by_helper(registry: Registry) -> Credentials | None:
    """Find other credentials than the static ones."""
    return FOUND[registry.name]


async def unavailable(registry: Registry) -> Credentials | None:
    """Fail for the offline registry."""
    if registry == OFFLINE:
        raise OSError("the helper is missing")
    return await by_helper(registry)


@pytest.fixture
def shim(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> Shim:
    upstream.scripts["PullImage"] = reply(PULLED)
    shim = make_shim(upstream.path, registries=[HARBOR, OFFLINE])
    shim.credentials = by_helper
    return shim


def test_a_rewritten_name_gets_what_was_found_for_its_registry(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = refuse(2, b"no")
    with pytest.raises(grpc.RpcError):
        client.pull("nginx:1.25", auth=CLIENTS)
    assert [auth(request) for request in requests(upstream)] == [
        {"username": "robot", "password": "f0und"},
        {"username": "h", "password": "harb0r"},
        CLIENTS,
    ]


def test_a_rewritten_name_goes_without_where_nothing_is_found(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    async def nothing(_: Registry) -> None:
        return None

    shim.credentials = nothing
    client.pull("nginx:1.25", auth=CLIENTS)
    (request,) = requests(upstream)
    assert not request.HasField("auth")


def test_a_registrys_own_name_gets_what_was_found_for_it(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    client.pull("harbor.corp/a/b:1")
    (request,) = requests(upstream)
    assert auth(request) == {"username": "h", "password": "harb0r"}


def test_an_identity_token_is_sent_as_such_and_alone(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    async def token(_: Registry) -> Credentials:
        return Credentials("<token>", "", identity_token="r3fresh")

    shim.credentials = token
    upstream.scripts["PullImage"] = in_turn(refuse(2, b"not r3fresh"), reply(PULLED))
    client.pull("nginx:1.25", auth=CLIENTS)
    assert [auth(request) for request in requests(upstream)] == [{"identity_token": "r3fresh"}] * 2
    assert shim.notes.next_pull().attempts[0].error == "UNKNOWN: not ***"


def test_for_a_name_with_the_clients_credentials_none_are_looked_for(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    async def never(registry: Registry) -> None:
        raise AssertionError(registry)

    shim.credentials = never
    client.pull("harbor.corp/a/b:1", auth=CLIENTS)
    (request,) = requests(upstream)
    assert auth(request) == CLIENTS


def test_for_an_origin_that_nobody_configured_none_are_looked_for(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    upstream.scripts["PullImage"] = reply(PULLED)
    shim = make_shim(upstream.path)
    shim.credentials = unavailable
    shim.client().pull("quay.io/a/b:1")
    assert pulled(upstream) == ["quay.io/a/b:1"]


def test_a_rewritten_name_is_not_pulled_without_credentials_that_cannot_be_had(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    shim.credentials = unavailable
    client.pull("nginx:1.25")
    assert pulled(upstream) == [HARBOR_NGINX]
    pull = shim.notes.next_pull()
    assert [(a.candidate.name, a.error) for a in pull.attempts] == [
        (HUB_NGINX, NO_CREDENTIALS),
        (HARBOR_NGINX, ""),
    ]
    assert [one.name for one in shim.forgotten] == [HUB_NGINX]


def test_an_error_without_words_is_named(shim: Shim, client: CRI) -> None:
    async def speechless(_: Registry) -> None:
        raise TimeoutError

    shim.credentials = speechless
    client.pull("nginx:1.25")
    pull = shim.notes.next_pull()
    assert pull.attempts[0].error == "no credentials for sealos.hub:5000: TimeoutError"


def test_credentials_that_could_not_be_had_are_told_among_the_attempts(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    shim.credentials = unavailable
    upstream.scripts["PullImage"] = in_turn(refuse(5, b"gone"), refuse(2, b"no route"))
    assert client.raw(PULL, NGINX).details == (
        f"no route (image-cri-shim tried before: {HUB_NGINX}: {NO_CREDENTIALS}; "
        f"{HARBOR_NGINX}: NOT_FOUND: gone)"
    )


def strict(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> Shim:
    rule = Rule(1, (parse_pattern("*"),), origin_allowed=False)
    shim = make_shim(upstream.path, registries=[HARBOR, OFFLINE], rules=[rule])
    shim.credentials = unavailable
    return shim


def test_in_strict_mode_too(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> None:
    shim = strict(upstream, make_shim)

    async def no_helper(_: Registry) -> None:
        raise OSError("the helper is missing")

    shim.credentials = no_helper
    answer = shim.client().raw(PULL, NGINX)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert answer.details == (
        f"image-cri-shim: nginx:1.25 could not be pulled: {HUB_NGINX}: {NO_CREDENTIALS}; "
        f"{HARBOR_NGINX}: no credentials for harbor.corp: the helper is missing; "
        "origin not allowed by rule 1 (*)"
    )
    assert upstream.calls == []


def test_the_runtimes_answer_is_the_answer_although_another_registry_came_after_it(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    shim = strict(upstream, make_shim)

    async def no_harbor(registry: Registry) -> Credentials | None:
        if registry == HARBOR:
            raise OSError("the helper is missing")
        return None

    shim.credentials = no_harbor
    upstream.scripts["PullImage"] = refuse(5, b"gone")
    answer = shim.client().raw(PULL, NGINX)
    assert answer.code is grpc.StatusCode.NOT_FOUND
    assert answer.details == (
        f"gone (image-cri-shim tried too: {HARBOR_NGINX}: no credentials for harbor.corp: "
        "the helper is missing; origin not allowed by rule 1 (*))"
    )


def test_a_name_as_it_was_written_goes_as_the_client_sent_it_and_the_log_says_why(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    shim.credentials = unavailable
    with caplog.at_level(logging.WARNING):
        client.pull("sealos.hub:5000/a/b:1")
    (request,) = requests(upstream)
    assert request.image.image == "sealos.hub:5000/a/b:1"
    assert not request.HasField("auth")
    (record,), (caller,) = caplog.records, shim.notes.callers
    assert record.getMessage() == (
        "sealos.hub:5000/a/b:1 is pulled without credentials: the helper is missing "
        f"[{caller.call}]"
    )


def test_what_was_found_is_kept_out_of_every_message(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = in_turn(
        refuse(2, b"denied: robot:f0und"), refuse(2, b"was f0und"), refuse(2, b"f0und, harb0r")
    )
    answer = client.raw(PULL, NGINX)
    assert answer.details == (
        f"***, *** (image-cri-shim tried before: {HUB_NGINX}: UNKNOWN: denied: robot:***; "
        f"{HARBOR_NGINX}: UNKNOWN: was ***)"
    )
    told = repr(shim.notes.next_pull())
    assert "f0und" not in told
    assert "harb0r" not in told


def test_what_is_said_of_missing_credentials_is_without_secrets_and_on_one_line(
    shim: Shim, client: CRI
) -> None:
    async def chatty(_: Registry) -> None:
        raise OSError("mine\n\x1b[2Jforged")

    shim.credentials = chatty
    client.pull("nginx:1.25", auth=CLIENTS)
    pull = shim.notes.next_pull()
    assert pull.attempts[0].error == "no credentials for sealos.hub:5000: ***  [2Jforged"


def test_a_cancel_ends_the_wait_for_credentials(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    asked, cancelled = (shim.background.call(asyncio.Event) for _ in range(2))

    async def never(_: Registry) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    shim.credentials = never
    call = client.start(PULL, NGINX)
    shim.background.run(asked.wait())
    call.cancel()
    shim.background.run(cancelled.wait())
    pull = shim.notes.next_pull()
    assert [a.error for a in pull.attempts] == ["cancelled"]
    assert pull.error == "cancelled"
    assert upstream.calls == []
