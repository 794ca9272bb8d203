"""Whether a registry can be used as it is configured."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from image_cri_shim.credentials import Credentials, identity
from image_cri_shim.decision import Registry
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.probe import Probe
from tests.registry.network import DROP, HANG, Network, Ring, Says, fired, json_body
from tests.registry.token_server import AUTH, HUB, REALM, USER, WRONG, TokenServer, basic


def asking(network: Network, domain: str = HUB, **settings: Any) -> Any:
    keyring = settings.pop("keyring", None)
    registry = Registry(domain, **{"plain_http": True, **settings})
    return network.client(keyring=keyring).of(registry).probe()


def probe(network: Network, domain: str = HUB, **settings: Any) -> Probe:
    found = network.ask(asking(network, domain, **settings))
    assert isinstance(found, Probe)
    return found


def said(found: Probe) -> tuple[bool, str, str, str, str]:
    return found.reachable, found.tls, found.authentication, found.scheme, found.detail


def test_the_base_of_the_api_is_asked_for(network: Network) -> None:
    hub = network.serve(HUB, lambda _: Says(200, {}, b"{}"))
    found = probe(network)
    assert said(found) == (True, "none", "none needed", "", "")
    assert found.usable
    assert found.registry == Registry(HUB, plain_http=True)
    assert [(seen.method, seen.path) for seen in hub.seen] == [("GET", "/v2/")]


def test_credentials_that_nobody_asked_for_are_untried(network: Network) -> None:
    hub = network.serve(HUB, lambda _: Says(200))
    found = probe(network, credentials=USER)
    assert found.authentication == "none needed"
    assert found.detail == "asks for no credentials here, so the configured ones are untried"
    assert found.usable
    assert [seen.authorization for seen in hub.seen] == [None]


def test_accepted_credentials_are_said_to_be(network: Network) -> None:
    network.serve(HUB, basic)
    found = probe(network, credentials=USER)
    assert said(found) == (True, "none", "accepted", "basic", "")
    assert found.usable


def test_refused_credentials_are_said_to_be_and_forgotten(network: Network) -> None:
    network.serve(HUB, basic)
    ring = Ring(WRONG)
    found = probe(network, keyring=ring)
    assert said(found) == (True, "none", "refused", "basic", "401 wrong credentials")
    assert not found.usable
    assert ring.forgotten == [HUB]


def test_missing_credentials_are_said_to_be(network: Network) -> None:
    network.serve(HUB, basic)
    found = probe(network)
    why = "401 and no credentials are configured"
    assert said(found) == (True, "none", "refused", "basic", why)
    assert not found.usable


def test_an_identity_token_where_a_password_is_wanted_is_refused(network: Network) -> None:
    network.serve(HUB, basic)
    found = probe(network, credentials=identity("ey.J"))
    assert found.authentication == "refused"
    assert found.detail == "401, and wants a password: an identity token is none"


class Base(TokenServer):
    """A registry that wants a token for its base, for no repository."""

    def __init__(self, network: Network, **settings: Any) -> None:
        super().__init__(network, **settings)
        self.challenge = f'Bearer realm="{REALM}",service="hub"'


@pytest.mark.parametrize(
    ("credentials", "detail"), [(USER, ""), (None, "anonymously")], ids=["user", "anonymous"]
)
def test_a_token_is_fetched_for_no_repository(
    network: Network, credentials: Credentials | None, detail: str
) -> None:
    server = Base(network)
    found = probe(network, credentials=credentials)
    assert said(found) == (True, "none", "accepted", "bearer", detail)
    assert [seen.path for seen in server.tokens.seen] == ["/token?service=hub"]


def test_a_token_server_that_refuses_is_named(network: Network) -> None:
    Base(network)
    found = probe(network, credentials=WRONG)
    why = f"token server {AUTH}: 401 wrong credentials"
    assert said(found) == (True, "none", "refused", "bearer", why)


def test_a_token_server_that_fails_leaves_the_authentication_unknown(network: Network) -> None:
    server = Base(network)
    server.answer = Says(503)
    found = probe(network, credentials=USER)
    assert said(found) == (True, "none", "unknown", "bearer", f"token server {AUTH}: 503")
    assert not found.usable


def test_a_token_that_is_not_accepted_is_refused_authentication(network: Network) -> None:
    server = Base(network)
    server.answer = Says(200, {}, json_body({"token": "worthless"}))
    found = probe(network)
    assert (found.authentication, found.detail) == ("refused", "401 anonymous access is refused")


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (Says(404), "not a registry: 404 for /v2/"),
        (Says(500), "500 for /v2/"),
        (
            Says(400, {}, b"Client sent an HTTP request to an HTTPS server.\n"),
            "400 for /v2/, it seems to speak https only",
        ),
        (Says(503), "503 for /v2/"),
        (Says(403), "403 for /v2/"),
        (Says(200, {"Content-Type": "text/html"}), "not a registry: answered with a web page"),
        (Says(302, {"Location": "ftp://x/"}), "not a registry: redirects to no valid address"),
        (Says(401), "401, and asks for nothing that is known here"),
    ],
)
def test_what_is_no_registry_is_said_to_be(network: Network, answer: Says, detail: str) -> None:
    network.serve(HUB, lambda _: answer)
    found = probe(network, credentials=USER)
    assert (found.authentication, found.detail) == ("unknown", detail)
    assert not found.usable


def test_another_server_that_asks_for_credentials_is_named(network: Network) -> None:
    network.serve(HUB, lambda _: Says(307, {"Location": "http://mirror.corp/v2/"}))
    mirror = network.serve("mirror.corp:80", lambda _: Says(401, {"WWW-Authenticate": "Basic"}))
    found = probe(network, credentials=USER)
    assert found.detail == "redirects to mirror.corp, which answers 401"
    assert found.authentication == "unknown"
    assert [seen.authorization for seen in mirror.seen] == [None]


def test_a_registry_that_cannot_be_reached_is_named_with_the_reason(network: Network) -> None:
    assert said(probe(network)) == (False, "none", "unknown", "", "no such host")
    network.serve(HUB, lambda _: DROP)
    assert said(probe(network)) == (False, "none", "unknown", "", "connection lost")


def test_a_certificate_that_was_verified_is_said_to_be(network: Network, tls: Any) -> None:
    network.serve("secure.hub:443", lambda _: Says(200), tls=tls.server("secure.hub"))
    found = probe(network, "secure.hub", plain_http=False, ca_file=tls.roots)
    assert said(found) == (True, "verified", "none needed", "", "")


def test_a_certificate_that_was_not_verified_is_said_to_be(network: Network, tls: Any) -> None:
    network.serve("secure.hub:443", lambda _: Says(200), tls=tls.stranger("secure.hub"))
    found = probe(network, "secure.hub", plain_http=False, insecure_skip_verify=True)
    assert said(found) == (True, "not verified", "none needed", "", "")


def test_a_certificate_that_is_not_believed_is_the_reason(network: Network, tls: Any) -> None:
    network.serve("secure.hub:443", lambda _: Says(200), tls=tls.stranger("secure.hub"))
    found = probe(network, "secure.hub", plain_http=False)
    assert said(found)[:4] == (False, "unknown", "unknown", "")
    assert found.detail.startswith("TLS: certificate verify failed")


def test_docker_hub_is_asked_where_it_answers(network: Network, tls: Any) -> None:
    context = tls.server("registry-1.docker.io")
    hub = network.serve("registry-1.docker.io:443", lambda _: Says(200), tls=context)
    found = probe(network, "docker.io", plain_http=False, ca_file=tls.roots)
    assert said(found) == (True, "verified", "none needed", "", "")
    assert len(hub.seen) == 1


def test_credentials_that_cannot_be_had_are_the_reason(network: Network) -> None:
    hub = network.serve(HUB, basic)
    why = "cannot use /etc/x.json: no such file"
    found = probe(network, keyring=Ring(Unanswered(why)))
    assert said(found) == (False, "none", "unknown", "", why)
    assert hub.seen == []


def test_a_probe_ends_within_the_registrys_time(network: Network) -> None:
    hub = network.serve(HUB, lambda _: HANG)
    waiting = asking(network, timeout=2.5)
    network.advance(2.25)
    assert not fired(waiting)
    network.advance(0.25)
    found = network.ask(waiting)
    assert said(found) == (False, "none", "unknown", "", "timed out after 2.5s")
    assert found.elapsed == 2.5
    network.settle()
    assert hub.lost == 1


def test_a_probe_that_waits_for_its_token_says_so(network: Network) -> None:
    server = Base(network)
    server.answer = HANG
    waiting = asking(network)
    network.advance(10)
    found = network.ask(waiting)
    why = f"timed out after 10s, waiting for the token server {AUTH}"
    assert said(found) == (True, "none", "unknown", "bearer", why)


def test_a_probe_can_be_cancelled(network: Network) -> None:
    hub = network.serve(HUB, lambda _: HANG)
    waiting = asking(network)
    network.settle()
    waiting.cancel()
    with pytest.raises(CancelledError):
        network.ask(waiting)
    network.settle()
    assert hub.lost == 1
