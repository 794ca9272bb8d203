"""Which references a rule is about, what it leaves alone, and which path it writes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_cri_shim.pattern import parse_pattern, parse_tagged_pattern
from image_cri_shim.reference import is_repository, parse_reference
from image_cri_shim.rules import Rewrite, Rule

DIGEST = "sha256:" + "0123456789abcdef" * 4
quick = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def rule(
    *match: str, number: int = 1, tags: tuple[str, ...] = (), exclude: tuple[str, ...] = ()
) -> Rule:
    return Rule(
        number,
        tuple(parse_pattern(text) for text in match),
        tags=tags,
        exclude=tuple(parse_tagged_pattern(text) for text in exclude),
    )


def rewritten(origin: str, path: str, text: str) -> str | None:
    return Rewrite(parse_pattern(origin), path).apply(parse_reference(text))


def is_about(one: Rule, text: str, *, own: bool = False) -> bool:
    return one.matches(parse_reference(text), own=own)


def test_a_rule_is_called_by_its_number_and_what_it_is_about() -> None:
    assert rule("quay.io", number=2).label == "rule 2 (quay.io)"
    assert rule("QUAY.io/a", "*.corp/*", number=13).label == "rule 13 (QUAY.io/a, *.corp/*)"


def test_one_of_several_patterns_is_enough() -> None:
    one = rule("quay.io/a", "*.corp")
    assert is_about(one, "quay.io/a/b")
    assert is_about(one, "x.corp/y")
    assert not is_about(one, "quay.io/b")


@pytest.mark.parametrize(
    ("tags", "text", "expected"),
    [
        (("latest",), "a", True),
        (("latest",), "a:latest", True),
        (("latest",), "a:1", False),
        (("v*", "latest"), "a:v1", True),
        (("*",), "a:1", True),
        (("*",), f"a@{DIGEST}", False),
        (("1",), f"a:1@{DIGEST}", False),
        ((), f"a:1@{DIGEST}", True),
        ((), "a", True),
    ],
)
def test_a_rule_about_tags_is_about_no_digest(
    tags: tuple[str, ...], text: str, expected: bool
) -> None:
    assert is_about(rule("*", tags=tags), text) is expected


def test_a_tag_alone_is_not_enough() -> None:
    assert not is_about(rule("quay.io", tags=("latest",)), "docker.io/a:latest")


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (("a.corp",), True),
        (("A.CORP/x",), True),
        (("*.corp",), False),
        (("*",), False),
        (("a.corp*",), False),
        (("*", "a.corp"), True),
        (("*", "a.corp/y"), False),
        (("b.corp", "*"), False),
    ],
)
def test_a_configured_registrys_own_name_is_for_rules_that_name_its_host(
    match: tuple[str, ...], expected: bool
) -> None:
    assert is_about(rule(*match), "a.corp/x", own=True) is expected


@pytest.mark.parametrize(
    ("exclude", "text", "expected"),
    [
        (("*:latest",), "a", "*:latest"),
        (("*:latest",), "a:latest", "*:latest"),
        (("*:latest",), "a:1", ""),
        (("*:latest",), f"a:latest@{DIGEST}", ""),
        (("docker.io/a",), f"a@{DIGEST}", "docker.io/a"),
        (("quay.io/a", "docker.io/library/*", "*"), "a", "docker.io/library/*"),
        ((), "a", ""),
    ],
)
def test_what_is_left_alone_is_told_by_the_first_pattern_that_says_so(
    exclude: tuple[str, ...], text: str, expected: str
) -> None:
    assert rule("*", exclude=exclude).excluded_by(parse_reference(text)) == expected


@pytest.mark.parametrize(
    ("origin", "path", "text", "expected"),
    [
        # A host
        ("registry.k8s.io", "google_containers", "registry.k8s.io/pause:3.9", "pause"),
        ("registry.k8s.io", "google_containers", "registry.k8s.io/a/b", "a/b"),
        ("registry.k8s.io/*", "google_containers", "registry.k8s.io/a/b", "a/b"),
        ("Registry.K8S.io/*", "google_containers", "registry.k8s.io/pause", "pause"),
        ("docker.io", "hub", "nginx", "library/nginx"),
        ("docker.io/*", "hub", "nginx", "library/nginx"),
        ("*", "all", "quay.io/a", "a"),
        ("*.corp/*", "corp", "a.corp/x/y", "x/y"),
        # A path below it
        ("quay.io/a", "x", "quay.io/a", ""),
        ("quay.io/a", "x", "quay.io/a/b", "b"),
        ("quay.io/a/*", "x", "quay.io/a/b/c", "b/c"),
        ("quay.io/a/b", "x/y", "quay.io/a/b:1", ""),
        ("quay.io/a/b/*", "x/y", "quay.io/a/b/c", "c"),
        ("docker.io/library/*", "hub", "nginx", "nginx"),
        ("docker.io/library", "hub", "nginx", "nginx"),
        # An image of Docker Hub by its short name
        ("docker.io/nginx", "web", "nginx", ""),
        ("docker.io/nginx", "web", "docker.io/library/nginx:1", ""),
        ("docker.io/nginx", "web", "nginx/agent", "agent"),
        ("*/nginx", "web", "nginx", ""),
        ("*/nginx", "web", "quay.io/nginx", ""),
    ],
)
def test_a_path_is_replaced_and_what_stands_below_it_is_kept(
    origin: str, path: str, text: str, expected: str
) -> None:
    assert rewritten(origin, path, text) == "/".join(part for part in (path, expected) if part)
    # Without a path nothing stands in front of what is kept.
    assert rewritten(origin, "", text) == expected


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        ("quay.io", "a"),
        ("quay.io/a", "quay.io/ab"),
        ("quay.io/a", "quay.io/b/a"),
        ("quay.io/a/*", "quay.io/a"),
        ("quay.io/a/*", "quay.io/ab/c"),
        ("docker.io/nginx/*", "nginx"),
        ("docker.io/library/nginx", "nginx/agent"),
    ],
)
def test_what_is_not_meant_keeps_its_path(origin: str, text: str) -> None:
    assert rewritten(origin, "x", text) is None


@pytest.mark.parametrize("origin", ["quay.io/a*", "quay.io/*/b", "quay.io/*a/*", "quay.io/a/*/*"])
def test_a_star_whose_part_would_be_lost_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match=r"^found a \* in quay"):
        Rewrite(parse_pattern(origin), "x")


@pytest.mark.parametrize("path", ["/x", "x/", "X", "x//y", "../x", "x:1", "x/*", "h:80/x"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"^found "):
        Rewrite(parse_pattern("quay.io"), path)


def test_the_first_rewrite_that_fits_is_the_one() -> None:
    one = Rule(
        1,
        (parse_pattern("*"),),
        rewrite=(
            Rewrite(parse_pattern("quay.io/a/*"), "first"),
            Rewrite(parse_pattern("quay.io"), "second"),
        ),
    )
    assert one.path(parse_reference("quay.io/a/b")) == "first/b"
    assert one.path(parse_reference("quay.io/c")) == "second/c"
    assert one.path(parse_reference("c")) is None
    assert rule("*").path(parse_reference("quay.io/c")) is None


components = st.from_regex(r"[ab]{1,2}([.-][ab])?", fullmatch=True)
paths = st.lists(components, min_size=1, max_size=3).map("/".join)


@quick
@given(paths, paths, paths, st.sampled_from(["", "/*"]))
def test_below_a_path_nothing_is_lost_and_nothing_added(
    below: str, path: str, rest: str, end: str
) -> None:
    found = rewritten(f"quay.io/{below}{end}", path, f"quay.io/{below}/{rest}")
    assert found == f"{path}/{rest}"
    assert is_repository(found)


@quick
@given(paths, paths, paths)
def test_two_images_never_become_one(below: str, one: str, other: str) -> None:
    first, second = (rewritten("quay.io/*", below, f"quay.io/{text}") for text in (one, other))
    assert (first == second) is (one == other)
