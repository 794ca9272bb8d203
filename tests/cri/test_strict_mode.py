"""A rule that does not allow the origin: it is never pulled, and the error says who was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc
import pytest

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.status import encode_message
from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome, Registry
from image_cri_shim.pattern import parse_pattern, parse_tagged_pattern
from image_cri_shim.rules import Rule
from tests.cri.scripted import ScriptedUpstream, frame, refuse, reply
from tests.cri.shim import Shim
from tests.cri.test_fail_over import Resolver, pulled
from tests.cri.test_pull_image import PULL, PULLED, holding, in_turn
from tests.support.cri_client import CRI, Answer

OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
HARBOR = Registry("harbor.corp")
STRICT = Rule(
    2,
    (parse_pattern("docker.io"),),
    exclude=(parse_tagged_pattern("*:latest"),),
    origin_allowed=False,
)
RULE = "origin not allowed by rule 2 (docker.io)"
ABSENT, UNKNOWN, PRESENT = Outcome.ABSENT, Outcome.UNKNOWN, Outcome.PRESENT
ID = "sha256:" + "ab" * 32


@pytest.fixture
def shim(upstream: ScriptedUpstream, make_shim: Callable[..., Shim]) -> Shim:
    upstream.scripts["ImageStatus"] = reply(b"")
    upstream.scripts["PullImage"] = refuse(5, b"gone")
    return make_shim(upstream.path, registries=[HARBOR, OFFLINE], rules=[STRICT])


def found(shim: Shim, *look_ups: LookUp, image: str = "nginx:1.25") -> Decision:
    """Decide as the rule says, after these look-ups."""
    plan = shim.policy.plan(image)
    present = tuple(one.candidate for one in look_ups if one.outcome is PRESENT)
    rule = "" if plan.rule is None else plan.rule.label
    return Decision(present, look_ups, 0.0, rule, plan.excluded, plan.origin_allowed)


def candidates(shim: Shim) -> tuple[Candidate, ...]:
    return shim.policy.plan("nginx:1.25").candidates


def ask(client: CRI, image: str = "nginx:1.25") -> Answer:
    request = cri_pb2.PullImageRequest(image=cri_pb2.ImageSpec(image=image))
    return client.raw(PULL, request.SerializeToString())


def test_with_nothing_to_pull_the_runtime_is_not_asked_and_the_error_says_why(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    hub, harbor = candidates(shim)
    late = LookUp(harbor, UNKNOWN, "timed out after 10s", timed_out=True)
    Resolver(shim, found(shim, LookUp(hub, ABSENT, "404"), late))
    answer = ask(client)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert answer.details == (
        "image-cri-shim: nginx:1.25 not found on sealos.hub:5000 (404), "
        f"harbor.corp (timed out after 10s); {RULE}"
    )
    assert upstream.calls == []
    pull = shim.notes.next_pull()
    assert (pull.attempts, pull.error) == ((), f"UNAVAILABLE: {answer.details}")
    ((_, decision),) = shim.notes.decisions
    assert decision.attempts == ()


def test_what_every_registry_lacks_is_not_found(shim: Shim, client: CRI) -> None:
    Resolver(shim, found(shim, *(LookUp(one, ABSENT, "404") for one in candidates(shim))))
    assert ask(client).code is grpc.StatusCode.NOT_FOUND


def test_a_decision_that_offers_the_origin_all_the_same_is_not_followed(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    async def careless(image: str) -> Decision:
        return Decision(shim.policy.candidates(image), rule="rule 2", origin_allowed=False)

    shim.resolve = careless
    assert ask(client).code is grpc.StatusCode.NOT_FOUND
    assert pulled(upstream) == [one.name for one in candidates(shim)]


def test_a_failed_attempt_is_told_with_who_else_was_asked_and_the_rule(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    hub, harbor = candidates(shim)
    there = LookUp(hub, PRESENT)
    Resolver(shim, found(shim, there), found(shim, LookUp(harbor, ABSENT, "404")))
    details = (b"grpc-status-details-bin", b"CAUSB21pc3Npbmc")
    upstream.scripts["PullImage"] = refuse(5, b"gone", details)
    answer = ask(client)
    assert answer.code is grpc.StatusCode.NOT_FOUND
    assert answer.details == (f"gone (image-cri-shim: not found on harbor.corp (404); {RULE})")
    assert ("grpc-status-details-bin", b"\x08\x05\x12\x07missing") in answer.trailing_metadata
    pull = shim.notes.next_pull()
    assert [a.error for a in pull.attempts] == ["NOT_FOUND: gone"]
    assert pull.error == f"not found on harbor.corp (404); {RULE}"


def test_after_several_attempts_each_is_told_and_the_rule(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = in_turn(refuse(5, b"gone"), refuse(14, b"RegistryUnavailable"))
    answer = ask(client)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert answer.details == (
        "RegistryUnavailable (image-cri-shim tried before: "
        f"sealos.hub:5000/library/nginx:1.25: NOT_FOUND: gone; {RULE})"
    )


def test_a_registry_that_was_asked_in_the_first_round_alone_is_told_too(
    shim: Shim, client: CRI
) -> None:
    hub, harbor = candidates(shim)
    first = found(shim, LookUp(hub, UNKNOWN, "503"), LookUp(harbor, PRESENT))
    Resolver(shim, first, found(shim))
    assert ask(client).details == (
        f"gone (image-cri-shim: not found on sealos.hub:5000 (503); {RULE})"
    )


def test_what_no_source_cures_is_told_as_the_runtime_said_it(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    message = b"write /var/lib/x: no space left on device"
    upstream.scripts["PullImage"] = refuse(2, message)
    assert ask(client).details == message.decode()


def test_an_excluded_reference_is_not_pulled_at_all(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    answer = ask(client, "nginx:latest")
    assert answer.code is grpc.StatusCode.NOT_FOUND
    assert answer.details == (
        "image-cri-shim: nginx:latest is left alone by *:latest of rule 2 (docker.io), "
        "which does not allow the origin"
    )
    assert upstream.calls == []


def test_what_the_rule_is_not_about_is_pulled_as_ever(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    with pytest.raises(grpc.RpcError):
        client.pull("quay.io/a/b:1")
    assert pulled(upstream)[-1] == "quay.io/a/b:1"


def test_a_pull_that_succeeds_is_answered_as_ever(
    shim: Shim, client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["PullImage"] = reply(PULLED)
    assert client.pull("nginx:1.25") == ID


@pytest.mark.parametrize("image", [ID, "ab" * 32])
def test_an_image_id_is_not_pulled_for_runtimes_take_it_for_a_name(
    client: CRI, upstream: ScriptedUpstream, image: str
) -> None:
    answer = ask(client, image)
    assert answer.code is grpc.StatusCode.INVALID_ARGUMENT
    assert answer.details == (
        f"image-cri-shim: '{image}' is an image ID, not an image reference; "
        f"the runtime may read it otherwise: {RULE}"
    )
    assert upstream.calls == []


def test_an_image_id_goes_to_the_runtime_where_docker_hub_is_allowed(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    upstream.scripts["PullImage"] = refuse(3, b"no")
    rule = Rule(1, (parse_pattern("quay.io"),), origin_allowed=False)
    shim = make_shim(upstream.path, registries=[OFFLINE], rules=[rule])
    assert ask(shim.client(), ID).details == "no"
    assert pulled(upstream) == [ID]


def test_what_begins_like_an_id_that_the_runtime_knows_is_a_name(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["ImageStatus"] = holding(**{"sha256:abab": ID})
    upstream.scripts["PullImage"] = reply(PULLED)
    client.pull("sha256:abab")
    assert pulled(upstream) == ["sealos.hub:5000/library/sha256:abab"]


@pytest.mark.parametrize(
    "image", ["docker://quay.io/a/b:1", "UPPER", "", "a b", "x" * 5000, "ü" * 1000]
)
def test_what_only_the_runtime_may_be_able_to_read_is_refused(
    shim: Shim, client: CRI, upstream: ScriptedUpstream, image: str
) -> None:
    answer = ask(client, image)
    assert answer.code is grpc.StatusCode.INVALID_ARGUMENT
    assert answer.details.startswith("image-cri-shim: ")
    assert answer.details.endswith(f"; the runtime may read it otherwise: {RULE}")
    assert len(encode_message(answer.details)) <= 6000
    assert upstream.calls == []
    assert shim.notes.decisions == []
    assert shim.notes.next_pull().attempts == ()


def test_what_a_client_calls_an_image_is_repeated_to_it_without_its_secrets(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    request = cri_pb2.PullImageRequest(
        image=cri_pb2.ImageSpec(image="me:s3cret@Host\n/a"),
        auth=cri_pb2.AuthConfig(username="me", password="s3cret"),
    )
    answer = client.raw(PULL, request.SerializeToString())
    assert "s3cret" not in answer.details
    assert answer.details.isprintable()


def test_without_a_strict_rule_the_runtime_says_what_is_wrong_with_a_name(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    upstream.scripts["PullImage"] = refuse(3, b"invalid reference format")
    rule = Rule(1, (parse_pattern("*"),))
    shim = make_shim(upstream.path, registries=[OFFLINE], rules=[rule])
    assert ask(shim.client(), "UPPER").details == "invalid reference format"
    (call,) = upstream.calls
    assert call.body == frame(b"\x0a\x07\x0a\x05UPPER")


class Held:
    """What a node holds, and what it is asked about: names only."""

    def __init__(self, upstream: ScriptedUpstream, *names: str) -> None:
        self.upstream = upstream
        upstream.scripts["ImageStatus"] = holding(**dict.fromkeys(names, ID))

    def asked(self) -> Sequence[str]:
        calls = self.upstream.of("ImageStatus")
        return [cri_pb2.ImageStatusRequest.FromString(c.message).image.image for c in calls]


@pytest.mark.parametrize(
    "held", ["sealos.hub:5000/library/nginx:1.25", "harbor.corp/library/nginx:1.25", "nginx:1.25"]
)
def test_what_the_node_holds_is_found_under_every_name(
    client: CRI, upstream: ScriptedUpstream, held: str
) -> None:
    node = Held(upstream, held)
    image = client.image_status("nginx:1.25")
    assert image is not None
    assert image.id == ID
    assert node.asked()[-1] == held


def test_an_excluded_reference_is_looked_for_as_written_alone(
    client: CRI, upstream: ScriptedUpstream
) -> None:
    node = Held(upstream, "sealos.hub:5000/library/nginx:latest")
    assert client.image_status("nginx:latest") is None
    assert node.asked() == ["nginx:latest"]


def test_a_rules_own_order_and_names_are_looked_for(
    upstream: ScriptedUpstream, make_shim: Callable[..., Shim]
) -> None:
    proxy = Registry("harbor.corp", prefix="dockerhub", keep_host=True)
    rule = Rule(1, (parse_pattern("*"),), registries=("harbor.corp/dockerhub",))
    shim = make_shim(upstream.path, registries=[proxy, OFFLINE], rules=[rule])
    name = "harbor.corp/dockerhub/docker.io/library/nginx:1.25"
    node = Held(upstream, name)
    assert shim.client().image_status("nginx:1.25") is not None
    assert shim.client().image_status("redis:7") is None
    assert node.asked() == [name, "harbor.corp/dockerhub/docker.io/library/redis:7", "redis:7"]
