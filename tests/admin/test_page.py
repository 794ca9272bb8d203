"""The page as HTML: what it says, that names cannot change it, and who can read it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from image_cri_shim.admin.addresses import gather
from image_cri_shim.admin.page import page_pieces
from image_cri_shim.admin.style import STYLE
from tests.admin.documents import (
    BEFORE,
    HOSTILE,
    bad_status,
    failed,
    good_status,
    hostile_status,
    record,
    registry,
)
from tests.admin.stage import Stage

# HTML's elements without an end tag that are used here.
VOID = {"meta", "link"}


class Reader(HTMLParser):
    """Reads a page and notices whatever is not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value is not None]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(status: dict[str, Any]) -> str:
    return b"".join(page_pieces(status)).decode()


def read(status: dict[str, Any]) -> Reader:
    return Reader(page(status))


@pytest.mark.parametrize("status", [good_status(), bad_status(), hostile_status()])
def test_the_page_is_one_whole_document_without_scripts(status: dict[str, Any]) -> None:
    reader = read(status)
    names = [tag for tag, _ in reader.tags]
    assert page(status).startswith('<!DOCTYPE html>\n<html lang="en">')
    assert names.count("h1") == names.count("main") == names.count("style") == 1
    assert not {"script", "img", "iframe", "form", "object", "base"} & set(names)
    for _, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert len(reader.ids) == len(set(reader.ids))
    labels = {str(a["aria-labelledby"]) for _, a in reader.tags if "aria-labelledby" in a}
    assert labels <= set(reader.ids)


@pytest.mark.parametrize(
    ("state", "words", "sign"),
    [
        ("ok", "OK Everything works.", "✓"),
        ("degraded", "Degraded It works, but not as well as it should.", "!"),
        ("failing", "Failing Something does not work.", "✕"),
    ],
)
def test_the_state_is_a_word_a_sign_and_a_colour(state: str, words: str, sign: str) -> None:
    status = good_status(state=state)
    reader = read(status)
    assert f"{sign} image-cri-shim {words}".replace(" ", "") in reader.text.replace(" ", "")
    look = {"ok": "good", "degraded": "warn", "failing": "bad"}[state]
    assert ("header", {"class": f"banner {look}"}) in reader.tags


def test_problems_come_first_each_with_its_cure() -> None:
    text = read(bad_status()).text
    first = text.index("Look at this first")
    assert first < text.index("The node") < text.index("Registries", text.index("The node") + 200)
    assert "2 things to look at" in text
    cure = "What to do: Correct the file; what ran before runs on."
    assert first < text.index("did you mean `address`?") < text.index(cure)


def test_a_note_is_no_reason_to_worry() -> None:
    note = {"about": "a", "what": "b", "since": None, "cure": "", "severity": "note"}
    text = read(good_status(problems=[note])).text
    assert "OK Everything works." in text
    assert "Good to know" in text
    assert "Look at this first" not in text


def test_the_order_is_what_runs_what_failed_what_succeeded() -> None:
    text = read(bad_status()).text
    places = [
        text.index(title)
        for title in ("Pulls in progress", "Failed pulls", "Last pulls", "Failed calls")
    ]
    assert places == sorted(places)
    # What is among the failed ones is not told again.
    assert text.count("redis:7 failed in") == 2
    assert "the last 2 of 1,287 that succeeded" in text


def test_a_pull_says_where_from_why_and_for_whom() -> None:
    one = record(trace="0af7651916cd43dd8448eb211c80319c", rule="rule 2")
    status = good_status()
    status["pulls"]["recent"] = [one]
    text = read(status).text
    for words in (
        "nginx:1.25",
        "pulled in 2.3 s",
        "from sealos.hub:5000/library/nginx:1.25 offline registry",
        "Decision: offline, present, 12 ms",
        "1 look-up, 1 attempt, for kubelet",
        "client kubelet (pid 812, uid 0)",
        "call 4f1c-1",
        "0af7651916cd43dd8448eb211c80319c",
        "rule rule 2",
    ):
        assert words in text


def test_a_failed_pull_says_what_was_asked_and_tried() -> None:
    status = good_status()
    status["pulls"]["failures"] = [failed(7)]
    text = read(status).text
    for words in (
        "Why it failed: image-cri-shim: redis:7 not found on sealos.hub:5000 (404)",
        "tried last: docker.io/library/redis:7 origin , "
        "after harbor.corp/dockerhub-proxy/library/redis:7 failed",
        "Decision for harbor.corp/dockerhub-proxy/library/redis:7 : origin, sealos.hub:5000 has it",
        "sealos.hub:5000/library/redis:7 absent (404), as known from before",
        "harbor.corp/dockerhub-proxy/library/redis:7 unknown (timed out after 10s), in 10 s",
        "DEADLINE_EXCEEDED: context deadline exceeded, 30 s",
    ):
        assert words in text


def test_a_registry_says_whether_it_is_asked_and_how_fast_it_is() -> None:
    status = good_status(
        registries=[
            registry("one.corp", latencySeconds=0.0034),
            registry("two.corp", breaker="open", failures=5, detail="refused", retryInSeconds=9.7),
            registry("three.corp", breaker="half-open", failures=5),
            registry("four.corp", failures=1),
            registry("five.corp", lastAskedAt=None, lastOutcome="", latencySeconds=None),
        ]
    )
    text = read(status).text
    assert "one.corp ✓ in use present, 5 min ago 3 ms" in text
    assert "two.corp ✕ left alone, tried again in 10 s 5 failures in a row refused" in text
    assert "three.corp ! being tried again" in text
    assert "four.corp ! in use" in text
    assert "five.corp · not asked yet none none" in text


def test_a_daemon_that_has_just_begun_has_a_page() -> None:
    status = good_status(
        cache={},
        registries=[],
        sockets=[],
        socketTrouble="the socket is served by process 7",
        runtime={
            **dict.fromkeys(("socket", "state", "name", "version", "criVersion"), ""),
            "connected": False,
            "since": None,
        },
        history={"path": "", "state": "off"},
    )
    status["pulls"] = {"inProgress": [], "failures": [], "recent": [], "pulled": 0, "failed": 0}
    status["clients"]["lastCallAt"] = None
    text = read(status).text
    for words in (
        "not connected",
        "no call since the start",
        "the socket is served by process 7",
        "None is configured: every image is pulled from its origin.",
        "Nothing has been pulled since the start.",
        "none is kept",
    ):
        assert words in text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_wherever_it_stands(name: str) -> None:
    plain, hostile = good_status(), good_status()
    for status, text in ((plain, "nginx"), (hostile, name)):
        status["pulls"]["recent"] = [record(image=text, name=text, reason=text, rule=text)]
        status["pulls"]["failures"] = [failed(9, image=text, error=text)]
        status["problems"] = [
            {"about": text, "what": text, "since": BEFORE, "cure": text, "severity": "note"}
        ]
        status["registries"] = [registry(text, detail=text)]
        status["failedCalls"] = [{"at": BEFORE, "method": text, "code": text, "message": text}]
        status["configuration"]["settings"] = [[text, text]]
    one, other = read(plain), read(hostile)
    assert other.tags == one.tags
    if name.isascii() and name.isprintable():
        assert name in "".join(other.words)


def test_the_policy_allows_this_style_sheet_and_nothing_else() -> None:
    answer = Stage().ask("/")
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_the_style_sheet_loads_nothing() -> None:
    assert not re.search(r"[<>&]|url\(|@import|expression", STYLE)


def luminance(colour: str) -> float:
    """Return what WCAG 2 calls the relative luminance of ``#rrggbb``."""
    values = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_that_people_need(scheme: str) -> None:
    first, _, second = STYLE.partition("prefers-color-scheme: dark")
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", first))
    if scheme == "dark":
        dark = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", second))
        assert dark.keys() == colours.keys()
        colours = dark
    pairs = [(ink, back) for ink in ("ink", "soft", "link", "bad") for back in ("page", "card")]
    for look in ("good", "warn", "bad", "busy", "idle"):
        pairs += [(look, f"{look}-back"), ("ink", f"{look}-back"), ("link", f"{look}-back")]
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ink, back in pairs:
        assert contrast(colours[ink], colours[back]) >= 4.5, (ink, back)


def test_the_page_is_made_in_small_steps() -> None:
    class Turns:
        def __init__(self) -> None:
            self.due: list[Callable[[], object]] = []

        def callLater(self, delay: float, call: Callable[[], object]) -> None:
            self.due.append(call)

    turns, made = Turns(), []
    gather(page_pieces(hostile_status()), turns).addCallback(made.append)  # type: ignore[arg-type]
    taken = 0
    while not made:
        (call,) = turns.due
        turns.due.clear()
        call()
        taken += 1
    assert taken > 8
    assert made[0].decode() == page(hostile_status())


def test_a_client_that_goes_while_the_page_is_made_is_no_error() -> None:
    stage = Stage()
    connection = stage.connect()
    connection.ask("/")
    connection.lose()
    stage.clock.pump([0] * 50)
    assert stage.logged == []
    assert stage.clock.getDelayedCalls() == []
