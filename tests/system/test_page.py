"""The page in a real browser: what it shows, asks for and lets happen, and how it looks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chromium import Chromium, find_chromium
from tests.support.daemon import ROOT, environment

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed")

# Where the pictures are kept for whoever wants to look at them.
PICTURES = os.environ.get("IMAGE_CRI_SHIM_PICTURES")

KINDS = ("good", "bad", "hostile")
# The parts of the page that reach over its right edge, and how far.
WIDER = """
[...document.querySelectorAll('body *')]
  .filter(one => !one.closest('.unseen') && !one.closest('thead'))
  .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map(one => one.tagName + '.' + one.className + ': ' + one.textContent.slice(0, 40))
"""
# Everything that could run, load or send something, and handlers on anything.
ACTIVE = """
[...document.querySelectorAll('*')].filter(one =>
  ['SCRIPT', 'IMG', 'IFRAME', 'OBJECT', 'EMBED', 'FORM', 'INPUT', 'BASE', 'SVG', 'svg', 'AUDIO',
   'VIDEO'].includes(one.tagName)
  || [...one.attributes].some(a => a.name.startsWith('on') || a.name === 'style')
  || (one.tagName === 'A' && !['', '.', '?still=1', 'status', 'decisions', 'metrics']
        .includes(one.getAttribute('href')))
).map(one => one.outerHTML.slice(0, 200))
"""


@pytest.fixture(scope="module")
def pages() -> Iterator[dict[str, str]]:
    """The addresses of the pages, by the kind of node that they show."""
    made = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.admin.page_server", f"{kind}_status"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        for kind in KINDS
    ]
    try:
        ports = [one.stdout.readline().strip() for one in made if one.stdout is not None]
        yield {kind: f"http://127.0.0.1:{port}/" for kind, port in zip(KINDS, ports, strict=True)}
    finally:
        for one in made:
            one.terminate()
        for one in made:
            one.communicate(timeout=20)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400, 320])
@pytest.mark.parametrize("kind", KINDS)
def test_the_page_fits_the_screen_and_asks_for_nothing_else(
    browser: Chromium,
    pages: dict[str, str],
    tmp_path: Path,
    kind: str,
    width: int,
    scheme: str,
) -> None:
    browser.look_like(width, 900, scheme)
    browser.open(pages[kind])
    assert browser.complaints == []
    outside = [one for one in browser.requests if not one.startswith("data:")]
    assert outside == [pages[kind]]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    # With everything open that can be.
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.evaluate(WIDER) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    if PICTURES and width != 320:
        browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = false)")
        browser.screenshot(Path(PICTURES) / f"{kind}-{width}-{scheme}.png")


def test_hostile_names_are_text_and_nothing_else(browser: Chromium, pages: dict[str, str]) -> None:
    browser.look_like(1280, 900)
    browser.open(pages["hostile"])
    assert browser.evaluate("document.title") == "✕ Failing · image-cri-shim"
    assert browser.evaluate(ACTIVE) == []
    assert browser.evaluate("document.querySelectorAll('h1').length") == 1
    assert browser.evaluate("document.querySelectorAll('style').length") == 1
    text = browser.evaluate("document.body.innerText")
    assert "<script>document.title='owned'</script>" in text
    assert "{{7*7}}${7*7}&lt;b&gt;&amp;" in text
    assert "\\u202egnp.x/moc.rekcatta\\u2066" in text
    # Nothing that is put over other lines.
    assert "\u0300" not in text
    assert browser.evaluate("document.characterSet") == "UTF-8"
    assert browser.evaluate("document.compatMode") == "CSS1Compat"


def test_the_policy_would_stop_what_slipped_through(
    browser: Chromium, pages: dict[str, str]
) -> None:
    browser.look_like(1280, 900)
    browser.open(pages["good"])
    browser.evaluate(
        "document.body.insertAdjacentHTML('beforeend',"
        "'<img src=http://127.0.0.1:9/x.png onerror=document.title=1><p style=color:red>x</p>')"
    )
    browser.evaluate("new Promise(done => setTimeout(done, 200))")
    assert browser.evaluate("document.title") == "✓ OK · image-cri-shim"
    assert len(browser.complaints) >= 2
    assert all("Content Security Policy" in one for one in browser.complaints)


def test_the_page_comes_anew_unless_it_is_held(browser: Chromium, pages: dict[str, str]) -> None:
    refresh = "document.querySelector('meta[http-equiv=refresh]')?.content ?? null"
    browser.open(pages["good"])
    assert browser.evaluate(refresh) == "15"
    href = browser.evaluate("[...document.links].find(one => one.textContent === 'hold it').href")
    browser.open(href)
    assert browser.evaluate(refresh) is None
    href = browser.evaluate(
        "[...document.links].find(one => one.textContent === 'let it renew itself').href"
    )
    assert href == pages["good"]


def test_links_for_programs_lead_somewhere(browser: Chromium, pages: dict[str, str]) -> None:
    for name in ("status", "decisions", "metrics"):
        browser.open(f"{pages['hostile']}{name}")
        assert browser.evaluate("document.title") == ""
        text = browser.evaluate("document.body.innerText")
        if name != "metrics":
            assert isinstance(json.loads(text), dict)


def test_the_browser_has_looked_up_no_name(
    tmp_path_factory: pytest.TempPathFactory, pages: dict[str, str]
) -> None:
    directory = tmp_path_factory.mktemp("net")
    with Chromium(directory) as browser:
        browser.open(pages["hostile"])
    log = (directory / "net.json").read_text(errors="replace")
    assert "127.0.0.1" in log
    assert '"host":"attacker.test' not in log
    assert "attacker.test:80" not in log
