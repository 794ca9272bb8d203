from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from image_cri_shim.decision import Outcome
from tests.registry.authority import Authority
from tests.registry.network import Network, Says, candidate

HUB = "sealos.hub:5000"
NGINX = f"{HUB}/library/nginx:1.25"
SECURE = candidate("secure.hub/a:1", plain_http=False)
ADDRESSED = candidate("192.0.2.7:5000/a:1", plain_http=False)
ADDRESSED_6 = candidate("[2001:db8::7]:5000/a:1", plain_http=False)


def redirect(location: str) -> Says:
    return Says(307, {"Location": location})


def test_a_certificate_of_a_trusted_authority_is_believed(network: Network, tls: Authority) -> None:
    secure = network.serve("secure.hub:443", lambda _: Says(200), tls=tls.server("secure.hub"))
    found = network.ask(network.client(ca_file=tls.roots).look_up(SECURE))
    assert found.outcome is Outcome.PRESENT
    assert secure.seen[0].headers["host"] == "secure.hub"


def test_a_certificate_for_an_address_is_believed(network: Network, tls: Authority) -> None:
    network.serve("192.0.2.7:5000", lambda _: Says(200), tls=tls.server("192.0.2.7"))
    network.serve("2001:db8::7:5000", lambda _: Says(200), tls=tls.server("2001:db8::7"))
    client = network.client(ca_file=tls.roots)
    for asked in (ADDRESSED, ADDRESSED_6):
        assert network.ask(client.look_up(asked)).outcome is Outcome.PRESENT


def test_a_certificate_of_a_stranger_is_not_believed(network: Network, tls: Authority) -> None:
    secure = network.serve("secure.hub:443", lambda _: Says(200), tls=tls.stranger("secure.hub"))
    answer = network.ask(network.client(ca_file=tls.roots).ask(SECURE))
    assert answer.look_up.outcome is Outcome.UNKNOWN
    detail = answer.look_up.detail.replace("self signed", "self-signed")
    assert detail == "TLS: certificate verify failed: self-signed certificate"
    assert secure.seen == []


@pytest.mark.parametrize(
    ("asked", "place", "name"),
    [
        (SECURE, "secure.hub:443", "other.hub"),
        (ADDRESSED, "192.0.2.7:5000", "192.0.2.8"),
        (ADDRESSED, "192.0.2.7:5000", "secure.hub"),
    ],
)
def test_a_certificate_for_another_host_is_not_believed(
    network: Network, tls: Authority, asked: Any, place: str, name: str
) -> None:
    secure = network.serve(place, lambda _: Says(200), tls=tls.server(name))
    found = network.ask(network.client(ca_file=tls.roots).look_up(asked))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail == "TLS: the certificate is for another host"
    assert secure.seen == []


def test_plain_http_where_https_is_expected_is_named_so(network: Network) -> None:
    network.answer_bytes("secure.hub:443", b"HTTP/1.1 400 Bad Request\r\n\r\n")
    found = network.ask(network.client().look_up(SECURE))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail.startswith("TLS: ")
    assert found.detail.endswith(", it may speak plain http")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no such file"),
        (b"", "no certificate in it"),
        (
            b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n",
            "the certificate in it is not valid",
        ),
    ],
)
def test_an_authority_file_that_cannot_be_used_is_named(
    network: Network, tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    found = network.ask(network.client(ca_file=str(path)).look_up(SECURE))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail == f"cannot use {path}: {why}"


def test_plain_http_needs_no_authorities(network: Network, tmp_path: Path) -> None:
    network.serve(HUB, lambda _: Says(200))
    client = network.client(ca_file=str(tmp_path / "missing.pem"))
    assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.PRESENT


def test_a_ca_file_adds_to_the_systems_authorities(
    network: Network, tls: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tmp_path)
    network.serve("secure.hub:443", lambda _: Says(200), tls=tls.server("secure.hub"))
    network.serve("192.0.2.7:5000", lambda _: Says(200), tls=other.server("192.0.2.7"))
    for mine, systems in ((tls.roots, other.roots), (other.roots, tls.roots)):
        monkeypatch.setenv("SSL_CERT_FILE", systems)
        client = network.client(ca_file=mine)
        for asked in (SECURE, ADDRESSED):
            assert network.ask(client.look_up(asked)).outcome is Outcome.PRESENT
        # Without one only the system's are believed.
        alone = [network.ask(network.client().look_up(one)).outcome for one in (SECURE, ADDRESSED)]
        assert sorted(one.value for one in alone) == ["present", "unknown"]


def test_a_ca_file_may_hold_several_authorities(
    network: Network, tls: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(b"first\n" + Path(other.roots).read_bytes() + Path(tls.roots).read_bytes())
    network.serve("secure.hub:443", lambda _: Says(200), tls=tls.server("secure.hub"))
    found = network.ask(network.client(ca_file=str(both)).look_up(SECURE))
    assert found.outcome is Outcome.PRESENT


def test_a_ca_file_that_was_replaced_counts_from_the_next_connection_on(
    network: Network, tls: Authority, tmp_path: Path
) -> None:
    network.serve("secure.hub:443", lambda _: Says(200), tls=tls.server("secure.hub"))
    path = tmp_path / "ca.pem"
    path.write_bytes(Path(Authority(tmp_path).roots).read_bytes())
    client = network.client(ca_file=str(path))
    assert network.ask(client.look_up(SECURE)).detail.startswith("TLS: ")
    renewed = tmp_path / "renewed.pem"
    renewed.write_bytes(Path(tls.roots).read_bytes())
    renewed.rename(path)
    assert network.ask(client.look_up(SECURE)).outcome is Outcome.PRESENT


def test_a_ca_file_that_was_mended_is_used_at_once(
    network: Network, tls: Authority, tmp_path: Path
) -> None:
    network.serve("secure.hub:443", lambda _: Says(200), tls=tls.server("secure.hub"))
    path = tmp_path / "ca.pem"
    client = network.client(ca_file=str(path))
    answer = network.ask(client.ask(SECURE))
    assert answer.look_up.detail == f"cannot use {path}: no such file"
    path.write_bytes(Path(tls.roots).read_bytes())
    assert network.ask(client.look_up(SECURE)).outcome is Outcome.PRESENT


# What a registry is shown


def test_the_registry_is_shown_the_certificate_that_it_demands(
    network: Network, tls: Authority
) -> None:
    context = tls.server("secure.hub").asks(tls.roots, demands=True)
    network.serve("secure.hub:443", lambda _: Says(200), tls=context)
    cert_file, key_file = tls.pair("node-1")
    client = network.client(ca_file=tls.roots, cert_file=cert_file, key_file=key_file)
    assert network.ask(client.look_up(SECURE)).outcome is Outcome.PRESENT
    assert context.shown == ["node-1"]


def test_a_registry_that_demands_a_certificate_that_nobody_configured_is_named(
    network: Network, tls: Authority
) -> None:
    context = tls.server("secure.hub").asks(tls.roots, demands=True)
    network.serve("secure.hub:443", lambda _: Says(200), tls=context)
    answer = network.ask(network.client(ca_file=tls.roots).ask(SECURE))
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == "TLS: demands a client certificate (certFile, keyFile)"


@pytest.mark.parametrize("elsewhere", ["mirror.corp:443", "secure.hub.mirror.corp:443"])
def test_no_other_host_is_shown_the_certificate(
    network: Network, tls: Authority, elsewhere: str
) -> None:
    host = elsewhere.partition(":")[0]
    context = tls.server("secure.hub")
    other = tls.server(host).asks(tls.roots)
    network.serve("secure.hub:443", lambda _: redirect(f"https://{host}/"), tls=context)
    network.serve(elsewhere, lambda _: Says(200), tls=other)
    cert_file, key_file = tls.pair("node-1")
    client = network.client(ca_file=tls.roots, cert_file=cert_file, key_file=key_file)
    assert network.ask(client.look_up(SECURE)).outcome is Outcome.PRESENT
    assert (other.names, other.shown) == ([host.encode()], [])


def test_the_certificate_is_shown_on_every_port_of_the_host(
    network: Network, tls: Authority
) -> None:
    other = tls.server("secure.hub").asks(tls.roots, demands=True)
    network.serve(
        "secure.hub:443",
        lambda _: redirect("https://SECURE.hub:8443/"),
        tls=tls.server("secure.hub"),
    )
    network.serve("secure.hub:8443", lambda _: Says(200), tls=other)
    cert_file, key_file = tls.pair("node-1")
    client = network.client(ca_file=tls.roots, cert_file=cert_file, key_file=key_file)
    assert network.ask(client.look_up(SECURE)).outcome is Outcome.PRESENT
    assert other.shown == ["node-1"]


def test_a_certificate_that_was_renewed_is_shown_to_the_next_connection(
    network: Network, tls: Authority, tmp_path: Path
) -> None:
    context = tls.server("secure.hub").asks(tls.roots, demands=True)
    network.serve("secure.hub:443", lambda _: Says(200), tls=context)
    cert_file, key_file = tmp_path / "node.crt", tmp_path / "node.key"
    client = network.client(ca_file=tls.roots, cert_file=str(cert_file), key_file=str(key_file))
    for name in ("before", "after"):
        for path, written in zip((cert_file, key_file), tls.pair(name), strict=True):
            path.write_bytes(Path(written).read_bytes())
        assert network.ask(client.look_up(SECURE)).outcome is Outcome.PRESENT
        network.advance(60)  # the kept connection is gone
    assert context.shown == ["before", "after"]


# What is not verified


def test_without_verification_any_certificate_of_the_registry_does(
    network: Network, tls: Authority
) -> None:
    context = tls.stranger("other.hub")
    network.serve("secure.hub:443", lambda _: redirect("https://secure.hub:8443/"), tls=context)
    network.serve("secure.hub:8443", lambda _: Says(200), tls=tls.stranger("secure.hub"))
    network.serve("192.0.2.7:5000", lambda _: Says(200), tls=tls.stranger("192.0.2.8"))
    network.serve("2001:db8::7:5000", lambda _: Says(200), tls=tls.stranger("other.hub"))
    client = network.client(insecure_skip_verify=True)
    for asked in (SECURE, ADDRESSED, ADDRESSED_6):
        assert network.ask(client.look_up(asked)).outcome is Outcome.PRESENT
    assert context.names == [b"secure.hub"]


def test_without_verification_the_certificate_is_shown_all_the_same(
    network: Network, tls: Authority
) -> None:
    context = tls.stranger("secure.hub").asks(tls.roots, demands=True)
    network.serve("secure.hub:443", lambda _: Says(200), tls=context)
    cert_file, key_file = tls.pair("node-1")
    client = network.client(insecure_skip_verify=True, cert_file=cert_file, key_file=key_file)
    assert network.ask(client.look_up(SECURE)).outcome is Outcome.PRESENT
    assert context.shown == ["node-1"]


def test_what_was_not_verified_is_not_the_reason(
    network: Network, tls: Authority, tmp_path: Path
) -> None:
    context = tls.stranger("secure.hub").asks(tls.roots, demands=True)
    network.serve("secure.hub:443", lambda _: Says(200), tls=context)
    cert_file, key_file = Authority(tmp_path).pair("node-1")
    client = network.client(insecure_skip_verify=True, cert_file=cert_file, key_file=key_file)
    found = network.ask(client.look_up(SECURE))
    assert found.detail.startswith("TLS: ")
    assert "alert unknown ca" in found.detail
    assert "self" not in found.detail


def test_without_verification_others_are_verified_still(network: Network, tls: Authority) -> None:
    context = tls.stranger("secure.hub")
    served = network.serve("secure.hub:443", lambda _: redirect("https://mirror.corp/"), context)
    mirror = network.serve("mirror.corp:443", lambda _: Says(200), tls.stranger("mirror.corp"))
    client = network.client(insecure_skip_verify=True)
    found = network.ask(client.look_up(SECURE))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail.startswith("TLS: certificate verify failed")
    challenge = {"WWW-Authenticate": 'Bearer realm="https://mirror.corp/token"'}
    served.handle = lambda _: Says(401, challenge)
    found = network.ask(client.look_up(SECURE))
    assert found.detail.startswith("token server mirror.corp: TLS: certificate verify failed")
    assert mirror.seen == []
