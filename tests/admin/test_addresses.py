"""What each address answers, and what it answers to what makes no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from image_cri_shim.admin.backend import BadRequest, NotKnown
from image_cri_shim.admin.request import BODY_LIMIT
from tests.admin.documents import good_status
from tests.admin.stage import Stage

GETS = ("/", "/healthz", "/readyz", "/status", "/metrics", "/decisions")
POSTS = ("/reload", "/flush", "/log-levels")


def test_the_process_says_that_it_lives() -> None:
    answer = Stage().ask("/healthz")
    assert (answer.code, answer.text) == (200, "ok\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_readiness_is_a_status_and_a_line_for_each_reason() -> None:
    stage = Stage()
    answer = stage.ask("/readyz")
    assert (answer.code, answer.text) == (200, "ok\n")
    stage.backend.reasons = ["nobody listens on\nthe runtime's socket", "the configuration is old"]
    answer = stage.ask("/readyz")
    assert answer.code == 503
    assert answer.text.splitlines() == [
        "nobody listens on the runtime's socket",
        "the configuration is old",
    ]


def test_the_status_is_the_backend_s_document_as_json() -> None:
    answer = Stage().ask("/status")
    assert answer.code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == good_status()
    assert int(answer.headers["content-length"]) == len(answer.body)


def test_metrics_come_in_the_form_that_the_collector_accepts() -> None:
    stage = Stage()
    answer = stage.ask("/metrics", headers=("Host: localhost", "Accept: text/plain;q=1"))
    assert (answer.code, answer.text) == (200, "up 1\n")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"
    assert stage.backend.asked == [("metrics", "text/plain;q=1")]


def test_without_the_library_for_metrics_its_package_is_named() -> None:
    stage = Stage()
    stage.backend.error = ModuleNotFoundError("no", name="prometheus_client.registry")
    answer = stage.ask("/metrics")
    assert answer.code == 501
    assert "python3-prometheus-client" in answer.error
    assert stage.logged == []
    stage.backend.error = ModuleNotFoundError("no", name="something")
    assert stage.ask("/metrics").code == 500


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_the_body(path: str) -> None:
    stage = Stage()
    whole, head = stage.ask(path), stage.ask(path, "HEAD")
    assert (head.code, head.body) == (200, b"")
    del whole.headers["date"], head.headers["date"]
    if path == "/decisions":
        # It is sent in pieces, so its length is not known.
        del whole.headers["transfer-encoding"], head.headers["content-length"]
    assert head.headers == whole.headers


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("path", GETS)
def test_what_is_read_is_not_written(path: str, read_only: bool) -> None:
    names = ("127.0.0.1",) if read_only else None
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        answer = Stage(read_only=read_only, names=names).ask(path, method)
        assert answer.code == 405
        assert answer.headers["allow"] == "GET, HEAD"
        assert "GET, HEAD" in (answer.error if method != "HEAD" else "")


@pytest.mark.parametrize("path", POSTS)
def test_what_is_done_is_not_done_by_looking(path: str) -> None:
    stage = Stage()
    answer = stage.ask(path)
    assert (answer.code, answer.headers["allow"]) == (405, "POST")
    assert stage.backend.asked == []


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_nothing_is_done_where_it_can_only_be_read(path: str, method: str) -> None:
    stage = Stage(read_only=True, names=())
    answer = stage.ask(path, method)
    assert answer.code == (405 if method == "POST" else 404)
    assert stage.backend.asked == []


@pytest.mark.parametrize(
    "path", ["/x", "/status/", "//", "/status/..", "/%2e%2e/etc/passwd", "/" + "a" * 8000]
)
def test_elsewhere_is_nothing_and_no_listing(path: str) -> None:
    answer = Stage().ask(path)
    assert answer.code == 404
    assert "/decisions" in answer.error
    assert len(answer.error) < 400


@pytest.mark.parametrize("path", [*GETS, "/x"])
def test_no_answer_is_kept_or_taken_for_something_else(path: str) -> None:
    headers = Stage().ask(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["server"] == "image-cri-shim"


@pytest.mark.parametrize("path", ["/", "/status", "/metrics"])
def test_an_error_of_ours_is_a_sentence_there_and_one_line_in_the_log(path: str) -> None:
    stage = Stage()
    stage.backend.error = KeyError("something of ours")
    for _ in range(3):
        answer = stage.ask(path)
        assert answer.code == 500
        assert answer.error == "something went wrong here; the daemon's log says what"
    (line,) = stage.logged
    assert f"cannot answer {path}: KeyError: 'something of ours'" in line
    assert f"{Path(__file__).parent}/stage.py:" in line


def test_a_document_that_cannot_be_written_is_an_error_of_ours() -> None:
    stage = Stage()
    stage.backend.document = lambda: {"at": object()}
    assert stage.ask("/status").code == 500
    assert len(stage.logged) == 1


def test_a_reload_is_answered_when_its_outcome_is_known() -> None:
    stage = Stage()
    outcome = {"ok": True, "outcome": "the new configuration runs", "problems": [], "changes": []}
    stage.backend.reloading = Deferred()
    connection = stage.connect()
    connection.ask("/reload", "POST")
    assert connection.received == b""
    stage.clock.advance(3600)
    stage.backend.reloading.callback(outcome)
    answer = connection.answered()
    assert (answer.code, answer.json) == (200, outcome)


def test_a_refused_reload_is_a_conflict() -> None:
    stage = Stage()
    stage.backend.reloading = {"ok": False, "outcome": "refused", "problems": ["a.yaml:1: no"]}
    answer = stage.ask("/reload", "POST")
    assert (answer.code, answer.json["problems"]) == (409, ["a.yaml:1: no"])


def test_a_client_that_does_not_wait_for_the_reload_is_no_error() -> None:
    stage = Stage()
    stage.backend.reloading = Deferred()
    connection = stage.connect()
    connection.ask("/reload", "POST")
    connection.lose()
    stage.backend.reloading.callback({"ok": True})
    assert stage.logged == []
    assert connection.received == b""


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b"", ("flush", None, None)),
        (b"{}", ("flush", None, None)),
        (b'{"image": "nginx:1.25"}', ("flush", "nginx:1.25", None)),
        (b'{"registry": "harbor.corp"}', ("flush", None, "harbor.corp")),
    ],
)
def test_what_is_forgotten_is_all_or_one_image_s_or_one_registry_s(
    body: bytes, asked: tuple[object, ...]
) -> None:
    stage = Stage()
    answer = stage.ask("/flush", "POST", body=body)
    assert (answer.code, answer.json) == (200, {"answers": 3, "breakers": 1})
    assert stage.backend.asked == [asked]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 50_000, "no JSON"),
        (b"1" * 5000, "no JSON"),
        (b"[]", "no JSON object"),
        (b'{"image": 1}', "image is no text"),
        (b'{"imgae": "nginx"}', "there is no imgae; there are image, registry"),
        (b'{"image": "a", "registry": "b"}', "not both"),
    ],
)
def test_what_makes_no_sense_is_said_and_not_done(body: bytes, words: str) -> None:
    stage = Stage()
    answer = stage.ask("/flush", "POST", body=body)
    assert answer.code == 400
    assert words in answer.error
    assert stage.backend.asked == []
    assert stage.logged == []


def test_the_backend_s_refusals_are_told_with_their_status() -> None:
    stage = Stage()
    stage.backend.error = NotKnown("there is no registry x")
    answer = stage.ask("/flush", "POST", body=b'{"registry": "x"}')
    assert (answer.code, answer.error) == (404, "there is no registry x")
    stage.backend.error = BadRequest("A:B is no image reference")
    answer = stage.ask("/flush", "POST", body=b'{"image": "A:B"}')
    assert (answer.code, answer.error) == (400, "A:B is no image reference")
    assert stage.logged == []


def test_a_level_is_set_for_a_component() -> None:
    stage = Stage()
    body = json.dumps({"component": "registry", "level": "debug"}).encode()
    answer = stage.ask("/log-levels", "POST", body=body)
    assert (answer.code, answer.json) == (200, {"levels": {"registry": "debug"}})
    assert stage.backend.asked == [("level", "registry", "debug")]
    answer = stage.ask("/log-levels", "POST", body=b'{"component": "all"}')
    assert answer.code == 400
    assert "`level` is missing" in answer.error


def test_a_body_that_is_too_long_is_refused_and_not_kept() -> None:
    stage = Stage()
    answer = stage.ask("/flush", "POST", body=b" " * (BODY_LIMIT + 1))
    assert (answer.code, answer.headers["connection"]) == (413, "close")
    assert stage.backend.asked == []
    assert stage.ask("/flush", "POST", body=b" " * BODY_LIMIT).code == 200


def test_a_body_without_a_length_has_the_same_limit() -> None:
    stage = Stage()
    connection = stage.connect()
    connection.send(b"POST /flush HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(BODY_LIMIT // 1024 + 1):
        connection.send(b"400\r\n" + b" " * 1024 + b"\r\n")
    connection.send(b"0\r\n\r\n")
    assert connection.answered().code == 413
    assert connection.closed


def test_a_form_is_not_taken_apart() -> None:
    stage = Stage()
    headers = ("Host: a", "Content-Type: multipart/form-data; boundary=x")
    answer = stage.ask("/flush", "POST", body=b"--x\r\n", headers=headers)
    assert answer.code == 400
    assert "no JSON" in answer.error
    assert stage.logged == []


def test_one_connection_takes_several_requests() -> None:
    stage = Stage()
    connection = stage.connect()
    connection.ask("/healthz")
    connection.ask("/healthz")
    assert connection.received.count(b"HTTP/1.1 200 OK") == 2
    assert not connection.closed
