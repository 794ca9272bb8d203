"""Whatever is read as an image reference is one, and is written out as it is read."""

from __future__ import annotations

import itertools
import string

from hypothesis import example, given, settings
from hypothesis import strategies as st

from image_cri_shim.reference import (
    ImageReference,
    InvalidReferenceError,
    parse_reference,
)

HEX = "0123456789abcdef" * 4
SHA256 = f"sha256:{HEX}"
SHA384 = f"sha384:{HEX}{HEX[:32]}"
SHA512 = f"sha512:{HEX}{HEX}"
quick = settings(max_examples=300, deadline=None, derandomize=True, database=None)


# The same grammar once more, by hand: no regular expression in it.

ALPHANUMERIC = set(string.ascii_lowercase + string.digits)
LETTERS = set(string.ascii_letters + string.digits)


def is_component(text: str) -> bool:
    runs: list[str] = []
    for char in text:
        if char in ALPHANUMERIC:
            if not runs or runs[-1] != "":
                runs.append("")
        elif not runs:
            return False
        elif runs[-1] == "":
            runs.append(char)
        else:
            runs[-1] += char
    separators = [run for run in runs if run]
    return (
        bool(runs)
        and runs[-1] == ""
        and all(run in (".", "_", "__") or set(run) == {"-"} for run in separators)
    )


def is_path(text: str) -> bool:
    return all(is_component(part) for part in text.split("/"))


def is_host(text: str) -> bool:
    if text.startswith("["):
        return (
            text.endswith("]") and len(text) > 2 and set(text[1:-1]) <= set(string.hexdigits + ":")
        )
    return all(
        label and label[0] in LETTERS and label[-1] in LETTERS and set(label) <= LETTERS | {"-"}
        for label in text.split(".")
    )


def is_domain(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        return is_host(text)
    return is_host(host) and bool(port) and set(port) <= set(string.digits)


def is_tag(text: str) -> bool:
    word = LETTERS | {"_"}
    return 1 <= len(text) <= 128 and text[0] in word and set(text) <= word | {".", "-"}


def is_digest(text: str) -> bool:
    algorithm, _, encoded = text.partition(":")
    length = {"sha256": 64, "sha384": 96, "sha512": 128}.get(algorithm)
    return len(encoded) == length and set(encoded) <= set("0123456789abcdef")


Parts = tuple[str | None, str, str | None, str | None]


def cuts(text: str, mark: str) -> list[tuple[str, str | None]]:
    """Return all ways to take an optional last part off that a mark begins."""
    places = [place for place, char in enumerate(text) if char == mark]
    return [(text, None), *((text[:place], text[place + 1 :]) for place in places)]


def derivations(text: str) -> list[Parts]:
    """Return all ways in which the grammar makes a text of a domain, a path, a tag, a digest."""
    found: list[Parts] = []
    for tagged, digest in cuts(text, "@"):
        if digest is not None and not is_digest(digest):
            continue
        for name, tag in cuts(tagged, ":"):
            if tag is not None and not is_tag(tag):
                continue
            if is_path(name):
                found.append((None, name, tag, digest))
            domain, _, path = name.partition("/")
            if is_domain(domain) and is_path(path):
                found.append((domain, path, tag, digest))
    return found


def looks_like_a_host(component: str) -> bool:
    marked = any(mark in component for mark in ".:") or component != component.lower()
    return marked or component == "localhost"


def meaning(text: str) -> ImageReference | None:
    """Return what runtimes read in a text; None if it is no reference."""
    bare = text.removeprefix("sha256:")
    if len(bare) == 64 and set(bare) <= set("0123456789abcdef"):
        return None
    found = derivations(text)
    hosts = [parts for parts in found if parts[0] is not None and looks_like_a_host(parts[0])]
    paths = [parts for parts in found if parts[0] is None]
    if not (hosts or paths):
        return None
    (domain, path, tag, digest) = (hosts or paths)[0]
    if domain is None:
        first, slash, rest = path.partition("/")
        if slash and looks_like_a_host(first):
            domain, path = first, rest
    if domain in (None, "index.docker.io"):
        domain = "docker.io"
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return ImageReference(domain, path, tag, digest) if len(path) <= 255 else None


def check(text: str) -> None:
    """Compare what is read in a text with the second grammar."""
    expected = meaning(text)
    try:
        reference = parse_reference(text)
    except InvalidReferenceError:
        assert expected is None, text
        return
    assert reference == expected, text


components = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
domains = st.one_of(
    st.sampled_from(
        ["docker.io", "localhost", "[::1]", "[2001:DB8::1]:5000", "HUB", "index.docker.io"]
    ),
    st.from_regex(r"[a-zA-Z0-9]{1,5}(\.[a-z0-9]{1,5}){1,3}(:[0-9]{1,5})?", fullmatch=True),
    st.from_regex(r"[a-z]{1,5}(-[a-z]{1,3}){0,2}:[0-9]{1,5}", fullmatch=True),
)
tags = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}", fullmatch=True)
digests = st.none() | st.sampled_from([SHA256, SHA384, SHA512])


@st.composite
def spellings(draw: st.DrawFn) -> str:
    domain = draw(st.none() | domains)
    path = draw(st.lists(components, min_size=1, max_size=4))
    if domain is None and len(path) > 1:
        # Else it would be a registry's.
        path[0] = path[0].replace(".", "-")
    name = "/".join(path if domain is None else [domain, *path])
    tag, digest = draw(tags), draw(digests)
    return name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


MARKS = "aZ0/:@.-_[]%+~ \n\t\0\u0663\u00e9\uff41"


@st.composite
def damaged(draw: st.DrawFn) -> str:
    text = draw(spellings())
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 2))
        text = text[:place] + draw(st.text(MARKS, max_size=2)) + text[place + cut :]
    return text


@quick
@given(spellings())
@example("index.docker.io/a")
@example(f"a:1@{SHA512}")
@example("foo_bar.com/a")
@example(f"q.io/{'a' * 255}")
def test_what_is_written_out_is_read_as_the_same(text: str) -> None:
    reference = parse_reference(text)
    assert parse_reference(str(reference)) == reference
    assert parse_reference(str(reference.pinned())) == reference.pinned()


@quick
@given(domains, st.lists(components, min_size=1, max_size=4), tags, digests)
def test_the_parts_that_were_written_are_the_parts_that_are_read(
    domain: str, path: list[str], tag: str | None, digest: str | None
) -> None:
    repository = "/".join(path)
    written = ImageReference(domain, repository, tag, digest)
    read = parse_reference(str(written))
    assert (read.tag, read.digest) == (tag, digest)
    if domain in ("docker.io", "index.docker.io"):
        assert read.domain == "docker.io"
        assert read.repository == (repository if "/" in repository else f"library/{repository}")
    else:
        assert read == written


@quick
@given(st.one_of(spellings(), damaged(), st.text(MARKS, max_size=30), st.text(max_size=30)))
@example(HEX)
@example(f"sha256:{HEX}")
@example(f"docker.io/{HEX}")
@example(f"q.io/{'a' * 256}")
def test_what_is_read_is_what_the_grammar_says_and_nothing_invalid_is(text: str) -> None:
    check(text)


def test_every_short_text_is_read_as_the_grammar_says() -> None:
    for length in range(6):
        for chars in itertools.product("aA0.:/@_- ", repeat=length):
            check("".join(chars))


def test_every_short_host_is_read_as_the_grammar_says() -> None:
    for length in range(6):
        for chars in itertools.product("aA.:_-[]", repeat=length):
            check(f"{''.join(chars)}/a")


@quick
@given(st.one_of(damaged(), st.text(MARKS, max_size=30), st.text(max_size=30)))
def test_nothing_is_dropped_or_put_in_but_for_docker_hub(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidReferenceError:
        return
    if reference.domain == "docker.io":
        short = text.removeprefix("index.").removeprefix("docker.io/").removeprefix("library/")
        assert str(reference).removeprefix("docker.io/").removeprefix("library/") == short
    else:
        assert str(reference) == text
