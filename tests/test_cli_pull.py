"""`image-cri-shim pull`: the decision and the time, shown while it runs."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest

from image_cri_shim.call_identity import Client
from image_cri_shim.cli.admin_client import AdminClient
from image_cri_shim.cli.colours import Colours
from image_cri_shim.cli.main import main
from image_cri_shim.cli.pull_follower import PullFollower
from image_cri_shim.cli.pull_progress import PullProgress, Screen
from image_cri_shim.pull_record import Asked, Phase, PullRecord, Tried, as_document
from tests.support.admin_standin import AdminStandIn, Reply
from tests.support.status_document import HUB, NOW, pull_record, running_record

OWN = Client(os.getpid(), 0, 0, "python")
ANEW = "\r\x1b[K"


class Shown:
    """What is shown, and a clock that somebody sets."""

    def __init__(self, **options: Any) -> None:
        self.said: list[str] = []
        self.now = 100.0
        self.screen = Screen(write=self.said.append, rewrite=self.said.append, **options)
        self.progress = PullProgress("nginx:1.25", self.screen, lambda: self.now)

    def new(self) -> list[str]:
        """Return what was said since the last time."""
        said, self.said[:] = list(self.said), []
        return said


LOOKING_UP = running_record(phase=Phase.LOOKING_UP, name="", reason="", look_ups=())
SECOND = "docker.io/library/nginx:1.25"
DECISION = f"nginx:1.25 -> {HUB}/library/nginx:1.25 (offline, present, 12 ms)"


def test_elsewhere_than_on_a_terminal_there_are_lines_and_no_time() -> None:
    shown = Shown()
    shown.progress.begin(followed=True)
    shown.progress.note(LOOKING_UP)
    shown.progress.tick()
    assert shown.new() == []
    shown.progress.note(running_record(phase=Phase.LOOKING_UP))
    shown.progress.note(running_record())
    shown.progress.tick()
    assert shown.new() == [DECISION]
    shown.progress.note(running_record(name=SECOND))
    assert shown.new() == [f"that failed, now {SECOND}"]
    tried = (Tried("a/nginx", "a", "UNKNOWN: x509", 2.0), Tried(SECOND, "docker.io", "", 1.0))
    shown.progress.note(pull_record(3, attempts=tried, name=SECOND))
    shown.progress.end()
    assert shown.new() == ["  a/nginx: UNKNOWN: x509 (after 2.0 s)"]


def test_of_several_registries_each_says_what_it_has() -> None:
    shown = Shown()
    asked = (
        Asked(HUB, "a", "absent", "404", cached=True),
        Asked("harbor.corp", "b", "present", seconds=0.25),
    )
    record = running_record(look_ups=asked)
    shown.progress.note(record)
    shown.progress.note(record)
    assert shown.new() == [
        f"  {HUB}: absent (404), cached",
        "  harbor.corp: present, 250 ms",
        DECISION,
    ]
    # Another one is asked when the first has failed.
    more = attrs.evolve(
        record, look_ups=(*asked, Asked("c", "c", "unknown", "503", seconds=1.5)), name="c/nginx"
    )
    shown.progress.note(more)
    assert shown.new() == ["  c: unknown (503), 1.5 s", "that failed, now c/nginx"]


def test_on_a_terminal_one_line_shows_the_time_and_goes_again() -> None:
    shown = Shown(live=True)
    shown.progress.begin(followed=True)
    assert shown.new() == [f"{ANEW}looking up nginx:1.25 (0 s)"]
    shown.now += 2
    shown.progress.tick()
    assert shown.new() == [f"{ANEW}looking up nginx:1.25 (2 s)"]
    shown.progress.note(running_record())
    assert shown.new() == [
        ANEW,
        DECISION,
        f"{ANEW}pulling {HUB}/library/nginx:1.25 (0 s)",
    ]
    shown.now += 4
    shown.progress.tick()
    assert shown.new() == [f"{ANEW}pulling {HUB}/library/nginx:1.25 (4 s)"]
    shown.progress.note(pull_record(3))
    assert shown.new() == [ANEW]
    shown.progress.tick()
    shown.progress.end()
    assert shown.new() == []


def test_where_nothing_is_told_of_the_decision_the_time_is_shown_all_the_same() -> None:
    shown = Shown(live=True)
    shown.progress.begin(followed=False)
    shown.progress.end()
    assert shown.new() == [f"{ANEW}pulling nginx:1.25 (0 s)", ANEW]


def test_a_pull_of_nothing_is_never_under_way() -> None:
    shown = Shown(live=True)
    shown.progress.note(running_record(name="", reason="a: absent; origin not allowed"))
    assert shown.new() == ["nginx:1.25 -> nothing (a: absent; origin not allowed)"]


def test_the_line_never_breaks() -> None:
    shown = Shown(live=True, width=30)
    shown.progress.note(running_record(name="a" * 100))
    last = shown.new()[-1].removeprefix(ANEW)
    assert last == f"pulling {'a' * 12}... (0 s)"
    assert len(last) < 30


def test_a_line_is_painted_only_where_colours_are() -> None:
    shown = Shown(live=True, colours=Colours(enabled=True))
    shown.progress.note(running_record())
    assert any("\x1b[1m" in line for line in shown.new())
    assert not any("\x1b" in line.replace(ANEW, "") for line in _all_of(Shown(live=True)))


def _all_of(shown: Shown) -> list[str]:
    shown.progress.note(running_record())
    shown.progress.note(running_record(name=SECOND))
    return shown.new()


def test_hostile_names_are_text() -> None:
    hostile = "a\x1b]0;owned\x07\nb\u202e"
    shown = Shown()
    record = running_record(
        image=hostile,
        name=hostile,
        reason=hostile,
        look_ups=(Asked(hostile, "a", "absent", hostile), Asked("b", "b", "absent")),
    )
    shown.progress.note(record)
    shown.progress.note(attrs.evolve(record, name=f"{hostile}2"))
    tried = (Tried(hostile, hostile, hostile, 1.0),)
    over = attrs.evolve(record, phase=Phase.PULLED, attempts=tried, seconds=2.0)
    shown.progress.note(over)
    said = shown.new()
    assert len(said) == 5
    assert all(line.isprintable() for line in said)


def followed(admin: AdminStandIn, seconds: float = 10) -> tuple[str, list[str], Any]:
    """Follow a pull of nginx:1.25; return why not, the phases that were told, the last document."""
    told: list[str] = []

    def note(record: PullRecord) -> None:
        told.append(record.phase.value)

    async def follow() -> tuple[str, list[str], Any]:
        follower = PullFollower(AdminClient(admin.path), "nginx:1.25", note)
        why = await follower.begin()
        if not why:
            await follower.last_word(seconds)
            follower.end()
        return why, told, follower.document

    return asyncio.run(follow())


def test_ones_own_pull_is_followed_and_nobody_elses(admin: AdminStandIn) -> None:
    own = pull_record(8, client=OWN)
    lines = [
        as_document(one, NOW)
        for one in (
            running_record(7),
            running_record(8, client=OWN, phase=Phase.LOOKING_UP),
            running_record(9, client=OWN, image="redis:7"),
            running_record(10, client=None),
            own,
        )
    ]
    admin.answers("GET /decisions", {"decisions": [], "last": 6})
    admin.replies["GET /decisions follow"] = Reply(lines=[None, {"odd": 1}, *lines], open=True)
    assert followed(admin) == ("", ["looking up", "pulled"], as_document(own, NOW))
    # What was before is not told again.
    assert [one.query for one in admin.requests] == [{"limit": "1"}, {"after": "6", "follow": "1"}]


def test_a_daemon_that_ends_meanwhile_is_not_waited_for(admin: AdminStandIn) -> None:
    admin.answers("GET /decisions", {"decisions": [], "last": 0})
    admin.replies["GET /decisions follow"] = Reply(lines=[])
    assert followed(admin, 60) == ("", [], None)


def test_an_admin_interface_that_is_not_there_is_said_and_no_accident(admin: AdminStandIn) -> None:
    assert "older than this command" in followed(admin)[0]
    admin.answers("GET /decisions", {"decisions": []})
    assert "does not understand" in followed(admin)[0]


def test_a_refused_configuration_is_told_to_machines_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("adress: x\n")
    with pytest.raises(SystemExit) as end:
        main(["pull", "-c", str(file), "--json", "nginx"])
    told = capsys.readouterr()
    assert end.value.code == 2
    assert json.loads(told.out)["problems"][0]["key"] == "adress"
    assert "the configuration is refused" in told.err


def test_nobody_there_is_told_to_machines_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["pull", "--socket", f"{tmp_path}/none.sock", "--json", "nginx"])
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert end.value.code == 3
    assert "nobody answers on" in document.pop("error")
    assert document == {
        "image": "nginx",
        "pulled": False,
        "seconds": None,
        "decision": None,
        "imageRef": None,
        "held": None,
    }
