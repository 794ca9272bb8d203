"""Which image references a pattern means."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from image_cri_shim.pattern import (
    Pattern,
    check_tag_pattern,
    matches_glob,
    matches_tag,
    parse_pattern,
    parse_tagged_pattern,
)
from image_cri_shim.reference import parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4
quick = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def means(pattern: str, text: str) -> bool:
    # A host with any port is only clear where no tag may follow.
    parse = parse_pattern if pattern.endswith((".corp:*", "]:*")) else parse_tagged_pattern
    return parse(pattern).matches(parse_reference(text))


@pytest.mark.parametrize(
    ("pattern", "meant", "others"),
    [
        # Hosts
        (
            "quay.io",
            "quay.io/a quay.io/a/b:1 QUAY.io:443/a",
            "a quay.io:444/a x.quay.io/a quay.iox/a",
        ),
        ("QUAY.io", "quay.io/a QUAY.IO/a", "a"),
        ("docker.io", "a a/b docker.io/a index.docker.io/a/b docker.io:443/a", "docker.io:80/a"),
        ("index.docker.io", "a docker.io/a/b index.docker.io/a", "registry-1.docker.io/a"),
        ("INDEX.Docker.IO/a", "a docker.io/a a/b", "b quay.io/a"),
        ("localhost", "localhost/a", "localhost:5000/a a localhost"),
        ("localhost:5000", "localhost:5000/a:1 localhost:5000/a/b", "localhost:5000 localhost/a"),
        ("HUB", "HUB/a Hub/a", "hub/a a"),
        ("foo_bar.com", "foo_bar.com/a", "foo_bar.com foo.com/a"),
        ("[::1]", "[::1]/a", "[::1]:5000/a [::2]/a"),
        ("[2001:DB8::1]:5000", "[2001:db8::1]:5000/a [2001:DB8::1]:5000/a", "[2001:db8::1]/a"),
        # Globs of hosts
        ("*", "a quay.io/a [::1]:5000/a/b localhost/a:1 HUB/a", ""),
        ("*.corp", "a.corp/x a.b.corp/x A.CORP/x", "corp.io/x a.corp:80/x a.corp.io/x a/corp"),
        ("*.corp:*", "a.corp:80/x", "a.corp/x"),
        ("*.corp*", "a.corp:80/x a.corp/x a.corp.evil.example/x", "a.org/x"),
        ("quay.*", "quay.io/a quay.corp:80/a", "a.quay.io/a a"),
        ("*a*.io", "quay.io/x a.io/x", "b.io/x"),
        ("[*]", "[::1]/a", "[::1]:80/a a.io/a"),
        ("[2001:db8:*]:*", "[2001:DB8::1]:5000/a", "[2001:db8::1]/a [2001:db9::1]:5000/a"),
        # A host's pattern never reaches over the first slash
        ("*b", "a.b/x", "a.c/b a/b quay.io/b"),
        ("q*/b", "q.io/b q.io/b/c", "q.io/a/b"),
        ("*/b", "b a.io/b a.io/b/c b/c", "a.io/a/b a/b"),
        ("quay.io*", "quay.io/a quay.io.evil.example/a quay.io:80/a", "a"),
        # Paths
        ("quay.io/a", "quay.io/a quay.io/a:1 quay.io/a/b/c", "quay.io/ab quay.io/b/a quay.io/b"),
        ("quay.io/a/b", "quay.io/a/b quay.io/a/b/c", "quay.io/a quay.io/a/bc quay.io/a-b"),
        ("quay.io/*", "quay.io/a quay.io/a/b", "a"),
        ("quay.io/a/*", "quay.io/a/b quay.io/a/b/c", "quay.io/a quay.io/ab/c"),
        ("quay.io/a*", "quay.io/a quay.io/ab quay.io/a/b", "quay.io/b/a"),
        ("quay.io/*/b", "quay.io/a/b quay.io/a/c/b", "quay.io/b quay.io/a/b/c quay.io/a/bb"),
        ("quay.io/*b*", "quay.io/b quay.io/a/b/c", "quay.io/a/c"),
        ("quay.io/a*a", "quay.io/aa quay.io/a/a", "quay.io/a quay.io/a/a/b"),
        ("quay.io/**", "quay.io/a quay.io/a/b", "a"),
        ("quay.io/library/nginx", "quay.io/library/nginx", "quay.io/nginx nginx"),
        # Docker Hub's images by both names
        ("docker.io/nginx", "nginx docker.io/nginx:1 library/nginx nginx/agent", "a/nginx nginxx"),
        ("docker.io/library", "nginx library/a/b docker.io/library/nginx", "a/b bitnami/redis"),
        ("docker.io/library/nginx", "nginx library/nginx/a", "nginx/agent nginx-a"),
        ("docker.io/library/*", "nginx redis:7", "bitnami/redis"),
        ("docker.io/nginx*", "nginx nginx-a nginx/agent nginxinc/nginx", "a/nginx redis"),
        ("docker.io/*/*", "nginx a/b a/b/c", ""),
        ("docker.io/*-alpine", "x-alpine a/x-alpine", "alpine"),
        ("*/nginx", "nginx quay.io/nginx", "quay.io/library/nginx a/nginx"),
        ("docker.io/library/a/b", "library/a/b", "a/b"),
        # Tags
        ("*:latest", "a a:latest quay.io/a quay.io/a:latest", "a:1 a:latest-1"),
        ("*:v1.*", "a:v1. a:v1.2", "a:v1 a:v2.1 a"),
        ("*:5000", "a:5000 localhost:5000", "localhost:5000/a a"),
        ("*:*", "a a:1 quay.io/a", f"a@{DIGEST} a:1@{DIGEST}"),
        ("*:LATEST", "a:LATEST", "a a:latest"),
        ("docker.io:latest", "a docker.io/a/b:latest", "a:1 quay.io/a"),
        ("docker.io/nginx:1.*", "nginx:1.25 nginx/agent:1.0", "nginx nginx:2 redis:1.2"),
        ("quay.io/a:1", "quay.io/a:1 quay.io/a/b:1", "quay.io/a quay.io/a:2"),
        ("localhost:5000/a:1", "localhost:5000/a:1", "localhost:5000/a:2 localhost/a:1"),
        ("localhost:5000:1", "localhost:5000/a:1", "localhost:5000/a"),
        ("[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x [::1]/x:1"),
        ("[::1]:latest", "[::1]/x", "[::1]/x:1"),
        ("[::1]:5000", "[::1]:5000/x:1 [::1]:5000/x", "[::1]/x:5000"),
        ("*.corp:5000", "a.corp:5000/x:1", "a.corp/x:5000"),
        ("*.corp:50*", "a.corp/x:5000", "a.corp:5000/x"),
        # A digest is not named by the tag beside it
        ("*:latest", "a", f"a@{DIGEST} a:latest@{DIGEST}"),
        ("quay.io/a", f"quay.io/a@{DIGEST} quay.io/a:1@{DIGEST}", f"quay.io/b@{DIGEST}"),
    ],
)
def test_a_pattern_means_these_and_not_those(pattern: str, meant: str, others: str) -> None:
    assert [text for text in meant.split() if not means(pattern, text)] == []
    assert [text for text in others.split() if means(pattern, text)] == []


@pytest.mark.parametrize("text", ["quay.io/a/*", "*", "QUAY.io", "index.docker.io/a", "*.corp:*"])
def test_a_pattern_is_written_as_it_was_written(text: str) -> None:
    assert str(parse_pattern(text)) == text


def test_a_pattern_without_tags_takes_a_port_for_any_port() -> None:
    pattern = parse_pattern("localhost:*")
    assert pattern.matches(parse_reference("localhost:5000/a"))
    assert not pattern.matches(parse_reference("localhost/a"))
    assert parse_pattern("*:80") == Pattern("*:80", "*:80")


@pytest.mark.parametrize(
    ("text", "one"), [("quay.io", True), ("quay.io/*", True), ("*", False), ("*.corp/a", False)]
)
def test_a_pattern_names_one_host_or_many(text: str, one: bool) -> None:
    assert parse_pattern(text).names_one_host is one


NO_PATTERNS = [
    ("", "found an empty text"),
    ("a" * 513, "found 513 characters, more than 512"),
    ("quay.io/" + "*" * 505, "found 513 characters"),
    ("http://quay.io", "found a scheme"),
    ("https://quay.io/a", "found a scheme"),
    ("/a", "found a host that"),
    ("/", "found a slash at the end"),
    ("quay.io/", "found a slash at the end"),
    ("quay.io/a/", "found a slash at the end"),
    ("quay.io//a", "found two slashes"),
    ("quay.io/a//b", "found two slashes"),
    ("quay.io/A", "found a path that"),
    ("quay.io/a b", "found a path that"),
    ("quay.io/a?", "found a path that"),
    ("quay.io/[ab]", "found a path that"),
    ("quay.io/a\n", "found a path that"),
    ("quay.io/\u0663", "found a path that"),
    ("quay.io\n", "found a host that"),
    (" quay.io", "found a host that"),
    ("qu\u0430y.io/a", "found a host that"),
    ("quay.io:port/a", "found a host that"),
    ("quay.io:/a", "found a host that"),
    ("[::1", "found a host that"),
    ("::1/a", "found a host that"),
    ("[fe80::1%eth0]/a", "found a host that"),
    # What is in no image's name
    ("quay.io/../a", "found '..' in its path"),
    ("quay.io/*/a..b", "found 'a..b' in its path"),
    ("quay.io/-a", "found '-a' in its path"),
    ("quay.io/a_", "found 'a_' in its path"),
    ("-quay.io/a", "found -quay.io, which is the host of no image"),
    ("quay..io", "found quay..io, which is the host of no image"),
    ("foo_bar.com:80/a", "found foo_bar.com:80, which is the host of no image"),
    ("[abc]/a", "found [abc], which is the host of no image"),
    # Images of Docker Hub without its host
    ("nginx", "did you mean docker.io/library/nginx?"),
    ("bitnami/redis", "did you mean docker.io/bitnami/redis?"),
    ("library/*", "did you mean docker.io/library/*?"),
]


@pytest.mark.parametrize(("text", "words"), NO_PATTERNS)
@pytest.mark.parametrize("parse", [parse_pattern, parse_tagged_pattern])
def test_what_can_mean_no_image_is_refused(parse: object, text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)  # type: ignore[operator]
    message = str(caught.value)
    assert message.startswith("found ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["quay.io/a:1", "*:latest", "quay.io:latest", "quay.io/a@sha256"])
def test_a_tag_or_a_digest_is_refused_where_none_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"^found a"):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"a@{DIGEST}", "found a digest"),
        (f"quay.io/a:1@{DIGEST}", "found a digest"),
        ("quay.io/a:", "found an empty tag"),
        ("*:", "found an empty tag"),
        (":latest", "found a tag alone: write *:latest"),
        (":", "found an empty tag"),
        ("quay.io/a:b+c", "found a tag that is not made of"),
        ("quay.io/a:1 ", "found a tag that is not made of"),
        ("*:\u0661", "found a tag that is not made of"),
        ("*:-a", "found a tag that begins with"),
        ("*:.a", "found a tag that begins with"),
        ("*:" + "t" * 129, "found a tag of 129 characters, more than 128"),
        ("quay.io/a:b:c", "found a path that"),
        ("nginx:1.25", "did you mean docker.io/library/nginx?"),
        ("nginx:*", "did you mean docker.io/library/nginx?"),
        ("quay.io:*", "write quay.io:*/* or quay.io/*:*"),
        ("localhost:*", "write localhost:*/* or localhost/*:*"),
        ("*.corp:*", "write *.corp:*/* or *.corp/*:*"),
        ("[::1]:*", "write [::1]:*/* or [::1]/*:*"),
        ("a\n:*", "found a host that"),
    ],
)
def test_what_can_mean_no_tag_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_tagged_pattern(text)
    assert str(caught.value).startswith("found ")
    assert words in str(caught.value)


def test_what_the_message_about_an_unclear_tag_offers_is_accepted() -> None:
    assert means("quay.io:*/*", "quay.io:80/a")
    assert not means("quay.io:*/*", "quay.io/a:80")
    assert means("quay.io/*:*", "quay.io/a:80")
    assert not means("quay.io/*:*", "quay.io:80/a")


@pytest.mark.parametrize("text", ["latest", "v1.*", "*", "*-dev", "_", "t" * 128, "*" * 128])
def test_a_pattern_of_tags_is_returned(text: str) -> None:
    assert check_tag_pattern(text) == text


@pytest.mark.parametrize("text", ["", "-a", ".a", "a b", "a\n", "a/b", "a:b", "a@b", "t" * 129])
def test_what_is_no_pattern_of_tags_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^found "):
        check_tag_pattern(text)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("latest", "a", True),
        ("latest", "a:latest", True),
        ("latest", "a:1", False),
        ("*", "a:1", True),
        ("*", f"a@{DIGEST}", False),
        ("1", f"a:1@{DIGEST}", False),
        ("sha256:*", f"a@{DIGEST}", False),
    ],
)
def test_a_tag_is_meant_only_where_it_is_pulled_by(pattern: str, text: str, expected: bool) -> None:
    assert matches_tag(pattern, parse_reference(text)) is expected


# What * stands for, once more, one character after the other.


def naive(pattern: str, text: str) -> bool:
    """Keep every place of the pattern at which the text so far may have arrived."""
    places = {0}
    for char in [*text, ""]:
        for place in range(len(pattern)):
            if place in places and pattern[place] == "*":
                places.add(place + 1)
        if char:
            places = {
                place if pattern[place] == "*" else place + 1
                for place in places
                if place < len(pattern) and pattern[place] in ("*", char)
            }
    return len(pattern) in places


def test_a_star_stands_for_any_characters_in_every_short_pattern_and_text() -> None:
    texts = ["".join(t) for length in range(5) for t in itertools.product("ab", repeat=length)]
    for length in range(6):
        for chars in itertools.product("ab*", repeat=length):
            pattern = "".join(chars)
            wrong = [t for t in texts if matches_glob(pattern, t) is not naive(pattern, t)]
            assert (pattern, wrong) == (pattern, [])


@quick
@given(st.text("ab/.*", max_size=12), st.text("ab/.", max_size=20))
@example("*ab*ab", "aab")
@example("a*a", "a")
def test_a_star_stands_for_any_characters(pattern: str, text: str) -> None:
    assert matches_glob(pattern, text) is naive(pattern, text)


@quick
@given(st.lists(st.text("ab/.", max_size=4), min_size=1, max_size=6), st.data())
def test_a_pattern_matches_what_it_was_made_from(parts: list[str], data: st.DataObject) -> None:
    fill = [data.draw(st.text("ab/.", max_size=4)) for _ in parts[1:]]
    text = "".join(itertools.chain.from_iterable(zip(parts, [*fill, ""], strict=True)))
    assert matches_glob("*".join(parts), text)


@pytest.mark.parametrize("char", ".+?[](){}^$|\\")
def test_nothing_but_a_star_means_more_than_itself(char: str) -> None:
    assert matches_glob(f"*{char}", f"a{char}")
    assert not matches_glob(f"*{char}", "ab")


class Counted(str):
    """A text that counts how often it is searched."""

    __slots__ = ()
    searches = 0

    def find(self, *arguments: object) -> int:
        Counted.searches += 1
        return super().find(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["a*", "*a", "**", "a*a", "aa*"])
def test_a_hostile_pattern_of_the_longest_length_is_searched_for_once_a_part(part: str) -> None:
    # A matcher that takes steps back would need longer than the universe is old.
    pattern = (part * 512)[:511] + "b"
    text = Counted("a" * 4096 + "c")
    Counted.searches = 0
    assert not matches_glob(pattern, text)
    assert not matches_glob(pattern + "*", text)
    assert matches_glob(pattern.replace("b", "c"), text)
    assert Counted.searches <= 3 * pattern.count("*")


def test_a_hostile_pattern_is_matched_against_the_longest_reference() -> None:
    reference = parse_reference("quay.io/" + "a" * 255 + ":" + "t" * 128)
    assert not parse_pattern("quay.io/" + "*a" * 251 + "*b").matches(reference)
    assert parse_pattern("quay.io/" + "*a" * 250 + "*").matches(reference)
    assert not parse_tagged_pattern("*:" + "*t" * 63 + "*1").matches(reference)
    assert not parse_pattern("*." * 255 + "*").matches(reference)
