"""Rules that no image can reach are refused, and only those."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_cri_shim.config import parse
from image_cri_shim.errors import ConfigError
from image_cri_shim.pattern import check_tag_pattern, parse_pattern
from image_cri_shim.policy import Policy
from image_cri_shim.rules import Rule

HEAD = """\
registries:
  - {address: https://Harbor.corp, prefix: dockerhub}
  - {address: https://Harbor.corp, prefix: quay}
  - address: mirror.corp
rules:
"""
NONE_LEFT = "expected images that no rule before this one is about, found those of"
MOVE = "put this rule in front, or leave it out"


def problems(text: str, head: str = HEAD) -> list[str]:
    """Return the problems; the rules begin on line 1."""
    with pytest.raises(ConfigError) as caught:
        parse(head + text, "f")
    above = head.count("\n")
    return [
        f"{one.line - above}:{one.column}: {one.path}: {one.message}"
        for one in caught.value.problems
    ]


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("'*'", "docker.io"),
        ("'*'", "docker.io/library/*"),
        ("'*'", "'*'"),
        ("'*'", "'*.corp'"),
        ("'*'", "[docker.io, '*.corp/x']"),
        ("'*/*'", "quay.io"),
        ("[a.io, '*']", "quay.io"),
        ("docker.io", "docker.io"),
        ("docker.io", "index.docker.io/library/nginx"),
        ("docker.io", "docker.io/*"),
        ("docker.io/*", "docker.io"),
        ("docker.io/library", "docker.io/library/nginx"),
        ("docker.io/library/*", "docker.io/library/nginx"),
        ("docker.io/library", "docker.io/library/n*"),
        ("'*/library'", "quay.io/library/x"),
        ("'*.corp'", "'*.corp/x'"),
        ("'*.io'", "quay.io"),
        ("'*.io/*'", "quay.io/team/*"),
        ("'*.io/team'", "quay.io/team/a/b"),
        ("'*.corp'", "other.corp"),
        ("'*.io'", "'*.k8s.io'"),
        ("'*.k8s.io'", "[registry.k8s.io, '*.gcr.k8s.io']"),
        ("'r*:*'", "'registry.*:5000'"),
        ("docker.*", "index.docker.io/library/nginx"),
        ("quay.io/te*", "quay.io/team/x"),
        ("quay.io/te*", "quay.io/team*"),
        ("quay.io/te*/a*", "quay.io/team/ab/*"),
        ("quay.io/*a", "quay.io/*a/*a"),
        ("docker.io/lib*", "docker.io/library/nginx"),
        ("'*.io/te*'", "quay.io/team/x"),
        ("quay.io/**", "quay.io/team/x"),
        # Its own images, too: both name the host.
        ("mirror.corp", "mirror.corp/x"),
    ],
)
def test_a_rule_for_which_no_image_is_left_is_refused(first: str, later: str) -> None:
    text = f"  - match: {first}\n  - match: x.example\n    tags: a\n  - match: {later}\n"
    assert (
        problems(text)
        == [
            f"4:12: rules[2].match: {NONE_LEFT} rule 1 (line 6): {MOVE}",
        ]
        or problems(text)[-1] == f"4:12: rules[2].match: {NONE_LEFT} rule 1 (line 6): {MOVE}"
    )


@pytest.mark.parametrize(
    ("first", "later"),
    [
        # Images of configured registries are only meant by rules that name their host.
        ("'*'", "mirror.corp"),
        ("'*'", "MIRROR.corp/x"),
        ("'*'", "harbor.corp/quay/*"),
        ("'*'", "sealos.hub:5000"),
        ("'*'", "[docker.io, mirror.corp]"),
        ("'*.corp'", "mirror.corp"),
        ("'*.corp'", "[other.corp, Mirror.corp]"),
        ("'*.corp'", "harbor.corp/quay"),
        ("'sealos*'", "sealos.hub:5000"),
        ("'*/library'", "mirror.corp/library"),
        ("docker.io/library/*", "docker.io/library"),
        ("docker.io/library/*", "docker.io/nginx"),
        ("docker.io/library/nginx", "docker.io/library/nginx*"),
        ("docker.io/lib", "docker.io/library"),
        ("docker.io/lib*", "docker.io/nginx"),
        ("quay.io/*x", "quay.io/team/x"),
        ("quay.io/team/*/a", "quay.io/team/b/a"),
        ("quay.io/team*", "quay.io/te*m"),
        ("quay.io/te*", "quay.io"),
        # Their images' hosts are no registry's; with this port they are.
        ("'*.lab'", "own.lab"),
        ("docker.io/*/x", "docker.io/a"),
        ("docker.io/*a", "docker.io/*a/b"),
        ("docker.io", "'*'"),
        ("docker.io", "docker.io:443"),
        ("[docker.io, quay.io]", "'*.io'"),
        ("'*.k8s.io'", "'*.io'"),
        ("'*.k8s.io'", "k8s.io"),
        ("'*.io'", "quay.io:443"),
        ("'*.io/team/*'", "quay.io/team"),
        ("'*.k8s.io/a'", "registry.k8s.io"),
        ("'*a.io'", "'a*.io'"),
    ],
)
def test_a_rule_for_which_some_images_are_left_is_taken(first: str, later: str) -> None:
    head = HEAD.replace("rules:", "  - address: own.lab:443\nrules:")
    assert len(parse(head + f"  - match: {first}\n  - match: {later}\n", "f").rules) == 2


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("v1.*", "v1.*"),
        ("'*'", "v1.*"),
        ("'*'", "[latest, v1.*]"),
        ("[a, v*]", "[v1, v2.*]"),
        ("v*", "v1*2"),
        ("v*, registries: []", "v1"),
    ],
)
@pytest.mark.parametrize("images", ["quay.io", "quay.io/team/*", "quay.io/t*m"])
def test_a_rule_for_whose_tags_no_image_is_left_is_refused(
    first: str, later: str, images: str
) -> None:
    text = f"  - {{match: quay.io, tags: {first}}}\n  - {{match: {images}, tags: {later}}}\n"
    (found,) = problems(text)
    assert found == f"2:13: rules[1].match: {NONE_LEFT} rule 1 (line 6): {MOVE}"
    text = f"  - {{match: quay.io/t*, tags: {first}}}\n  - {{match: {images}, tags: {later}}}\n"
    if images == "quay.io":
        assert len(parse(HEAD + text, "f").rules) == 2
    else:
        (found,) = problems(text)
        assert found == f"2:13: rules[1].match: {NONE_LEFT} rule 1 (line 6): {MOVE}"


@pytest.mark.parametrize(
    ("first", "later"),
    [
        # With a digest, and for these no tag counts.
        ("'*'", "[]"),
        ("v1.*", "v*"),
        ("v1.*", "[v1.2, v2]"),
        ("v*1", "v1.*"),
        ("a", "A"),
    ],
)
def test_a_rule_for_whose_tags_some_are_left_is_taken(first: str, later: str) -> None:
    text = f"  - {{match: quay.io, tags: {first}}}\n  - {{match: quay.io, tags: {later}}}\n"
    assert len(parse(HEAD + text, "f").rules) == 2


def test_each_tag_may_have_been_taken_by_another_rule() -> None:
    text = "".join(
        f"  - {{match: {match}, tags: {tags}}}\n"
        for match, tags in (
            ("a.io", "v1*"),
            ("a.io", "x"),
            ("b.io", "'*'"),
            ("[a.io, b.io]", "[x, v12]"),
        )
    )
    (found,) = problems(text)
    taken = "rule 1 (line 6) and rule 2 (line 7) and rule 3 (line 8)"
    assert found == f"4:13: rules[3].match: {NONE_LEFT} {taken}: {MOVE}"


def test_many_rules_for_tags_are_not_searched_without_an_end() -> None:
    text = "".join(f"- {{match: 'a*b', tags: ['v{n}x*', 'w{n}x*']}}\n" for n in range(9_000))
    assert len(parse(f"rules:\n{text}", "f").rules) == 9_000


@pytest.mark.parametrize("first", ["'*'", "'*.io'"])
def test_docker_hubs_images_are_nobodys_own(first: str) -> None:
    head = "registries: [{address: docker.io, auth: 'a:b'}]\nrules:\n"
    (found,) = problems(f"  - match: {first}\n  - match: docker.io\n", head)
    assert found == f"2:12: rules[1].match: {NONE_LEFT} rule 1 (line 3): {MOVE}"


def test_a_strict_rule_behind_a_pattern_for_its_host_is_not_lost_in_silence() -> None:
    text = "rules: [{match: '*.k8s.io'}, {match: registry.k8s.io, originAllowed: false}]\n"
    (found,) = problems(text, "")
    assert found == f"1:38: rules[1].match: {NONE_LEFT} rule 1 (line 1): {MOVE}"
    # With a registry of this host the second rule is the one for that registry's own images.
    assert len(parse(f"registries: [{{address: registry.k8s.io}}]\n{text}", "f").rules) == 2


def test_a_file_made_of_patterns_is_not_searched_without_an_end() -> None:
    many = "".join(f"- match: ['*.a{n}', b{n}.c]\n" for n in range(3_000))
    few = "".join(f"- match: ['*.a{n}', b{n}.c]\n" for n in range(300))
    last = "- match: x.a0\n"
    assert len(parse(f"rules:\n{many}{last}", "f").rules) == 3_001
    (found,) = problems(few + last, "rules:\n")
    assert found.startswith(f"301:10: rules[300].match: {NONE_LEFT} rule 1 (line 2): ")


def test_a_rule_for_some_tags_leaves_the_others() -> None:
    assert (
        len(parse(HEAD + "  - {match: '*', tags: latest}\n  - {match: docker.io}\n", "f").rules)
        == 2
    )
    (found,) = problems("  - {match: docker.io}\n  - {match: docker.io, tags: latest}\n")
    assert found == f"2:13: rules[1].match: {NONE_LEFT} rule 1 (line 6): {MOVE}"


def test_several_rules_may_have_taken_all_images_of_one() -> None:
    hosts = ["a.io", "b.io", "c.io", "d.io"]
    text = "".join(f"  - match: {host}\n" for host in hosts)
    (found,) = problems(text + "  - match: [b.io, a.io]\n")
    assert found.endswith(f"{NONE_LEFT} rule 1 (line 6) and rule 2 (line 7): {MOVE}")
    (found,) = problems(text + "  - match: [d.io, c.io, b.io, a.io]\n")
    assert found.endswith(
        f"rule 1 (line 6) and rule 2 (line 7) and rule 3 (line 8) and others: {MOVE}"
    )


@pytest.mark.parametrize(
    "text",
    [
        # The first rule may be about less than it seems.
        "  - {match: '*', tags: 'a:b'}\n  - {match: docker.io}\n",
        "  - {match: '*', tag: a}\n  - {match: docker.io}\n",
        "  - {match: '*', tags: [a, 'b:c']}\n  - {match: docker.io, tags: a}\n",
        "  - {match: '*', tags: a}\n  - {match: docker.io, tags: [a, 'b:c']}\n",
        # The second may be about more.
        "  - {match: '*'}\n  - {match: [docker.io, nginx]}\n",
    ],
)
def test_a_rule_with_a_mistake_has_no_other_problem_in_its_wake(text: str) -> None:
    assert len(problems(text)) == 1


def test_a_registry_that_is_wrong_may_be_the_one_whose_host_a_rule_names() -> None:
    head = "registries: [{address: docker.io/a b}]\nrules:\n"
    text = "  - match: '*'\n  - match: quay.io\n"
    assert [one for one in problems(text, head) if "rules" in one] == []


HOSTS = ["*", "*.corp", "*.c*", "a.c*", "a.corp", "a.corp:443", "docker.io", "*.io", "own.corp"]
PATHS = ["", "/*", "/a", "/a/*", "/a/b", "/a*", "/library", "/nginx", "/n*", "/*/b", "/l*/n*"]
REFERENCES = [
    f"{host}/{path}{tag}"
    for host in ("a.corp", "a.corp:443", "b.corp", "docker.io", "own.corp", "c.io")
    for path in ("a", "a/b", "a/b/c", "ab", "b", "library/nginx", "nginx", "nginx/x", "library/a/b")
    for tag in (":x", ":xy", ":z", f"@sha256:{'0' * 64}")
]
MATCHES = st.lists(
    st.sampled_from([host + path for host, path in itertools.product(HOSTS, PATHS)]),
    min_size=1,
    max_size=2,
    unique=True,
)
REGISTRIES = st.lists(
    st.sampled_from(["own.corp", "a.corp", "docker.io", "c.io"])
    | st.sampled_from(["own.corp", "a.corp:443", "docker.io"]),
    unique_by=lambda host: host.removesuffix(":443"),
    max_size=3,
)


@settings(
    derandomize=True, max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    st.lists(
        st.tuples(MATCHES, st.sampled_from([[], ["x"], ["x*"], ["*"], ["xy", "z"]])),
        min_size=2,
        max_size=4,
    ),
    REGISTRIES,
)
def test_no_rule_is_refused_that_is_the_one_for_some_image(
    written: list[tuple[list[str], list[str]]], listed: list[str]
) -> None:
    lines = "".join(f"- {{match: {match}, tags: {tags}}}\n" for match, tags in written)
    head = f"registries: [{', '.join(f'{{address: {host}}}' for host in listed)}]\n"
    refused = set()
    try:
        parse(f"{head}rules:\n{lines}", "f")
    except ConfigError as error:
        refused = {one.path for one in error.problems if NONE_LEFT in one.message}
    made = [
        Rule(number, tuple(map(parse_pattern, match)), tags=tuple(map(check_tag_pattern, tags)))
        for number, (match, tags) in enumerate(written, start=1)
    ]
    policy = Policy(parse(head, "f").all_registries, made)
    for text in REFERENCES:
        chosen = policy.plan(text).rule
        assert chosen is None or f"rules[{chosen.number - 1}].match" not in refused, text
