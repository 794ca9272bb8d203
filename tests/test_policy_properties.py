"""What holds for every plan, whatever the registries, the rules and the reference."""

from __future__ import annotations

import random

import attrs
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from image_cri_shim.decision import Candidate, Registry
from image_cri_shim.pattern import Pattern, parse_pattern, parse_tagged_pattern
from image_cri_shim.policy import Plan, Policy, in_order
from image_cri_shim.reference import ImageReference, InvalidReferenceError, parse_reference
from image_cri_shim.rules import Rewrite, Rule
from tests.test_reference_grammar import meaning

HEX = "0123456789abcdef" * 4
quick = settings(max_examples=150, deadline=None, derandomize=True, database=None)
# For what only a few of the policies are about.
thorough = settings(quick, max_examples=600)

# Every other host is one and the same, so that references, registries and rules meet.
NEAR = ["a.corp", "A.Corp"]
FAR = ["docker.io", "Docker.IO", "registry-1.docker.io", "quay.io", "QUAY.io", "a.corp:443"]
FAR += ["[2001:DB8::1]:50", "HUB", "foo_bar.com", "docker.io"]
COMPONENTS = ["a", "a", "b", "library", "nginx", "quay.io", "docker.io", "a__b", "x" * 120]

hosts = st.sampled_from(NEAR) | st.sampled_from(FAR)
repositories = st.lists(st.sampled_from(COMPONENTS), min_size=1, max_size=3).map("/".join)
prefixes = st.just("") | st.sampled_from(["a", "a/b", "library", "x" * 120])
registries = st.builds(
    Registry,
    domain=hosts | st.sampled_from(["hub", "index.docker.io"]),
    priority=st.sampled_from([0, 500, 1000]),
    offline=st.booleans(),
    prefix=prefixes,
    keep_host=st.booleans(),
    trust_for=st.sampled_from(["all", "all", "digest", "tag"]),
)
texts = st.builds(
    "{}{}{}{}".format,
    hosts.map("{}/".format) | st.sampled_from(["", "index.docker.io/"]),
    repositories,
    st.sampled_from(["", "", ":latest", ":1", ":V-2"]),
    st.sampled_from(["", "", f"@sha256:{HEX}", f"@sha512:{HEX}{HEX}"]),
)
patterns = st.builds(
    "{}{}".format,
    hosts | st.sampled_from(["*", "*.corp", "*.io", "index.docker.io", "a.corp*"]),
    st.just("") | st.sampled_from(["/*", "/a", "/a/*", "/nginx", "/library/*", "/*b*", "/n*"]),
).map(parse_pattern)
tag_patterns = st.sampled_from(["latest", "1", "*", "V*", "l*t"])
excludes = st.builds("{}/*:{}".format, hosts | st.just("*"), tag_patterns)
rewrites = st.builds(
    lambda host, below, path: Rewrite(parse_pattern(f"{host}{below}"), path),
    hosts | st.sampled_from(["*", "*.io"]),
    st.just("") | st.sampled_from(["/*", "/a", "/a/*", "/nginx", "/library/*"]),
    st.just("") | st.sampled_from(["a", "a/b", "library", "x" * 120]),
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    listed = draw(st.lists(registries, max_size=5, unique_by=lambda one: one.name.lower()))
    names = st.sampled_from([one.name for one in listed] or ["none"])
    rules = st.builds(
        Rule,
        number=st.just(0),
        match=st.lists(patterns, min_size=1, max_size=3).map(tuple),
        tags=st.lists(tag_patterns, max_size=2).map(tuple),
        registries=st.none() | st.lists(names, max_size=4).map(tuple),
        exclude=st.lists(excludes.map(parse_tagged_pattern) | patterns, max_size=1).map(tuple),
        rewrite=st.lists(rewrites, max_size=2).map(tuple),
        origin_allowed=st.booleans(),
    )
    return Policy(
        listed,
        [attrs.evolve(r, number=n) for n, r in enumerate(draw(st.lists(rules, max_size=4)), 1)],
    )


REWRITTEN_TO_ITSELF = Policy(
    [Registry("A.Corp")],
    [Rule(1, (parse_pattern("a.corp"),), rewrite=(Rewrite(parse_pattern("a.corp"), ""),))],
)


def folded(reference: ImageReference) -> tuple[str, str, str | None, str | None]:
    """Return what is equal for two names of one image on one server."""
    pinned = reference.pinned()
    return (pinned.domain.lower(), pinned.repository, pinned.tag, pinned.digest)


def planned(policy: Policy, text: str) -> Plan:
    try:
        return policy.plan(text)
    except InvalidReferenceError:
        # Too long.
        assert meaning(text) is None
        assume(False)
        raise AssertionError from None


@quick
@given(policies(), texts)
@example(
    Policy(
        [Registry("docker.io", keep_host=True)],
        [Rule(1, (parse_pattern("*"),), registries=("docker.io",))],
    ),
    "a.corp/b",
)
def test_every_candidate_is_a_reference_to_the_registry_that_it_claims(
    policy: Policy, text: str
) -> None:
    for candidate in planned(policy, text).candidates:
        registry, read = candidate.registry, meaning(candidate.name)
        assert registry in policy.registries
        assert read == candidate.reference
        assert read.domain == registry.domain
        assert f"{read.repository}/".startswith(f"{registry.prefix}/" if registry.prefix else "")
        assert len(read.name) <= 255
        assert candidate.rewritten


@quick
@given(policies(), texts)
def test_every_candidate_is_pulled_by_what_the_reference_is_pulled_by(
    policy: Policy, text: str
) -> None:
    plan = planned(policy, text)
    wanted = meaning(text)
    for candidate in plan.candidates:
        read = meaning(candidate.name)
        assert (read.tag is None) is (read.digest is not None)
        assert read.digest == wanted.digest
        assert read.digest is not None or read.tag == (wanted.tag or "latest")
        trusted = {"all": True, "digest": read.digest is not None, "tag": read.digest is None}
        assert trusted[candidate.registry.trust_for]


@quick
@given(policies(), texts)
@example(REWRITTEN_TO_ITSELF, "a.corp/b")
def test_no_candidate_is_the_origin_and_none_is_there_twice(policy: Policy, text: str) -> None:
    plan = planned(policy, text)
    found = [folded(one.reference) for one in plan.candidates]
    assert folded(plan.reference) not in found
    assert len(set(found)) == len(found)


@thorough
@given(policies(), texts)
def test_the_name_as_it_was_written_has_its_own_registry_or_none(policy: Policy, text: str) -> None:
    plan = planned(policy, text)
    written = plan.as_written
    assert (written.name, written.rewritten) == (text, False)
    assert written.reference == plan.reference == meaning(text)
    here = [
        one for one in policy.registries if one.domain.lower() == written.reference.domain.lower()
    ]
    assert (written.registry in here) if here else (written.registry is None)
    below = [
        one
        for one in here
        if not one.prefix or f"{written.reference.repository}/".startswith(f"{one.prefix}/")
    ]
    if below:
        assert len(written.registry.prefix) == max(len(one.prefix) for one in below)
        assert written.registry in below


@quick
@given(policies(), texts)
def test_the_path_is_that_of_the_reference_but_for_a_prefix_a_host_or_a_rewrite(
    policy: Policy, text: str
) -> None:
    plan = planned(policy, text)
    rewritten = plan.rule is not None and plan.rule.path(plan.reference) is not None
    for candidate in plan.candidates:
        registry, path = candidate.registry, candidate.reference.repository
        if registry.prefix:
            path = path.removeprefix(f"{registry.prefix}/")
        if not rewritten:
            host = f"{plan.reference.domain.lower()}/" if registry.keep_host else ""
            assert path == f"{host}{plan.reference.repository}"
        # Whatever is rewritten: the same path is written for every registry.
        elif not registry.keep_host:
            assert path == plan.rule.path(plan.reference)


def has_host(pattern: Pattern, domain: str) -> bool:
    host = pattern.text.partition("/")[0].lower().replace("index.docker.io", "docker.io")
    begin, star, end = host.partition("*")
    fits = domain.startswith(begin) and domain.endswith(end) and len(domain) >= len(begin + end)
    return fits if star else domain == host


@quick
@given(policies(), texts)
def test_the_first_rule_that_is_about_it_decides(policy: Policy, text: str) -> None:
    plan = planned(policy, text)
    own = plan.as_written.registry is not None and plan.reference.domain.lower() != "docker.io"
    matching = [one for one in policy.rules if one.matches(plan.reference, own=own)]
    assert plan.rule == (matching[0] if matching else None)
    domain = plan.reference.domain.lower()
    if plan.rule is not None:
        about = [one for one in plan.rule.match if has_host(one, domain)]
        assert about
        assert not own or any("*" not in one.text.partition("/")[0] for one in about)
        assert plan.origin_allowed is plan.rule.origin_allowed
        assert plan.reference.digest is None or not plan.rule.tags
    else:
        assert plan.origin_allowed
        assert not (own and plan.candidates)


@quick
@given(policies(), texts)
def test_what_is_excluded_has_no_candidates(policy: Policy, text: str) -> None:
    plan = planned(policy, text)
    if plan.excluded:
        assert plan.candidates == ()
        assert plan.excluded in [str(one) for one in plan.rule.exclude]


@quick
@given(policies(), texts)
def test_only_the_registries_of_the_rule_are_asked_and_in_its_order(
    policy: Policy, text: str
) -> None:
    plan = planned(policy, text)
    asked = [one.registry.name.lower() for one in plan.candidates]
    if plan.rule is not None and plan.rule.registries is not None:
        order = list(dict.fromkeys(name.lower() for name in plan.rule.registries))
    else:
        order = [one.name.lower() for one in in_order(policy.registries)]
        assert not any(one.registry.domain.endswith("docker.io") for one in plan.candidates)
    assert asked == [name for name in order if name in asked]
    left_out = [one.registry.name.lower() for one in plan.left_out]
    assert set(left_out) <= set(order) - set(asked)


@thorough
@given(policies(), texts)
def test_without_a_rewrite_nothing_else_of_the_same_server_is_asked_unless_named(
    policy: Policy, text: str
) -> None:
    # a.corp/proxy/x is another image than a.corp/x.
    plan = planned(policy, text)
    if plan.rule is None or plan.rule.path(plan.reference) is None:
        for candidate in plan.candidates:
            if candidate.reference.domain.lower() == plan.reference.domain.lower():
                names = [name.lower() for name in plan.rule.registries]
                assert candidate.registry.name.lower() in names
                below = f"{plan.reference.repository}/".startswith(f"{candidate.registry.prefix}/")
                assert candidate.registry.prefix
                assert not below


@quick
@given(policies(), texts, st.randoms(use_true_random=False))
def test_the_order_in_which_registries_are_listed_does_not_matter(
    policy: Policy, text: str, chance: random.Random
) -> None:
    shuffled = chance.sample(policy.registries, len(policy.registries))
    assert planned(Policy(shuffled, policy.rules), text) == planned(policy, text)


@quick
@given(policies(), texts)
def test_the_runtime_may_hold_it_under_each_name_once(policy: Policy, text: str) -> None:
    plan = planned(policy, text)
    names = policy.local_names(text)
    assert names == (*(one.name for one in plan.candidates), text)
    assert len(set(names)) == len(names)


@quick
@given(policies(), texts, st.sampled_from([" ", "\n", "A/", "@", ":", "/", "-", "_", "\u0663"]))
def test_nothing_invalid_gets_a_candidate(policy: Policy, text: str, end: str) -> None:
    damaged = text + end
    if meaning(damaged) is not None:
        return
    assert policy.local_names(damaged) == (damaged,)
    try:
        plan = policy.plan(damaged)
    except InvalidReferenceError:
        return
    raise AssertionError(plan)


@quick
@given(policies(), texts)
def test_each_spelling_of_docker_hub_has_the_same_candidates(policy: Policy, text: str) -> None:
    reference = planned(policy, text).reference
    assume(reference.domain == "docker.io")
    others = [str(reference), f"index.{reference}"]
    if reference.repository.count("/") == 1 and reference.repository.startswith("library/"):
        others.append(str(reference).replace("docker.io/library/", "docker.io/", 1))
    for other in others:
        assert planned(policy, other).candidates == planned(policy, text).candidates


def candidate_of(registry: Registry, text: str) -> Candidate | None:
    return next(iter(planned(Policy([registry]), text).candidates), None)


@quick
@given(repositories, repositories, prefixes, st.booleans())
def test_two_images_of_one_host_are_two_images_on_every_registry(
    one: str, other: str, prefix: str, keep: bool
) -> None:
    registry = Registry("s.corp", prefix=prefix, keep_host=keep)
    assume(one != other)
    first, second = (candidate_of(registry, f"quay.io/{path}") for path in (one, other))
    assert first is None or second is None or first.name != second.name


@quick
@given(texts, texts, prefixes)
def test_a_registry_that_keeps_the_host_holds_no_two_images_under_one_name(
    one: str, other: str, prefix: str
) -> None:
    registry = Registry("s.corp", prefix=prefix, keep_host=True)
    first, second = (candidate_of(registry, text) for text in (one, other))
    if first is not None and first == second:
        assert folded(parse_reference(one)) == folded(parse_reference(other))
