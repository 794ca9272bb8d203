from __future__ import annotations

import pytest

from image_cri_shim.decision import Candidate, Outcome
from image_cri_shim.reference import parse_reference
from image_cri_shim.registry.manifests import ACCEPT
from tests.registry.network import HANG, STALL, Network, Says, Seen, candidate, oci_error

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
HUB = "sealos.hub:5000"
NGINX = f"{HUB}/library/nginx:1.25"


def present(_: Seen) -> Says:
    return Says(200, {"Docker-Content-Digest": DIGEST})


def test_a_manifest_that_the_registry_has_is_present_with_its_digest(network: Network) -> None:
    hub = network.serve(HUB, present)
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert (found.outcome, found.detail, found.digest) == (Outcome.PRESENT, "", DIGEST)
    assert (found.asked, found.timed_out, found.candidate) == (True, False, candidate(NGINX))
    (asked,) = hub.seen
    assert (asked.method, asked.path) == ("HEAD", "/v2/library/nginx/manifests/1.25")
    assert asked.headers["host"] == HUB
    assert asked.authorization is None
    assert asked.headers["user-agent"].startswith("image-cri-shim/")


def test_every_kind_of_manifest_is_accepted_and_the_oldest_last(network: Network) -> None:
    hub = network.serve(HUB, present)
    network.ask(network.client().look_up(candidate(NGINX)))
    kinds = hub.seen[0].headers["accept"].split(", ")
    assert ", ".join(kinds) == ACCEPT
    assert kinds[0] == "application/vnd.oci.image.index.v1+json"
    assert all("manifest.v1+" in kind for kind in kinds[-2:])
    assert len(kinds) == 6


def test_a_reference_with_tag_and_digest_is_asked_for_by_digest(network: Network) -> None:
    hub = network.serve(HUB, present)
    found = network.ask(network.client().look_up(candidate(f"{NGINX}@{DIGEST}")))
    assert found.outcome is Outcome.PRESENT
    assert hub.seen[0].path == f"/v2/library/nginx/manifests/{DIGEST}"


def test_another_digest_than_the_one_asked_for_is_no_answer(network: Network) -> None:
    network.serve(HUB, present)
    found = network.ask(network.client().look_up(candidate(f"{HUB}/library/nginx@{OTHER}")))
    assert (found.outcome, found.detail) == (Outcome.UNKNOWN, "answered with another digest")
    assert found.digest is None


@pytest.mark.parametrize("told", ["", "sha256:short", "md5:" + "a" * 32, DIGEST.upper()])
def test_a_digest_that_is_none_is_not_believed(network: Network, told: str) -> None:
    network.serve(HUB, lambda _: Says(200, {"Docker-Content-Digest": told}))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert (found.outcome, found.digest) == (Outcome.PRESENT, None)


def test_a_web_page_is_no_manifest(network: Network) -> None:
    network.serve(HUB, lambda _: Says(200, {"Content-Type": "text/html; charset=utf-8"}))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail == "not a registry: answered with a web page"


def test_404_is_absent(network: Network) -> None:
    network.serve(HUB, lambda _: Says(404))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert (found.outcome, found.detail) == (Outcome.ABSENT, "404")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_overloaded_registry_has_not_said_no(network: Network, status: int) -> None:
    network.serve(HUB, lambda _: Says(status))
    answer = network.ask(network.client().ask(candidate(NGINX)))
    assert (answer.look_up.outcome, answer.look_up.detail) == (Outcome.UNKNOWN, str(status))
    assert not answer.look_up.timed_out


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        (
            {
                "Retry-After": "Mon, 23 Nov 2026 12:01:30 GMT",
                "Date": "Mon, 23 Nov 2026 12:00:00 GMT",
            },
            90.0,
        ),
        (
            {
                "Retry-After": "Mon, 23 Nov 2026 11:00:00 GMT",
                "Date": "Mon, 23 Nov 2026 12:00:00 GMT",
            },
            None,
        ),
        ({"Retry-After": "3600"}, 3600.0),
        ({"Retry-After": "9" * 5000}, 3600.0),
        (
            {
                "Retry-After": "Mon, 23 Nov 2026 23:00:00 GMT",
                "Date": "Mon, 23 Nov 2026 12:00:00 GMT",
            },
            3600.0,
        ),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_taken_from_the_registry(
    network: Network, headers: dict[str, str], seconds: float | None
) -> None:
    network.serve(HUB, lambda _: Says(429, headers))
    answer = network.ask(network.client().ask(candidate(NGINX)))
    assert answer.retry_after == seconds


@pytest.mark.parametrize(("status", "seconds"), [(429, 7.0), (503, 7.0), (408, None), (500, None)])
def test_only_an_overloaded_registry_says_how_long_to_wait(
    network: Network, status: int, seconds: float | None
) -> None:
    network.serve(HUB, lambda _: Says(status, {"Retry-After": "7"}))
    answer = network.ask(network.client().ask(candidate(NGINX)))
    assert answer.retry_after == seconds


@pytest.mark.parametrize("refusal", [405, 501])
def test_where_head_is_refused_get_is_asked_and_the_manifest_is_not_read(
    network: Network, refusal: int
) -> None:
    # The GET's body never ends: whoever read it would wait for the budget.
    hub = network.serve(HUB, lambda seen: Says(refusal) if seen.method == "HEAD" else STALL)
    client = network.client()
    found = network.ask(client.look_up(candidate(NGINX)))
    assert found.outcome is Outcome.PRESENT
    assert [seen.method for seen in hub.seen] == ["HEAD", "GET"]
    network.settle()
    assert hub.lost == 1
    network.ask(client.look_up(candidate(NGINX)))
    assert [seen.method for seen in hub.seen] == ["HEAD", "GET", "GET"], "it was remembered"


@pytest.mark.parametrize("code", ["NAME_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_INVALID"])
def test_a_name_that_the_registry_calls_impossible_is_absent(network: Network, code: str) -> None:
    network.serve(HUB, lambda _: Says(400, {}, oci_error(code)))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert (found.outcome, found.detail) == (Outcome.ABSENT, f"400 {code}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[" * 60000,
        b'{"errors": 7}',
        b'{"errors": [7, {"code": {}}]}',
        oci_error("UNSUPPORTED"),
        oci_error("NAME_UNKNOWN") + b" " * 70000,
    ],
)
def test_a_bad_request_for_any_other_reason_is_unknown(network: Network, body: bytes) -> None:
    network.serve(HUB, lambda _: Says(400, {}, body))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert (found.outcome, found.detail) == (Outcome.UNKNOWN, "400")


def test_plain_http_to_a_registry_that_wants_https_is_named(network: Network) -> None:
    told = b"Client sent an HTTP request to an HTTPS server.\n"
    network.serve(HUB, lambda _: Says(400, {}, told))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert found.detail == "400, it seems to speak https only"


def test_403_without_being_asked_for_credentials_is_unknown(network: Network) -> None:
    network.serve(HUB, lambda _: Says(403, {}, oci_error("DENIED")))
    answer = network.ask(network.client().ask(candidate(NGINX)))
    assert answer.look_up.outcome is Outcome.UNKNOWN
    assert answer.look_up.detail == "403, and asks for no credentials"


def test_a_status_that_makes_no_sense_is_unknown(network: Network) -> None:
    network.serve(HUB, lambda _: Says(204))
    found = network.ask(network.client().look_up(candidate(NGINX)))
    assert (found.outcome, found.detail) == (
        Outcome.UNKNOWN,
        "204, which is no answer to a look-up",
    )


def test_elapsed_is_measured_on_the_clock(network: Network) -> None:
    network.serve(HUB, lambda _: HANG)
    looking = network.client(timeout=10.0).look_up(candidate(NGINX))
    network.advance(4.0)
    looking.cancel()
    waited = network.client(timeout=2.5).look_up(candidate(NGINX))
    network.advance(2.5)
    assert network.ask(waited).elapsed == 2.5
    looking.addErrback(lambda _: None)


def test_an_origin_that_is_not_configured_is_asked_anonymously_over_https(
    network: Network,
) -> None:
    network.answer_bytes("quay.io:443", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    origin = Candidate("quay.io/a/b", parse_reference("quay.io/a/b"))
    found = network.ask(network.client().look_up(origin))
    # Nothing there speaks TLS, which is how one sees that it was wanted.
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail.startswith("TLS: ")


def test_docker_io_is_asked_where_docker_io_answers(network: Network) -> None:
    network.swallow("registry-1.docker.io")
    origin = Candidate("nginx", parse_reference("nginx"))
    looking = network.client().look_up(origin)
    network.advance(3.0)
    assert network.ask(looking).detail == "connecting timed out after 3s"
