"""Configured secrets never reach a client, although a registry makes the runtime repeat them."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from image_cri_shim.credentials import Credentials
from image_cri_shim.cri.pull_failure import without_secrets
from image_cri_shim.cri.status import Answer
from image_cri_shim.decision import Decision, Registry
from image_cri_shim.pattern import parse_pattern
from image_cri_shim.redaction import Redactor
from image_cri_shim.rules import Rule
from tests.cri.scripted import FIRST, Script, ScriptedUpstream, UpstreamCall, refuse
from tests.cri.shim import Shim
from tests.cri.test_fail_over import Resolver
from tests.cri.test_pull_image import PULL, in_turn
from tests.support.cri_client import CRI
from tests.support.cri_client import Answer as Received

ROBOT = Credentials("robot", "c0nfigured")
FOUND = Credentials("robot", "f0und")
OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
NGINX = b"\x0a\x0c\x0a\x0anginx:1.25"
FULL = b"write /var/lib/c0nfigured: no space left on device"
DETAILS = b"grpc-status-details-bin"


def details(text: str, *, padded: bool = True) -> tuple[bytes, bytes]:
    """Return the trailer with a google.rpc.Status of this message."""
    message = text.encode()
    encoded = base64.b64encode(b"\x08\x02\x12" + bytes([len(message)]) + message)
    return DETAILS, encoded if padded else encoded.rstrip(b"=")


def asked_for(answer: Received) -> list[str | bytes]:
    return [value for key, value in answer.trailing_metadata if key.encode() == DETAILS]


@pytest.fixture
def shim(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> Shim:
    shim = make_shim(upstream.path, registries=[OFFLINE])
    shim.redactor = Redactor(ROBOT.spellings())

    async def find(_: Registry) -> Credentials:
        return FOUND

    shim.credentials = find
    return shim


def only(shim: Shim) -> None:
    """Let there be one candidate."""
    Resolver(shim, Decision(shim.policy.candidates("nginx:1.25")[:1]), Decision(()))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("denied: robot:c0nfigured", "denied: robot:***"),
        ("denied: robot:f0und", "denied: robot:***"),
        (f"denied: {ROBOT.basic()}\n", "denied: Basic *** "),
    ],
)
def test_a_lone_attempts_answer_comes_without_them(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, said: str, told: str
) -> None:
    only(shim)
    upstream.scripts["PullImage"] = refuse(2, said.encode().replace(b"\n", b"%0A"))
    answer = client.raw(PULL, NGINX)
    assert (answer.code.value[0], answer.details) == (2, told)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("secret", ["c0nfigured", "f0und"])
def test_details_that_have_one_are_dropped(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, secret: str, padded: bool
) -> None:
    only(shim)
    trailer = details(f"denied: {secret}", padded=padded)
    upstream.scripts["PullImage"] = refuse(2, b"denied", trailer, (b"x-why", b"a"))
    answer = client.raw(PULL, NGINX)
    assert answer.details == "denied"
    assert asked_for(answer) == []
    assert ("x-why", "a") in answer.trailing_metadata


def test_a_final_answer_comes_without_them(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = refuse(2, FULL, details("c0nfigured"))
    answer = client.raw(PULL, NGINX)
    assert answer.details == "write /var/lib/***: no space left on device"
    assert asked_for(answer) == []
    assert len(upstream.of("PullImage")) == 1


def test_so_does_an_answer_to_which_something_is_added(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    second = refuse(2, b"denied: c0nfigured", details("c0nfigured"))
    upstream.scripts["PullImage"] = in_turn(refuse(5, b"no f0und"), second)
    answer = client.raw(PULL, NGINX)
    assert answer.details == (
        "denied: *** (image-cri-shim tried before: "
        "sealos.hub:5000/library/nginx:1.25: NOT_FOUND: no ***)"
    )
    assert asked_for(answer) == []


def test_so_does_the_answer_about_what_is_no_reference(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = refuse(3, b"no: c0nfigured")
    assert client.raw(PULL, b"\x0a\x07\x0a\x05UPPER").details == "no: ***"


def test_in_strict_mode_too(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> None:
    rule = Rule(1, (parse_pattern("*"),), origin_allowed=False)
    shim = make_shim(upstream.path, registries=[OFFLINE], rules=[rule])
    shim.redactor = Redactor(ROBOT.spellings())
    upstream.scripts["PullImage"] = refuse(2, b"no c0nfigured", details("c0nfigured"))
    answer = shim.client().raw(PULL, NGINX)
    assert answer.details == "no *** (image-cri-shim: origin not allowed by rule 1 (*))"
    assert asked_for(answer) == []


def in_full(text: bytes) -> Script:
    """Refuse with headers of their own before the trailers."""

    async def script(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out([*FIRST, (b"x-first", b"1")])
        status = [(b"grpc-status", b"2"), (b"grpc-message", text), details("c0nfigured")]
        call.headers_out(status, end=True)

    return script


def test_they_are_found_in_trailers_behind_headers_too(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    only(shim)
    upstream.scripts["PullImage"] = in_full(b"denied: c0nfigured")
    answer = client.raw(PULL, NGINX)
    assert (answer.code.value[0], answer.details) == (2, "denied: ***")
    assert ("x-first", "1") in answer.initial_metadata
    assert asked_for(answer) == []


def test_a_clients_own_may_go_back_to_it(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    only(shim)
    # AuthConfig: username, password.
    auth = b"\x12\x0a\x0a\x02me\x12\x04mine"
    upstream.scripts["PullImage"] = refuse(2, b"denied: me:mine", details("me:mine"))
    answer = client.raw(PULL, NGINX + auth)
    assert answer.details == "denied: me:mine"
    assert asked_for(answer) == [b"\x08\x02\x12\x07me:mine"]
    assert shim.notes.next_pull().error == "UNKNOWN: denied: me:***"


@pytest.mark.parametrize("value", [b"", b"A", b"CAUSB21pc3Npbmc", b"CAU=,CAUSB21pc3Npbmc", b"\xff"])
def test_an_answer_without_a_secret_stays_as_it_came(value: bytes) -> None:
    status = [(b"grpc-status", b"2"), (b"grpc-message", b"SignatureInvalid%3a %0a \xc3\xbc %zz")]
    headers = [(b":status", b"200"), (b"x-bin", value)]
    for answer in (
        Answer([*headers, *status, (DETAILS, value)]),
        Answer(headers, None, [*status, (DETAILS, value)]),
    ):
        assert without_secrets(answer, Redactor(["c0nfigured", "200", "2"])) == answer
