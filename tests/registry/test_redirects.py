from __future__ import annotations

from typing import Any

import pytest

from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Outcome
from tests.registry.network import Network, Says, Seen, candidate, json_body, oci_error

HUB = "sealos.hub:5000"
NGINX = f"{HUB}/library/nginx:1.25"
PATH = "/v2/library/nginx/manifests/1.25"
ELSEWHERE = "mirror.corp:5000"
USER = Credentials("admin", "passw0rd")


def to(location: str, status: int = 307) -> Says:
    return Says(status, {"Location": location})


def challenge(seen: Seen) -> Says:
    if seen.authorization is None:
        return Says(401, {"WWW-Authenticate": 'Basic realm="hub"'})
    return to(f"http://{ELSEWHERE}/there")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_with_the_same_method(network: Network, status: int) -> None:
    network.serve(HUB, lambda _: to(f"http://{ELSEWHERE}{PATH}?a=b#c", status))
    mirror = network.serve(ELSEWHERE, lambda _: Says(200))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert found.outcome is Outcome.PRESENT
    assert [(seen.method, seen.path) for seen in mirror.seen] == [("HEAD", f"{PATH}?a=b")]
    assert "manifest" in mirror.seen[0].headers["accept"]


def test_a_relative_redirect_stays_on_the_host(network: Network) -> None:
    hub = network.serve(HUB, lambda seen: to("/elsewhere") if "v2" in seen.path else Says(404))
    assert network.ask(network.client().look_up(candidate(NGINX))).outcome is Outcome.ABSENT
    assert [seen.path for seen in hub.seen] == [PATH, "/elsewhere"]


def test_credentials_stay_with_the_registry(network: Network) -> None:
    network.serve(HUB, challenge)
    mirror = network.serve(ELSEWHERE, lambda _: Says(200))
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert found.outcome is Outcome.PRESENT
    assert [seen.authorization for seen in mirror.seen] == [None]


@pytest.mark.parametrize("place", ["sealos.hub:5001", "other.hub:5000"])
def test_another_port_is_another_server(network: Network, place: str) -> None:
    network.serve(
        HUB,
        lambda seen: to(f"http://{place}/") if seen.authorization else challenge(seen),
    )
    other = network.serve(place, lambda _: Says(200))
    network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert [seen.authorization for seen in other.seen] == [None]


def test_credentials_do_not_come_back_after_a_detour(network: Network) -> None:
    def hub(seen: Seen) -> Says:
        return Says(404) if seen.path == "/back" else challenge(seen)

    served = network.serve(HUB, hub)
    network.serve(ELSEWHERE, lambda _: to(f"http://{HUB}/back"))
    network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert [seen.authorization for seen in served.seen] == [None, USER.basic(), None]


def test_credentials_go_along_on_the_same_server(network: Network) -> None:
    hub = network.serve(
        HUB,
        lambda s: Says(200) if s.path == "/x" else (to("/x") if s.authorization else challenge(s)),
    )
    network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert [seen.authorization for seen in hub.seen] == [None, USER.basic(), USER.basic()]


@pytest.mark.parametrize("scheme", ['Basic realm="x"', 'Bearer realm="http://mirror.corp:5000/t"'])
def test_another_server_that_asks_for_credentials_gets_none(network: Network, scheme: str) -> None:
    network.serve(HUB, lambda _: to(f"http://{ELSEWHERE}/"))
    mirror = network.serve(ELSEWHERE, lambda _: Says(401, {"WWW-Authenticate": scheme}))
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail == "redirects to mirror.corp, which answers 401"
    assert [seen.authorization for seen in mirror.seen] == [None]


def test_what_another_server_forbids_the_registry_has_not_denied(network: Network) -> None:
    network.serve(HUB, challenge)
    network.serve(ELSEWHERE, lambda _: Says(403, {}, oci_error("DENIED")))
    found = network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert (found.outcome, found.detail) == (Outcome.UNKNOWN, "403, and asks for no credentials")


def test_a_token_servers_redirect_takes_no_credentials_along(network: Network) -> None:
    realm = 'Bearer realm="http://auth.corp:80/t"'
    network.serve(
        HUB, lambda s: Says(200) if s.authorization else Says(401, {"WWW-Authenticate": realm})
    )
    network.serve("auth.corp:80", lambda _: to(f"http://{ELSEWHERE}/t"))
    mirror = network.serve(ELSEWHERE, lambda _: Says(200, {}, json_body({"token": "t"})))
    network.ask(network.client().look_up(candidate(NGINX, credentials=USER)))
    assert [seen.authorization for seen in mirror.seen] == [None]


def test_a_registry_that_redirects_for_ever_is_none(network: Network) -> None:
    hub = network.serve(HUB, lambda _: to("/again"))
    answer = network.ask(network.client().ask(candidate(NGINX)))
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == "not a registry: redirects too often"
    assert len(hub.seen) == 6


def test_five_redirects_are_followed(network: Network) -> None:
    hub = network.serve(HUB, lambda seen: to(f"{seen.path}x") if len(hub.seen) < 6 else Says(200))
    assert network.ask(network.client().look_up(candidate(NGINX))).outcome is Outcome.PRESENT
    assert len(hub.seen) == 6


@pytest.mark.parametrize(
    "location",
    ["ftp://a/b", "file:///etc/passwd", "http://u:p@mirror.corp/", "http://[", "http://a:x/"],
)
def test_a_redirect_to_no_address_is_not_followed(network: Network, location: str) -> None:
    network.serve(HUB, lambda _: to(location))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail == "not a registry: redirects to no valid address"


def test_a_redirect_to_nowhere_is_not_followed(network: Network) -> None:
    network.serve(HUB, lambda _: Says(302))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert found.detail == "not a registry: redirects to nowhere"


def test_https_is_never_left_for_http(network: Network, tls: Any) -> None:
    network.serve(
        "secure.hub:443", lambda _: to(f"http://{ELSEWHERE}/"), tls=tls.server("secure.hub")
    )
    mirror = network.serve(ELSEWHERE, lambda _: Says(200))
    secure = candidate("secure.hub/a:1", plain_http=False)
    found = network.ask(network.client(ca_file=tls.roots).look_up(secure))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail == "redirects from https to http, which is not followed"
    assert mirror.seen == []


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("http://secure.hub:443", "https://secure.hub:443"),
        ("https://secure.hub", "https://secure.hub:8443"),
        ("https://secure.hub", "https://other.hub"),
    ],
)
def test_credentials_stay_with_the_scheme_the_host_and_the_port(
    network: Network, tls: Any, first: str, then: str
) -> None:
    plain = first.startswith("http:")
    host, _, port = then.partition("://")[2].partition(":")
    there = f"{host}:{port or 443}"

    def lead(seen: Seen) -> Says:
        return challenge(seen) if seen.authorization is None else to(f"{then}/there")

    # The two schemes cannot share a port in one network: the first server makes room.
    here = "secure.hub:443"
    context = None if plain else tls.server("secure.hub")
    led: list[Seen] = []

    def handle(seen: Seen) -> Says:
        led.append(seen)
        said = lead(seen)
        if said.status == 307:
            network.serve(there, arrive, tls=tls.server(host))
        return said

    def arrive(seen: Seen) -> Says:
        led.append(seen)
        return Says(200)

    network.serve(here, handle, tls=context)
    asked = candidate("secure.hub:443/a:1", plain_http=plain, credentials=USER)
    if not plain:
        asked = candidate("secure.hub/a:1", plain_http=False, credentials=USER)
    found = network.ask(network.client(ca_file=tls.roots).look_up(asked))
    assert found.outcome is Outcome.PRESENT
    assert [seen.authorization for seen in led] == [None, USER.basic(), None]
    assert led[-1].path == "/there"


def test_http_may_lead_to_https(network: Network, tls: Any) -> None:
    network.serve(HUB, lambda _: to("https://secure.hub/"))
    secure = network.serve("secure.hub:443", lambda _: Says(200), tls=tls.server("secure.hub"))
    client = network.client(ca_file=tls.roots)
    assert network.ask(client.look_up(candidate(NGINX))).outcome is Outcome.PRESENT
    assert len(secure.seen) == 1
