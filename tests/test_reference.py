"""Which texts are image references, and what they mean: the spellings that runtimes accept."""

from __future__ import annotations

import pytest

from image_cri_shim.reference import (
    ImageReference,
    InvalidReferenceError,
    check_domain,
    identifies,
    is_image_id,
    is_repository,
    is_tag,
    may_be_short_id,
    parse_reference,
    short_path,
    stands_for_itself,
)

HEX = "0123456789abcdef" * 4
SHA256 = f"sha256:{HEX}"
SHA384 = f"sha384:{HEX}{HEX[:32]}"
SHA512 = f"sha512:{HEX}{HEX}"


@pytest.mark.parametrize(
    ("text", "domain", "repository", "tag", "digest"),
    [
        # Names without a registry
        ("nginx", "docker.io", "library/nginx", None, None),
        ("nginx:1.25", "docker.io", "library/nginx", "1.25", None),
        ("a", "docker.io", "library/a", None, None),
        ("0", "docker.io", "library/0", None, None),
        ("bitnami/redis", "docker.io", "bitnami/redis", None, None),
        ("bitnami/redis:7", "docker.io", "bitnami/redis", "7", None),
        ("library/nginx", "docker.io", "library/nginx", None, None),
        ("a/b/c/d", "docker.io", "a/b/c/d", None, None),
        (f"nginx@{SHA256}", "docker.io", "library/nginx", None, SHA256),
        (f"nginx:1.25@{SHA256}", "docker.io", "library/nginx", "1.25", SHA256),
        (f"nginx@{SHA384}", "docker.io", "library/nginx", None, SHA384),
        (f"nginx@{SHA512}", "docker.io", "library/nginx", None, SHA512),
        # Docker Hub by its names
        ("docker.io/nginx", "docker.io", "library/nginx", None, None),
        ("docker.io/nginx:1", "docker.io", "library/nginx", "1", None),
        ("docker.io/library/nginx", "docker.io", "library/nginx", None, None),
        ("docker.io/a/b", "docker.io", "a/b", None, None),
        ("docker.io", "docker.io", "library/docker.io", None, None),
        ("index.docker.io/nginx", "docker.io", "library/nginx", None, None),
        (f"index.docker.io/a/b:1@{SHA256}", "docker.io", "a/b", "1", SHA256),
        ("docker.io:443/nginx", "docker.io:443", "nginx", None, None),
        ("registry-1.docker.io/nginx", "registry-1.docker.io", "nginx", None, None),
        # Registries
        ("quay.io/a/b", "quay.io", "a/b", None, None),
        ("quay.io/a", "quay.io", "a", None, None),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io", "pause", "3.9", None),
        ("gcr.io/a/b/c/d/e:v1", "gcr.io", "a/b/c/d/e", "v1", None),
        ("sealos.hub:5000/library/nginx:1", "sealos.hub:5000", "library/nginx", "1", None),
        ("hub:5000/nginx", "hub:5000", "nginx", None, None),
        ("hub/nginx", "docker.io", "hub/nginx", None, None),
        ("localhost/nginx", "localhost", "nginx", None, None),
        ("localhost:5000/nginx", "localhost:5000", "nginx", None, None),
        ("localhost", "docker.io", "library/localhost", None, None),
        ("localhost:5000", "docker.io", "library/localhost", "5000", None),
        ("localhost.localdomain/a", "localhost.localdomain", "a", None, None),
        ("127.0.0.1/a", "127.0.0.1", "a", None, None),
        ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000", "a/b", "c", None),
        ("[::1]/a", "[::1]", "a", None, None),
        ("[::1]:5000/a:b", "[::1]:5000", "a", "b", None),
        ("[2001:DB8::1]:5000/a", "[2001:DB8::1]:5000", "a", None, None),
        (f"[fd00::2]:5000/a/b:1@{SHA256}", "[fd00::2]:5000", "a/b", "1", SHA256),
        ("Quay.IO/a/b", "Quay.IO", "a/b", None, None),
        ("HUB/nginx", "HUB", "nginx", None, None),
        ("a-b.example/c", "a-b.example", "c", None, None),
        ("xn--bcher-kva.example/c", "xn--bcher-kva.example", "c", None, None),
        ("1.2/c", "1.2", "c", None, None),
        ("nginx:1/2", "nginx:1", "2", None, None),
        # Separators in repositories
        ("a_b", "docker.io", "library/a_b", None, None),
        ("a__b", "docker.io", "library/a__b", None, None),
        ("a.b", "docker.io", "library/a.b", None, None),
        ("a-b", "docker.io", "library/a-b", None, None),
        ("a---b", "docker.io", "library/a---b", None, None),
        ("x/a.b_c__d--e", "docker.io", "x/a.b_c__d--e", None, None),
        # Tags
        ("a:latest", "docker.io", "library/a", "latest", None),
        ("a:_", "docker.io", "library/a", "_", None),
        ("a:V1.0-RC.1", "docker.io", "library/a", "V1.0-RC.1", None),
        (f"a:{'t' * 128}", "docker.io", "library/a", "t" * 128, None),
        # What looks like an image ID, but is a name
        ("cafe", "docker.io", "library/cafe", None, None),
        ("sha256:abc", "docker.io", "library/sha256", "abc", None),
        (HEX[:63], "docker.io", f"library/{HEX[:63]}", None, None),
        (f"a/{HEX}", "docker.io", f"a/{HEX}", None, None),
        (f"sha512:{HEX}", "docker.io", "library/sha512", HEX, None),
        # As long as can be: 255 characters of repository
        (f"q.io/{'a' * 255}", "q.io", "a" * 255, None, None),
        ("a" * 247, "docker.io", f"library/{'a' * 247}", None, None),
        (f"q.io/{'a' * 255}:{'t' * 128}@{SHA512}", "q.io", "a" * 255, "t" * 128, SHA512),
        ("a/" * 127 + "a", "docker.io", "a/" * 127 + "a", None, None),
        # What is no host for the grammar is one for runtimes, if it could be a path
        ("foo_bar.com", "docker.io", "library/foo_bar.com", None, None),
        ("foo_bar.com:8080", "docker.io", "library/foo_bar.com", "8080", None),
        ("foo_bar.com/a:1", "foo_bar.com", "a", "1", None),
        (f"a.b__c/d@{SHA256}", "a.b__c", "d", None, SHA256),
        ("foo_bar/a", "docker.io", "foo_bar/a", None, None),
    ],
)
def test_a_spelling_means(
    text: str, domain: str, repository: str, tag: str | None, digest: str | None
) -> None:
    assert parse_reference(text) == ImageReference(domain, repository, tag, digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "/",
        ":",
        "@",
        "nginx/",
        "/nginx",
        "a//b",
        "docker.io/",
        "quay.io//a",
        "nginx:",
        ":1.25",
        "a/b:",
        "a:b:c",
        "a:b/c:d:e",
        # Upper case
        "Nginx",
        "a/B",
        "quay.io/A",
        "docker.io/Nginx",
        # White space and control characters
        "nginx\n",
        "nginx:1.25\n",
        "quay.io/a\n",
        "quay.io\n/a",
        f"nginx@{SHA256}\n",
        " nginx",
        "nginx ",
        "ngi nx",
        "nginx:1 25",
        "nginx\t",
        "nginx\0",
        "nginx:1\r",
        "nginx\u00a0",
        "nginx\u2028",
        # Separators at an edge, or too many
        "-a",
        "a-",
        "_a",
        "a_",
        ".a",
        "a.",
        "a..b",
        "a___b",
        "a._b",
        "a-_b",
        "a/-b",
        "a/b-/c",
        # Letters and digits of other alphabets, which some regular expressions take
        "ng\u0131nx",
        "\uff41",
        "a\u0663",
        "nginx:\u0661",
        "nginx:\u00e9",
        "quay\u3002io/a",
        "b\u00fccher.example/a",
        "h:\u0665\u0660/a",
        "\u212aube.example/a",
        "a@sha256:" + "\u0660" * 64,
        # Tags
        "a:-b",
        "a:.b",
        f"a:{'t' * 129}",
        "a:b+c",
        # Registries
        "-h.example/a",
        "h-.example/a",
        ".example/a",
        "h..example/a",
        "h.example./a",
        "h.example:/a",
        "h.example:port/a",
        "h.example:50:50/a",
        "h_h.example:80/a",
        "h___h.example/a",
        "_h.example/a",
        "h_.example/a",
        "H_h.example/a",
        "http://h.example/a",
        "user@h.example/a",
        "user:password@h.example/a",
        "[::1/a",
        "::1]/a",
        "[]:5000/a",
        "[fe80::1%eth0]/a",
        "[::1]5000/a",
        "[h.example]/a",
        # Digests
        "a@",
        "a@sha256",
        "a@sha256:",
        "a@sha256:abc",
        f"a@{HEX}",
        f"a@sha256:{HEX}0",
        f"a@sha256:{HEX[:-1]}",
        f"a@sha256:{HEX.upper()}",
        f"a@SHA256:{HEX}",
        f"a@sha256:{HEX[:-1]}g",
        f"a@sha512:{HEX}",
        f"a@md5:{HEX[:32]}",
        f"a@{SHA256}@{SHA256}",
        f"a@{SHA256}:1",
        f"@{SHA256}",
        f"a:@{SHA256}",
        # Image IDs
        HEX,
        SHA256,
        # Too long
        f"q.io/{'a' * 256}",
        "a" * 248,
        "a" * 1025,
        f"a:{'t' * 10_000_000}",
        "a-" * 1_000_000,
    ],
    ids=lambda text: repr(text[:40]),
)
def test_no_reference_is(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        parse_reference(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (SHA256, "is an image ID"),
        ("Nginx", "must be lower case"),
        ("nginx:\u00e9", "invalid tag"),
        ("a@sha256:abc", "expected 64 lower-case hex digits"),
        ("a@md5:abc", "expected one of sha256, sha384, sha512"),
        ("-h.example/a", "invalid registry '-h.example'"),
        (f"q.io/{'a' * 256}", "longer than 255 characters"),
        ("a" * 1025, "1025 characters"),
    ],
)
def test_the_message_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(InvalidReferenceError, match=words):
        parse_reference(text)


@pytest.mark.parametrize("mark", ["", "@", ":", "/", ".", "\n"])
def test_the_message_about_a_huge_text_fits_in_the_log(mark: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_reference(f"a{mark}" + "\n" * 10_000_000)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_what_is_asked_for_is_the_digest_else_the_tag_else_latest() -> None:
    assert parse_reference(f"a:1@{SHA256}").selector == SHA256
    assert parse_reference("a:1").selector == "1"
    assert parse_reference("a").selector == "latest"


def test_a_pinned_reference_has_either_a_digest_or_a_tag() -> None:
    assert str(parse_reference(f"a:1@{SHA256}").pinned()) == f"docker.io/library/a@{SHA256}"
    assert str(parse_reference("a:1").pinned()) == "docker.io/library/a:1"
    assert str(parse_reference("a").pinned()) == "docker.io/library/a:latest"


def test_the_name_is_the_domain_and_the_repository() -> None:
    assert parse_reference(f"[::1]:5000/a/b:1@{SHA256}").name == "[::1]:5000/a/b"


@pytest.mark.parametrize("text", [HEX, SHA256])
def test_a_full_image_id_is_recognised(text: str) -> None:
    assert is_image_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX[:-1],
        HEX + "0",
        HEX.upper(),
        f"sha256:{HEX[:-1]}",
        f"sha512:{HEX}",
        f"{SHA256}\n",
        f" {HEX}",
        f"a@{SHA256}",
        "\u0660" * 64,
    ],
)
def test_no_full_image_id_is(text: str) -> None:
    assert not is_image_id(text)


@pytest.mark.parametrize("text", ["3fb2", "a", HEX[:63], "sha256:abc"])
def test_a_short_image_id_may_be(text: str) -> None:
    assert may_be_short_id(text)


@pytest.mark.parametrize(
    "text", ["", "sha256:", "nginx", "3FB2", "3fb2\n", "3fb2:1", HEX, SHA256, "\u0663"]
)
def test_no_short_image_id_can_be(text: str) -> None:
    assert not may_be_short_id(text)


@pytest.mark.parametrize("image_id", [HEX, SHA256])
@pytest.mark.parametrize("text", ["0123", "sha256:0123", HEX, SHA256])
def test_an_id_is_identified_by_its_beginning(text: str, image_id: str) -> None:
    assert identifies(text, image_id)


@pytest.mark.parametrize("text", ["123", "sha256:123", HEX[1:], f"{HEX}0", "sha256:sha256:0123"])
def test_an_id_is_not_identified_by_anything_else(text: str) -> None:
    assert not identifies(text, SHA256)


@pytest.mark.parametrize("text", ["h", "h.example", "h:1", "[::1]", "[::1]:5000", "127.0.0.1:80"])
def test_a_registrys_host_and_port_are_returned(text: str) -> None:
    assert check_domain(text) == text


@pytest.mark.parametrize(
    "text", ["", "h/", "h:", ":1", "h\n", "h h", "h:1:2", "\u0663", "http://h"]
)
def test_what_is_no_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidReferenceError, match="host"):
        check_domain(text)


@pytest.mark.parametrize(
    "domain",
    ["docker.io", "h.example", "h:1", "HUB", "localhost", "[::1]", "[::1]:5000", "foo_bar.com"],
)
def test_a_host_that_runtimes_take_for_one_stands_for_itself(domain: str) -> None:
    assert stands_for_itself(domain)


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "hub",
        "index.docker.io",
        "a/b.c",
        "-h.example",
        "h..example",
        "h.example:",
        "[h]",
        "h:1@",
    ],
)
def test_what_runtimes_take_for_no_host_or_for_another_does_not(domain: str) -> None:
    assert not stands_for_itself(domain)


@pytest.mark.parametrize("text", ["a", "library/nginx", "a__b/c.d/e---f"])
def test_a_path_of_lower_case_components_is_a_repository(text: str) -> None:
    assert is_repository(text)


@pytest.mark.parametrize("text", ["", "/", "a/", "/a", "a//b", "A", "a..b", "a/../b", "a:1", "a\n"])
def test_nothing_else_is_a_repository(text: str) -> None:
    assert not is_repository(text)


@pytest.mark.parametrize("text", ["1", "_", "V1.0-rc", "t" * 128])
def test_a_tag_is_one(text: str) -> None:
    assert is_tag(text)


@pytest.mark.parametrize("text", ["", ".1", "-1", "a b", "a\n", "\u0661", "t" * 129, "*"])
def test_nothing_else_is_a_tag(text: str) -> None:
    assert not is_tag(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("nginx", "nginx"),
        ("docker.io/library/nginx:1", "nginx"),
        ("a/b", "a/b"),
        ("library/a/b", "library/a/b"),
        ("quay.io/library/nginx", "library/nginx"),
        ("quay.io/nginx", "nginx"),
    ],
)
def test_only_an_official_image_has_a_shorter_path(text: str, path: str) -> None:
    assert short_path(parse_reference(text)) == path
