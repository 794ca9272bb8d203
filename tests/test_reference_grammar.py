"""Whatever is read as an image reference is one, and is written out as it is read."""

from __future__ import annotations

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


def check(reference: ImageReference) -> None:
    assert is_domain(reference.domain)
    assert all(is_component(part) for part in reference.repository.split("/"))
    assert reference.tag is None or is_tag(reference.tag)
    assert reference.digest is None or is_digest(reference.digest)
    assert len(reference.name) <= 255


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
def test_what_is_written_out_is_read_as_the_same(text: str) -> None:
    reference = parse_reference(text)
    check(reference)
    assert parse_reference(str(reference)) == reference
    assert parse_reference(str(reference.pinned())) == reference.pinned()


@quick
@given(st.one_of(damaged(), st.text(MARKS, max_size=30), st.text(max_size=30)))
def test_nothing_invalid_is_let_through(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidReferenceError:
        return
    check(reference)
    assert parse_reference(str(reference)) == reference
    # And nothing was dropped on the way, or put in but for Docker Hub's sake.
    if reference.domain == "docker.io":
        short = text.removeprefix("index.").removeprefix("docker.io/").removeprefix("library/")
        assert str(reference).removeprefix("docker.io/").removeprefix("library/") == short
    else:
        assert str(reference) == text
