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
        "registries: [{address: a.corp, auth: 'a:b', caFile: /ca.pem, prefix: x, keepHost: true}]",
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
  - {address: a.corp, prefix: x, keepHost: true, insecureSkipVerify: true, auth: "robot:secret"}
  - {address: a.corp, prefix: y, keepHost: true, insecureSkipVerify: true, authFile: /a.json}
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


def mixed(name: str, places: str) -> str:
    return (
        f"registry {name}: images of several origins are looked for there (by {places}), and its "
        "paths do not say from which one an image is, so another one than meant may be pulled; let "
        'only rules for the origin that it holds ask it, and a last rule with match: "*" the '
        "others, or set keepHost if its paths begin with the origin's host"
    )


PROXY = "registries: [{address: h.io, prefix: hub}, {address: b.io}]\n"
HUB_RULE = "{match: docker.io, registries: [h.io/hub]}"
REST = "{match: '*', registries: [b.io]}"


@pytest.mark.parametrize(
    ("rules", "places"),
    [
        ("", "the default"),
        (f"{HUB_RULE}", "the default"),
        ("{match: docker.io}", "the default"),
        ("{match: '*', tags: latest, registries: []}", "the default"),
        ("{match: '*/team', registries: []}", "the default"),
        ("{match: '*.io', registries: []}", "the default"),
        ("{match: '*'}", "rule 1 (*)"),
        ("{match: '*', tags: latest}", "rule 1 (*) and the default"),
        (f"{{match: '*', tags: latest}}, {REST}", "rule 1 (*)"),
        ("{match: '*', registries: [H.io/hub]}", "rule 1 (*)"),
        ("{match: '*', originAllowed: false}", "rule 1 (*)"),
        (f"{HUB_RULE}, {{match: '*'}}", "rule 2 (*)"),
        (f"{{match: '*.io/team'}}, {HUB_RULE}, {REST}", "rule 1 (*.io/team)"),
        (
            f"{{match: [docker.io, quay.io], registries: [h.io/hub]}}, {REST}",
            "rule 1 (docker.io, quay.io)",
        ),
        # Two rules for one origin each that do not say where to ask are as one for both.
        (f"{{match: quay.io}}, {HUB_RULE}, {REST}", "rule 1 (quay.io)"),
        (
            f"{{match: quay.io}}, {{match: docker.io}}, {REST}",
            "rule 1 (quay.io) and rule 2 (docker.io)",
        ),
        # The path of only one of the two, or of a part of both, is written.
        (
            "{match: [quay.io, a.io, c.io], rewrite: [{from: quay.io, to: quay}]}, " + REST,
            "rule 1 (quay.io, a.io, c.io)",
        ),
        (
            "{match: [quay.io, a.io], rewrite: [{from: quay.io/x/*, to: q}, "
            "{from: a.io/x/*, to: a}]}, " + REST,
            "rule 1 (quay.io, a.io)",
        ),
        (
            "{match: '*.gcr.io'}, {match: '*.k8s.io'}, {match: '*.a.io'}, {match: '*.b.io'}, "
            + REST,
            "rule 1 (*.gcr.io) and rule 2 (*.k8s.io) and rule 3 (*.a.io) and others",
        ),
    ],
)
def test_a_prefix_without_hosts_for_several_origins_is_warned_of(rules: str, places: str) -> None:
    assert warned(f"{PROXY}rules: [{rules}]") == (mixed("h.io/hub", places),)


@pytest.mark.parametrize(
    "rules",
    [
        f"{HUB_RULE}, {REST}",
        f"{HUB_RULE}, {{match: quay.io, registries: [b.io]}}, {REST}",
        # It alone is asked for, wherever that is said.
        f"{{match: docker.io}}, {REST}",
        f"{{match: docker.io/library}}, {{match: docker.io, exclude: '*:latest'}}, {REST}",
        f"{{match: [docker.io/a, docker.io/b], registries: [h.io/hub]}}, {REST}",
        f"{HUB_RULE}, {{match: '*', originAllowed: false, registries: [b.io]}}",
        f"{HUB_RULE}, {{match: '*/*', registries: []}}",
        f"{HUB_RULE}, {{match: ['*', quay.io], registries: [b.io]}}",
        f"{{match: '*.io', registries: [b.io]}}, {REST}",
        f"{REST}, {{match: b.io, registries: [h.io/hub]}}",
        # Said of each origin by name: the operator knows what is there.
        f"{HUB_RULE}, {{match: quay.io, registries: [h.io/hub]}}, {REST}",
        # Its own images are nobody else's.
        f"{{match: [docker.io, h.io], registries: [h.io/hub]}}, {REST}",
        # Their paths are written.
        "{match: [registry.k8s.io, k8s.gcr.io], registries: [h.io/hub], rewrite: [{from: "
        "registry.k8s.io/*, to: google_containers/*}, {from: k8s.gcr.io, to: a}]}, " + REST,
        "{match: [docker.io, quay.io/a/*], rewrite: [{from: quay.io/a, to: b}]}, " + REST,
    ],
)
def test_a_prefix_without_hosts_for_one_origin_is_not(rules: str) -> None:
    assert warned(f"{PROXY}rules: [{rules}]") == ()


def test_the_offline_registry_with_a_prefix_is_warned_of_as_well() -> None:
    assert warned("offline: {prefix: mirror}") == (mixed("sealos.hub:5000/mirror", "the default"),)
    assert (
        warned(
            "offline: {prefix: mirror}\nregistries: [{address: b.io}]\n"
            f"rules: [{{match: docker.io}}, {REST}]"
        )
        == ()
    )


@pytest.mark.parametrize(
    "settings",
    [
        "keepHost: true",
        # A digest is of one image, wherever it is found.
        "trustFor: digest",
    ],
)
def test_what_tells_origins_apart_is_nothing_to_warn_of(settings: str) -> None:
    assert warned(f"registries: [{{address: h.io, prefix: hub, {settings}}}]") == ()
    assert warned(f"offline: {{prefix: hub, {settings}}}") == ()


def test_docker_hub_with_a_prefix_is_asked_only_where_a_rule_names_it() -> None:
    text = "registries: [{address: docker.io, prefix: me, auth: 'a:b'}, {address: b.io}]\n"
    assert warned(text) == ()
    assert warned(f"{text}rules: [{{match: '*'}}]") == ()
    (found,) = warned(f"{text}rules: [{{match: '*', registries: [docker.io/me]}}]")
    assert found == mixed("docker.io/me", "rule 1 (*)")


def misdirected(label: str, path: str, at: str) -> str:
    return (
        f"{label}: it rewrites to {path}, which is a path ({at}/{path}) and not another registry; "
        "write the path alone and name the registry under `registries`, or set keepHost for a "
        "registry whose paths begin with a host"
    )


@pytest.mark.parametrize(
    ("to", "path"),
    [
        ("docker.io/google_containers", "docker.io/google_containers"),
        ("docker.io/google_containers/*", "docker.io/google_containers"),
        ("docker.io", "docker.io"),
        ("localhost/a", "localhost/a"),
        ("10.0.0.1/a", "10.0.0.1/a"),
    ],
)
def test_a_path_that_is_taken_for_another_registry_is_warned_of(to: str, path: str) -> None:
    text = f"rules: [{{match: a.io, rewrite: [{{from: a.io, to: {to}}}]}}]"
    assert warned(text) == (misdirected("rule 1 (a.io)", path, "sealos.hub:5000"),)


def test_only_registries_that_are_asked_and_keep_no_hosts_are_named() -> None:
    head = "registries: [{address: b.io, keepHost: true}, {address: c.io}]\n"
    rewrite = "rewrite: [{from: a.io/x, to: x}, {from: a.io, to: docker.io/a}]"
    for named, found in {
        "[b.io, c.io]": (misdirected("rule 1 (a.io)", "docker.io/a", "c.io"),),
        "[b.io]": (),
    }.items():
        assert warned(f"{head}rules: [{{match: a.io, registries: {named}, {rewrite}}}]") == found


@pytest.mark.parametrize(
    "to", ["google_containers/*", "v1.2/a", "k8s/docker.io", "local/a", "'*'", "a.io/*", "1.2.3/a"]
)
def test_a_path_that_is_one_is_not(to: str) -> None:
    text = f"rules: [{{match: a.io, rewrite: [{{from: a.io, to: {to}}}]}}]"
    assert warned(text) == ()


def test_everything_is_told_in_the_order_of_the_file() -> None:
    text = """\
auth: admin:secret
registries:
  - {address: a.corp, insecureSkipVerify: true, trustFor: digest}
  - {address: docker.io}
  - {address: b.corp, prefix: hub}
rules:
  - {match: a.io}
  - match: quay.io
    registries: [a.corp]
    originAllowed: false
    rewrite: [{from: quay.io, to: docker.io}]
"""
    assert warned(text) == (
        in_clear("sealos.hub:5000"),
        unverified("a.corp", "decides"),
        HUB,
        mixed("b.corp/hub", "the default"),
        refused(2, untrusted("without a digest")),
        misdirected("rule 2 (quay.io)", "docker.io", "a.corp"),
    )
