"""What the operator is warned of at start: few things, each with its name and the way out."""

from __future__ import annotations

import pytest

from image_cri_shim.config import Config, parse, warnings


def warned(text: str) -> tuple[str, ...]:
    return warnings(parse(text, "f"))


def unverified(name: str, gain: str) -> str:
    return (
        f"registry {name}: its certificate is not verified (insecureSkipVerify), so whoever can "
        f"answer in its place {gain} what it is said to have; name its CA as caFile instead"
    )


def in_clear(name: str) -> str:
    return (
        f"registry {name}: its credentials go over the network in clear text (http://); "
        "give it TLS and an address with https://"
    )


def test_the_defaults_are_nothing_to_warn_of() -> None:
    assert warnings(Config()) == ()
    assert warnings(Config(offline=None)) == ()


@pytest.mark.parametrize(
    "text",
    [
        "auth: ''",
        "address: https://a.corp\nauth: a:b",
        "registries: [{address: a.corp, auth: 'a:b', caFile: /ca.pem, prefix: x}]",
        "registries: [{address: http://a.corp, keepHost: true}]",
        "registries: [{address: a.corp, insecureSkipVerify: false}]",
    ],
)
def test_what_is_in_order_is_nothing_to_warn_of(text: str) -> None:
    assert warned(text) == ()


def test_a_certificate_that_is_not_verified_is_warned_of_by_the_registrys_name() -> None:
    text = """\
address: https://hub.corp
offline: {insecureSkipVerify: true}
registries:
  - {address: a.corp, prefix: x, insecureSkipVerify: true, auth: "robot:secret"}
  - {address: a.corp, prefix: y, insecureSkipVerify: true, authFile: /a.json}
  - {address: b.corp}
"""
    assert warned(text) == (
        unverified("hub.corp", "decides"),
        unverified("a.corp/x", "gets its credentials and decides"),
        unverified("a.corp/y", "gets its credentials and decides"),
    )


@pytest.mark.parametrize("access", ["auth: 'robot:secret'", "authFile: /a.json"])
@pytest.mark.parametrize(
    "domain",
    ["a.corp", "a.corp:5000", "10.0.0.1:5000", "[fd00::1]:5000", "[fd00::1]", "localhost.a.corp"],
)
def test_credentials_in_clear_text_are_warned_of(domain: str, access: str) -> None:
    text = f"registries: [{{address: 'http://{domain}', {access}}}]"
    assert warned(text) == (in_clear(domain),)


@pytest.mark.parametrize(
    "domain",
    ["localhost", "LOCALHOST:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000", "[::1]"],
)
def test_on_this_machine_nobody_listens(domain: str) -> None:
    assert warned(f"address: 'http://{domain}'\nauth: a:b\n") == ()


def test_the_default_offline_registry_with_a_password_is_warned_of() -> None:
    assert warned("auth: admin:secret") == (in_clear("sealos.hub:5000"),)


HUB = (
    "registry docker.io: it has no credentials and no rule names it, so it is never used; Docker "
    "Hub's images are pulled from it as from any origin"
)


def test_docker_hub_listed_for_nothing_is_warned_of() -> None:
    assert warned("registries: [{address: docker.io}]") == (HUB,)
    assert warned(
        "registries: [{address: docker.io}, {address: a.corp}]\n"
        "rules: [{match: a.io, registries: [a.corp]}, {match: b.io}]"
    ) == (HUB,)


@pytest.mark.parametrize(
    "text",
    [
        "registries: [{address: docker.io, auth: 'a:b'}]",
        "registries: [{address: docker.io, authFile: /a}]",
        "registries: [{address: Docker.io}]\nrules: [{match: a.io, registries: [docker.io]}]",
    ],
)
def test_docker_hub_listed_for_something_is_not(text: str) -> None:
    assert warned(text) == ()


def refused(number: int, why: str) -> str:
    return f"rule {number} (quay.io): it does not allow the origin, and {why}"


NO_REGISTRY = "there is no registry that it may ask, so it refuses every image"


def untrusted(words: str) -> str:
    return f"no registry that it may ask is trusted for references {words}, so it refuses those"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("address: ''\nrules: [{match: quay.io, originAllowed: no}]", NO_REGISTRY),
        (
            "address: ''\nregistries: [{address: docker.io, auth: 'a:b'}]\n"
            "rules: [{match: quay.io, originAllowed: no}]",
            NO_REGISTRY,
        ),
        (
            "registries: [{address: a.corp, trustFor: digest}]\n"
            "rules: [{match: quay.io, originAllowed: no, registries: [a.corp]}]",
            untrusted("without a digest"),
        ),
        (
            "offline: {trustFor: tag}\nregistries: [{address: a.corp, trustFor: tag}]\n"
            "rules: [{match: quay.io, originAllowed: no}]",
            untrusted("with a digest"),
        ),
    ],
)
def test_a_strict_rule_that_has_no_source_is_warned_of(text: str, why: str) -> None:
    assert warned(text) == (refused(1, why),)


@pytest.mark.parametrize(
    "text",
    [
        "rules: [{match: quay.io, originAllowed: no}]",
        # As plain as it gets.
        "rules: [{match: quay.io, originAllowed: no, registries: []}]",
        "address: ''\nrules: [{match: quay.io, originAllowed: no, registries: []}]",
        "address: ''\nrules: [{match: quay.io}]",
        "offline: {trustFor: tag}\nregistries: [{address: a.corp, trustFor: digest}]\n"
        "rules: [{match: quay.io, originAllowed: no}]",
        "registries: [{address: a.corp, trustFor: digest}]\n"
        "rules: [{match: quay.io, originAllowed: no, registries: [a.corp, 'sealos.hub:5000']}]",
    ],
)
def test_a_rule_that_has_a_source_or_wants_none_is_not(text: str) -> None:
    assert warned(text) == ()


def test_everything_is_told_in_the_order_of_the_file() -> None:
    text = """\
auth: admin:secret
registries:
  - {address: a.corp, insecureSkipVerify: true, trustFor: digest}
  - {address: docker.io}
rules:
  - {match: a.io}
  - {match: quay.io, registries: [a.corp], originAllowed: false}
"""
    assert warned(text) == (
        in_clear("sealos.hub:5000"),
        unverified("a.corp", "decides"),
        HUB,
        refused(2, untrusted("without a digest")),
    )
