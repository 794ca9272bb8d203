"""PullImage: pulled from where the registries say, with that registry's credentials alone."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from image_cri_shim.credentials import Credentials
from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.decision import Decision, Registry
from tests.cri.scripted import FIRST, Script, ScriptedUpstream, UpstreamCall, frame, refuse, reply
from tests.cri.shim import IMAGES, Shim
from tests.support.cri_client import CRI

OFFLINE = Registry(
    "sealos.hub:5000",
    plain_http=True,
    credentials=Credentials("admin", "passw0rd"),
    priority=1000,
    offline=True,
)
HARBOR = Registry("harbor.corp")
HUB_NGINX = "sealos.hub:5000/library/nginx:1.25"
HARBOR_NGINX = "harbor.corp/library/nginx:1.25"
PULL = f"{IMAGES}PullImage"
PULLED = cri_pb2.PullImageResponse(image_ref="sha256:" + "ab" * 32).SerializeToString()
CLIENTS = {"username": "me", "password": "mine", "auth": "bWU6bWluZQ==", "server_address": "x"}


@pytest.fixture
def shim(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> Shim:
    upstream.scripts["ImageStatus"] = reply(b"")
    return make_shim(upstream.path, registries=[HARBOR, OFFLINE])


def requests(upstream: ScriptedUpstream) -> list[cri_pb2.PullImageRequest]:
    """Return what the runtime was asked to pull, in order."""
    return [cri_pb2.PullImageRequest.FromString(c.message) for c in upstream.of("PullImage")]


def auth(request: cri_pb2.PullImageRequest) -> dict[str, str]:
    return {field.name: value for field, value in request.auth.ListFields()}


def in_turn(*scripts: Callable[[UpstreamCall], object]) -> Callable[[UpstreamCall], object]:
    """Play one script a call."""
    left = iter(scripts)

    async def script(call: UpstreamCall) -> None:
        await next(left)(call)

    return script


def test_a_rewritten_pull_gets_the_configured_credentials(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = reply(PULLED)
    assert client.pull("nginx:1.25") == "sha256:" + "ab" * 32
    (request,) = requests(upstream)
    assert request.image.image == HUB_NGINX
    assert auth(request) == {"username": "admin", "password": "passw0rd"}


def test_a_clients_credentials_never_go_to_another_host(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = refuse(2, b"no")
    with pytest.raises(grpc.RpcError):
        client.pull("nginx:1.25", auth=CLIENTS)
    hub, harbor, origin = requests(upstream)
    assert auth(hub) == {"username": "admin", "password": "passw0rd"}
    assert auth(harbor) == {}
    assert not harbor.HasField("auth")
    assert auth(origin) == CLIENTS
    for request in upstream.of("PullImage")[:2]:
        for secret in (b"mine", b"bWU6bWluZQ=="):
            assert secret not in request.message


@pytest.mark.parametrize("field", ["identity_token", "registry_token", "auth"])
def test_no_kind_of_a_clients_credentials_goes_to_another_host(
    client: CRI, upstream: ScriptedUpstream, field: str
) -> None:
    upstream.scripts["PullImage"] = refuse(2, b"no")
    with pytest.raises(grpc.RpcError):
        client.pull("nginx:1.25", auth={field: "s3cret"})
    hub, harbor, origin = upstream.of("PullImage")
    assert b"s3cret" not in hub.message + harbor.message
    assert b"s3cret" in origin.message


def test_the_configured_credentials_never_go_to_the_origin(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = refuse(2, b"no")
    with pytest.raises(grpc.RpcError):
        client.pull("quay.io/a/b:1")
    assert [r.image.image for r in requests(upstream)][-1] == "quay.io/a/b:1"
    assert b"passw0rd" not in upstream.of("PullImage")[-1].message


def test_unknown_fields_reach_the_runtime(client: CRI, upstream: ScriptedUpstream) -> None:
    # ImageSpec: annotations (2), user_specified_image (18); AuthConfig first; sandbox_config (3).
    annotations, user, sandbox = (
        b"\x12\x06\x0a\x01a\x12\x01b",
        b"\x92\x01\x01u",
        b"\x1a\x03\x0a\x01s",
    )
    spec = b"\x0a\x0anginx:1.25" + annotations + user
    upstream.scripts["PullImage"] = refuse(2, b"no")
    body = b"\x12\x06\x0a\x01m\x12\x01p" + b"\x0a" + bytes([len(spec)]) + spec + sandbox
    client.raw(PULL, body)
    calls = upstream.of("PullImage")
    assert len(calls) == 3
    for call in calls:
        for field in (annotations, user, sandbox):
            assert field in call.message
    assert calls[-1].body == frame(body), "as it was written, byte for byte"


def test_metadata_and_deadline_go_with_every_attempt(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = refuse(2, b"no")
    client.raw(PULL, b"\x0a\x07\x0a\x05nginx", metadata=[("x-trace", "7")])
    assert [call.header(b"x-trace") for call in upstream.of("PullImage")] == [b"7"] * 3
    assert all(call.header(b"grpc-timeout") for call in upstream.of("PullImage"))


def test_a_failed_pull_goes_on_with_the_next_candidate(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = in_turn(refuse(5, b"gone"), reply(PULLED))
    client.pull("nginx:1.25")
    assert [r.image.image for r in requests(upstream)] == [HUB_NGINX, HARBOR_NGINX]
    pull = shim.notes.next_pull()
    assert pull.error == ""
    assert [(a.candidate.name, a.error) for a in pull.attempts] == [
        (HUB_NGINX, "NOT_FOUND: gone"),
        (HARBOR_NGINX, ""),
    ]


def test_a_status_of_thousands_of_digits_is_a_failed_attempt(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    async def endless(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out([*FIRST, (b"grpc-status", b"5" * 5000)], end=True)

    upstream.scripts["PullImage"] = in_turn(endless, reply(PULLED))
    client.pull("nginx:1.25")
    assert [a.error for a in shim.notes.next_pull().attempts] == ["UNKNOWN: ", ""]


def test_the_last_error_says_what_was_tried_before(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    details = (b"grpc-status-details-bin", b"CAUSB21pc3Npbmc")
    upstream.scripts["PullImage"] = in_turn(
        refuse(5, b"gone"), refuse(42, b"what"), refuse(14, b"RegistryUnavailable: x", details)
    )
    answer = client.raw(PULL, b"\x0a\x0c\x0a\x0anginx:1.25")
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert answer.details == (
        "RegistryUnavailable: x (image-cri-shim tried before: "
        f"{HUB_NGINX}: NOT_FOUND: gone; {HARBOR_NGINX}: code 42: what)"
    )
    assert ("grpc-status-details-bin", b"\x08\x05\x12\x07missing") in answer.trailing_metadata
    pull = shim.notes.next_pull()
    assert pull.error == pull.attempts[-1].error == "UNAVAILABLE: RegistryUnavailable: x"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (3, b"invalid"),
        (4, b"late"),
        (1, b"given up"),
        (2, b"write /var/lib/x: no space left on device"),
    ],
)
def test_what_no_other_source_cures_is_not_tried_again(
    client: CRI, upstream: ScriptedUpstream, code: int, message: bytes
) -> None:
    upstream.scripts["PullImage"] = refuse(code, message)
    answer = client.raw(PULL, b"\x0a\x07\x0a\x05nginx")
    assert (answer.code.value[0], answer.details) == (code, message.decode())
    assert len(upstream.of("PullImage")) == 1


def test_a_runtime_that_goes_away_is_not_tried_again(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    async def die(call: UpstreamCall) -> None:
        await call.request()
        call.connection.transport.abort()

    upstream.scripts["PullImage"] = die
    answer = client.raw(PULL, b"\x0a\x0c\x0a\x0anginx:1.25")
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "was lost in the middle of the call" in answer.details
    assert len(upstream.of("PullImage")) == 1
    pull = shim.notes.next_pull()
    assert [a.candidate.name for a in pull.attempts] == [HUB_NGINX]
    assert pull.error == f"UNAVAILABLE: {answer.details}"


def test_a_single_attempts_error_is_the_runtimes_own(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    async def only_the_first(image: str) -> Decision:
        return Decision(shim.policy.candidates(image)[:1])

    shim.resolve = only_the_first
    message = b"SignatureValidationFailed: %C3%BC 100%25"
    details = (b"grpc-status-details-bin", b"CAUSB21pc3Npbmc")
    upstream.scripts["PullImage"] = refuse(2, message, details, (b"x-why", b"a"), (b"x-why", b"b"))
    answer = client.raw(PULL, b"\x0a\x07\x0a\x05nginx")
    assert answer.code is grpc.StatusCode.UNKNOWN
    assert answer.details == "SignatureValidationFailed: ü 100%"
    assert ("grpc-status-details-bin", b"\x08\x05\x12\x07missing") in answer.trailing_metadata
    assert [v for k, v in answer.trailing_metadata if k == "x-why"] == ["a", "b"]


def test_a_registrys_own_name_gets_its_credentials(client: CRI, upstream: ScriptedUpstream) -> None:
    upstream.scripts["PullImage"] = reply(PULLED)
    client.pull("sealos.hub:5000/a/b:1")
    (request,) = requests(upstream)
    assert request.image.image == "sealos.hub:5000/a/b:1"
    assert auth(request) == {"username": "admin", "password": "passw0rd"}


def test_a_clients_own_credentials_for_a_registrys_own_name_win(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = reply(PULLED)
    client.pull("sealos.hub:5000/a/b:1", auth=CLIENTS)
    (request,) = requests(upstream)
    assert auth(request) == CLIENTS


def test_a_registry_without_credentials_leaves_its_own_name_alone(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = reply(PULLED)
    client.pull("harbor.corp/a/b:1")
    client.pull("harbor.corp/a/b:1", auth=CLIENTS)
    assert [auth(request) for request in requests(upstream)] == [{}, CLIENTS]


def test_a_digest_is_pulled_by_that_digest_alone(client: CRI, upstream: ScriptedUpstream) -> None:
    upstream.scripts["PullImage"] = refuse(2, b"no")
    digest = "sha256:" + "12" * 32
    with pytest.raises(grpc.RpcError):
        client.pull(f"nginx:1.25@{digest}")
    assert [r.image.image for r in requests(upstream)] == [
        f"sealos.hub:5000/library/nginx@{digest}",
        f"harbor.corp/library/nginx@{digest}",
        f"nginx:1.25@{digest}",
    ]


@pytest.mark.parametrize("image", ["sha256:" + "ab" * 32, "ab" * 32, "UPPER", "", "a b"])
def test_what_is_no_name_goes_to_the_runtime_and_no_registry(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, image: str
) -> None:
    upstream.scripts["PullImage"] = refuse(3, b"invalid reference format")
    body = cri_pb2.PullImageRequest(image=cri_pb2.ImageSpec(image=image)).SerializeToString()
    answer = client.raw(PULL, body)
    assert answer.details == "invalid reference format"
    assert [call.body for call in upstream.calls] == [frame(body)]
    shim.wait_idle()
    assert shim.notes.decisions == []
    (pull,) = shim.notes.pulls
    assert (pull.image, pull.attempts) == (image, ())
    assert pull.error == "INVALID_ARGUMENT: invalid reference format"


def holding(**held: str) -> Script:
    """Answer ImageStatus as a runtime does that knows these texts and image IDs."""

    async def script(call: UpstreamCall) -> None:
        await call.request()
        image = cri_pb2.ImageStatusRequest.FromString(call.message).image.image
        answer = cri_pb2.ImageStatusResponse()
        if image in held:
            answer.image.id = held[image]
        await reply(answer.SerializeToString())(call)

    return script


@pytest.mark.parametrize("image", ["ab" * 6, f"sha256:{'ab' * 6}", "ab" * 31 + "a"])
def test_an_id_of_the_usual_length_is_never_asked_of_a_registry(
    client: CRI, upstream: ScriptedUpstream, image: str
) -> None:
    upstream.scripts["PullImage"] = refuse(5, b"no such image")
    with pytest.raises(grpc.RpcError, match="no such image"):
        client.pull(image)
    (request,) = requests(upstream)
    assert request.image.image == image


@pytest.mark.parametrize("image", ["abab", "sha256:abab", "ab" * 5 + "a"])
def test_what_begins_like_an_id_that_the_runtime_knows_is_a_name(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, image: str
) -> None:
    upstream.scripts["ImageStatus"] = holding(**{image: "sha256:" + "ab" * 32})
    upstream.scripts["PullImage"] = reply(PULLED)
    client.pull(image)
    (request,) = requests(upstream)
    (hub, *_) = shim.policy.candidates(image)
    assert request.image.image == hub.name
    assert upstream.of("ImageStatus") == [], "runtimes take it for a name when they pull"


def test_an_observer_is_told_once_of_the_decision_and_of_the_pull(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = reply(PULLED)
    client.pull("nginx:1.25")
    shim.wait_idle()
    ((image, decision),) = shim.notes.decisions
    assert image == "nginx:1.25"
    assert [c.name for c in decision.attempts] == [HUB_NGINX, HARBOR_NGINX, "nginx:1.25"]
    (pull,) = shim.notes.pulls
    assert (pull.image, pull.error, len(pull.attempts)) == ("nginx:1.25", "", 1)


def test_no_password_is_in_what_an_observer_is_told(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = reply(PULLED)
    client.pull("nginx:1.25", auth=CLIENTS)
    told = repr(shim.notes.decisions) + repr(shim.notes.pulls)
    assert "passw0rd" not in told
    assert "mine" not in told


def test_a_defect_in_the_look_ups_is_an_internal_error_and_in_the_log(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: str) -> Decision:
        raise ZeroDivisionError("a defect")

    shim.resolve = broken
    answer = client.raw(PULL, b"\x0a\x07\x0a\x05nginx")
    assert answer.code is grpc.StatusCode.INTERNAL
    assert answer.details == "image-cri-shim: internal error, see its log"
    assert shim.notes.next_pull().error == "a defect"
    (record,) = caplog.records
    (caller,) = shim.notes.callers
    assert record.getMessage() == (
        f"an error in the shim itself while serving {PULL} [{caller.call}]"
    )
    caplog.clear()
