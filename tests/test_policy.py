"""Which names an image reference stands for, and in what order."""

from __future__ import annotations

import attrs
import pytest

from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Registry
from image_cri_shim.pattern import parse_pattern, parse_tagged_pattern
from image_cri_shim.policy import Plan, Policy, in_order
from image_cri_shim.reference import InvalidReferenceError, parse_reference
from image_cri_shim.rules import Rule

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"
OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
QUAY = (parse_pattern("quay.io"),)
HARBOR = Registry("harbor.corp", credentials=Credentials("robot", "secret"))
MIRROR = Registry("mirror.corp")


def names(policy: Policy, text: str) -> list[str]:
    return [candidate.name for candidate in policy.candidates(text)]


def test_the_offline_registry_is_asked_first_and_the_origin_last() -> None:
    policy = Policy([HARBOR, OFFLINE])
    assert names(policy, "nginx:1.25") == [
        "sealos.hub:5000/library/nginx:1.25",
        "harbor.corp/library/nginx:1.25",
        "nginx:1.25",
    ]


def test_a_higher_priority_is_asked_before_the_offline_registry() -> None:
    policy = Policy([OFFLINE, Registry("fast.corp", priority=1001)])
    assert names(policy, "a/b:1") == ["fast.corp/a/b:1", "sealos.hub:5000/a/b:1", "a/b:1"]


def test_registries_of_one_priority_go_offline_first_then_by_domain() -> None:
    offline = Registry("z.example", priority=500, offline=True)
    low = Registry("a.example", priority=499)
    expected = (offline, HARBOR, MIRROR, low)
    assert in_order([low, MIRROR, offline, HARBOR]) == expected
    assert in_order(reversed(expected)) == expected
    assert Policy([low, MIRROR, offline, HARBOR]).registries == expected


def test_without_registries_only_the_name_itself_is_left() -> None:
    assert names(Policy([]), "nginx") == ["nginx"]


def test_the_last_candidate_is_as_it_was_written() -> None:
    last = Policy([OFFLINE]).candidates("nginx")[-1]
    assert (last.name, last.registry, last.rewritten) == ("nginx", None, False)
    assert last.reference == parse_reference("docker.io/library/nginx")


def test_a_rewritten_candidate_says_which_registry_it_is_for() -> None:
    first = Policy([OFFLINE]).candidates("quay.io/a/b:1")[0]
    assert (first.name, first.registry, first.rewritten) == ("sealos.hub:5000/a/b:1", OFFLINE, True)
    assert first.reference == parse_reference("sealos.hub:5000/a/b:1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", "sealos.hub:5000/library/nginx:latest"),
        ("docker.io/nginx", "sealos.hub:5000/library/nginx:latest"),
        ("index.docker.io/nginx", "sealos.hub:5000/library/nginx:latest"),
        ("docker.io/a/b", "sealos.hub:5000/a/b:latest"),
        ("quay.io/a/b", "sealos.hub:5000/a/b:latest"),
        ("registry.k8s.io/pause:3.9", "sealos.hub:5000/pause:3.9"),
        ("[::1]:5000/a/b/c:1", "sealos.hub:5000/a/b/c:1"),
    ],
)
def test_the_origins_host_is_replaced(text: str, expected: str) -> None:
    assert names(Policy([OFFLINE]), text) == [expected, text]


def test_a_digest_is_a_promise_so_a_rewritten_name_has_no_tag_beside_it() -> None:
    text = f"nginx:1.25@{DIGEST}"
    assert names(Policy([OFFLINE]), text) == [f"sealos.hub:5000/library/nginx@{DIGEST}", text]


@pytest.mark.parametrize(
    "text",
    [
        "sealos.hub:5000/library/nginx:1.25",
        "SEALOS.hub:5000/library/nginx:1.25",
        f"sealos.hub:5000/library/nginx@{DIGEST}",
        "sealos.hub:5000/nginx",
    ],
)
def test_a_name_of_a_configured_registry_is_not_rewritten_again(text: str) -> None:
    (only,) = Policy([OFFLINE, HARBOR]).candidates(text)
    assert (only.name, only.registry, only.rewritten) == (text, OFFLINE, False)


def test_a_registry_is_known_by_its_domain_whatever_the_case_in_the_configuration() -> None:
    registry = Registry("Harbor.Corp")
    (only,) = Policy([OFFLINE, registry]).candidates("harbor.corp/a:1")
    assert only.registry is registry


@pytest.mark.parametrize(
    "text",
    ["sealos.hub/a", "sealos.hub:5001/a", "sealos.hub:5000.evil.example/a", "x.harbor.corp/a"],
)
def test_a_name_of_a_similar_registry_is_not_its_own(text: str) -> None:
    try:
        candidates = Policy([OFFLINE, HARBOR]).candidates(text)
    except InvalidReferenceError:
        return
    assert len(candidates) == 3
    assert candidates[-1].registry is None


def test_a_name_that_would_become_too_long_is_left_out() -> None:
    fits = f"a.io/{'a' * 239}"
    assert names(Policy([OFFLINE]), fits) == [f"sealos.hub:5000/{'a' * 239}:latest", fits]
    longer = f"a.io/{'a' * 240}"
    assert names(Policy([OFFLINE, HARBOR]), longer) == [f"harbor.corp/{'a' * 240}:latest", longer]


def test_a_host_that_runtimes_take_for_a_path_never_sends_a_pull_to_docker_hub() -> None:
    # hub/library/nginx is docker.io/hub/library/nginx to every runtime: another image, and another
    # host for the credentials.
    policy = Policy([Registry("hub", credentials=HARBOR.credentials, offline=True), HARBOR])
    assert names(policy, "nginx:1") == ["harbor.corp/library/nginx:1", "nginx:1"]


@pytest.mark.parametrize(
    "domain", ["localhost", "hub:5000", "HUB", "h.example", "[::1]", "10.0.0.1"]
)
def test_every_candidate_is_the_reference_that_runtimes_read_in_its_name(domain: str) -> None:
    candidates = Policy([Registry(domain)]).candidates(f"quay.io/a/b:1@{DIGEST}")
    assert [c.reference for c in candidates] == [parse_reference(c.name) for c in candidates]
    assert candidates[0].reference.domain == domain


@pytest.mark.parametrize(
    "domain",
    [
        "docker.io",
        "Docker.IO",
        "docker.io:443",
        "registry-1.docker.io",
        "Index.Docker.io",
        "index.docker.io:443",
        "registry.hub.docker.com",
    ],
)
@pytest.mark.parametrize("priority", [0, 10_000])
def test_docker_hub_is_never_asked_for_another_registrys_image(domain: str, priority: int) -> None:
    # docker.io/a/b is another image than quay.io/a/b, and may be anybody's.
    hub = Registry(domain, credentials=Credentials("robot", "secret"), priority=priority)
    policy = Policy([OFFLINE, hub])
    assert names(policy, "quay.io/a/b:1") == ["sealos.hub:5000/a/b:1", "quay.io/a/b:1"]
    assert policy.local_names("quay.io/a/b:1") == ("sealos.hub:5000/a/b:1", "quay.io/a/b:1")
    assert hub in policy.registries


@pytest.mark.parametrize("domain", ["docker.io", "Docker.IO"])
@pytest.mark.parametrize("text", ["nginx:1", "docker.io/nginx:1", "index.docker.io/a/b", "a/b"])
def test_docker_hubs_own_images_are_pulled_with_its_credentials(domain: str, text: str) -> None:
    hub = Registry(domain, credentials=Credentials("robot", "secret"))
    own = Policy([hub]).candidates(text)[-1]
    assert (own.name, own.registry, own.rewritten) == (text, hub, False)


def test_in_strict_mode_candidates_say_where_asking_for_them_must_not_lead() -> None:
    strict = Rule(1, (parse_pattern("quay.io"),), origin_allowed=False)
    policy = Policy([OFFLINE], [strict])
    (candidate,) = policy.plan("quay.io/a/b:1").candidates
    assert candidate.forbidden == "quay.io"
    (candidate,) = policy.plan("ghcr.io/a/b:1").candidates
    assert candidate.forbidden == ""
    # For whoever compares and prints candidates it is the same one.
    assert attrs.evolve(candidate, forbidden="quay.io") == candidate
    assert "quay.io" not in repr(attrs.evolve(candidate, forbidden="quay.io"))


def test_docker_hubs_credentials_do_not_keep_its_images_from_the_offline_registry() -> None:
    hub = Registry("docker.io", credentials=Credentials("robot", "secret"))
    policy = Policy([OFFLINE, hub])
    assert names(policy, "nginx:1") == ["sealos.hub:5000/library/nginx:1", "nginx:1"]
    assert policy.candidates("nginx:1")[-1].registry is hub


@pytest.mark.parametrize("text", ["", "Nginx", "a b", HEX, DIGEST, "a@sha256:abc"])
def test_what_is_no_reference_has_no_candidates(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        Policy([OFFLINE]).candidates(text)


@pytest.mark.parametrize(
    "text", [HEX, DIGEST, "", "no reference\n", "Nginx", "a:b:c", "a@sha256:abc"]
)
def test_an_image_id_or_nonsense_stands_only_for_itself(text: str) -> None:
    assert Policy([OFFLINE]).local_names(text) == (text,)


def test_the_runtime_may_hold_an_image_under_each_candidates_name() -> None:
    policy = Policy([OFFLINE, HARBOR])
    assert policy.local_names("nginx") == (
        "sealos.hub:5000/library/nginx:latest",
        "harbor.corp/library/nginx:latest",
        "nginx",
    )


def test_a_short_id_may_be_a_name_too() -> None:
    assert Policy([OFFLINE]).local_names("3fb2") == (
        "sealos.hub:5000/library/3fb2:latest",
        "3fb2",
    )


def test_a_configured_registrys_own_name_is_the_only_one() -> None:
    assert Policy([OFFLINE]).local_names("sealos.hub:5000/a:1") == ("sealos.hub:5000/a:1",)


def test_no_name_is_asked_for_twice() -> None:
    # The configuration refuses a registry that is there twice; a question is not asked twice either.
    policy = Policy([HARBOR, Registry("harbor.corp", priority=7)])
    assert policy.local_names("a:1") == ("harbor.corp/library/a:1", "a:1")


def test_the_names_of_an_image_are_remembered_but_not_those_of_a_text_as_long_as_a_message() -> (
    None
):
    policy = Policy([OFFLINE])
    assert policy.local_names("a:1") is policy.local_names("a:1")
    huge = "a" * 10_000_000
    assert policy.local_names(huge) == (huge,)
    assert policy._remembered.cache_info().currsize == 1


def test_two_policies_do_not_share_what_they_remember() -> None:
    assert Policy([OFFLINE]).local_names("a:1") == ("sealos.hub:5000/library/a:1", "a:1")
    assert Policy([HARBOR]).local_names("a:1") == ("harbor.corp/library/a:1", "a:1")


def test_a_plan_says_what_is_asked_what_was_written_and_which_rule_decided() -> None:
    rule = Rule(1, QUAY, registries=("harbor.corp",), origin_allowed=False)
    policy = Policy([OFFLINE, HARBOR], [rule])
    plan = policy.plan("quay.io/a:1")
    assert plan.reference == parse_reference("quay.io/a:1")
    assert [(one.name, one.registry) for one in plan.candidates] == [("harbor.corp/a:1", HARBOR)]
    assert (plan.as_written.name, plan.as_written.rewritten) == ("quay.io/a:1", False)
    assert (plan.rule, plan.excluded, plan.origin_allowed) == (rule, "", False)


def test_a_plan_without_a_rule_allows_the_origin() -> None:
    plan = Policy([OFFLINE], [Rule(1, QUAY, origin_allowed=False)]).plan("a:1")
    assert isinstance(plan, Plan)
    assert (plan.rule, plan.excluded, plan.origin_allowed) == (None, "", True)


def test_a_plan_says_what_leaves_a_reference_alone() -> None:
    rule = Rule(1, QUAY, exclude=(parse_tagged_pattern("*:latest"),))
    plan = Policy([OFFLINE], [rule]).plan("quay.io/a")
    assert (plan.candidates, plan.rule, plan.excluded) == ((), rule, "*:latest")


def test_an_image_that_the_node_holds_is_found_although_its_origin_is_not_allowed() -> None:
    policy = Policy([OFFLINE], [Rule(1, QUAY, origin_allowed=False)])
    assert policy.local_names("quay.io/a:1") == ("sealos.hub:5000/a:1", "quay.io/a:1")


def test_a_registry_that_a_rule_names_and_nobody_configured_is_not_asked() -> None:
    policy = Policy([OFFLINE], [Rule(1, QUAY, registries=("gone.corp", "sealos.hub:5000"))])
    assert names(policy, "quay.io/a:1") == ["sealos.hub:5000/a:1", "quay.io/a:1"]


def test_a_plan_says_which_registries_are_not_asked_and_why() -> None:
    by_digest = Registry("digest.corp", trust_for="digest")
    by_tag = Registry("tag.corp", trust_for="tag")
    keeps = Registry("keeps.corp", keep_host=True)
    policy = Policy([OFFLINE, by_digest, by_tag, keeps])
    plan = policy.plan("quay.io:80/a:1")
    assert [(one.registry, one.why) for one in plan.left_out] == [
        (by_digest, "trusted for references with a digest only"),
        (keeps, "the name would be no valid one there"),
    ]
    plan = policy.plan(f"quay.io/a@{DIGEST}")
    assert [(one.registry, one.why) for one in plan.left_out] == [
        (by_tag, "trusted for references without a digest only"),
    ]
    assert policy.plan("sealos.hub:5000/a").left_out == ()


def test_what_is_excluded_leaves_no_registry_out() -> None:
    rule = Rule(1, QUAY, exclude=(parse_tagged_pattern("*:latest"),))
    policy = Policy([Registry("digest.corp", trust_for="digest")], [rule])
    assert policy.plan("quay.io/a").left_out == ()
    assert len(policy.plan("quay.io/a:1").left_out) == 1
