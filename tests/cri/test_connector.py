"""When the connection to the runtime is made, and when not, by a clock in the test's hands."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from image_cri_shim.cri.connection import RuntimeUnavailable
from image_cri_shim.cri.connector import BackOff, Connector
from tests.cri.background import PATIENCE, Background
from tests.cri.scripted import ScriptedUpstream, UpstreamCall, hang, reply
from tests.support.processes import wait_until


class Timer:
    def __init__(self, due: float, callback: Callable[[], object]) -> None:
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[Timer] = []

    @property
    def timers(self) -> list[Timer]:
        self._timers = [timer for timer in self._timers if not timer.cancelled]
        return self._timers

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        timer = Timer(self.now + delay, callback)
        self._timers.append(timer)
        return timer

    async def advance(self, seconds: float) -> None:
        """Let time pass, and after each timer whatever follows from it."""
        end = self.now + seconds
        await settle()
        while due := [timer for timer in self.timers if timer.due <= end + 1e-9]:
            timer = min(due, key=lambda one: one.due)
            self.now = max(self.now, timer.due)
            timer.cancel()
            timer.callback()
            await settle()
        self.now = end


async def settle() -> None:
    """Let everything happen that needs no time."""
    for _ in range(20):
        await asyncio.sleep(0)


class Case:
    """A connector to a socket that is not there; `failed` says when attempts failed."""

    def __init__(self, path: Path, chance: float = 0.5) -> None:
        self.path = path
        self.failed: list[float] = []
        self.clock = FakeClock()
        self.changes = 0
        self._chance = chance
        self.connector = Connector(
            lambda: str(self.path), "auto", self._changed, draw=self._draw, clock=self.clock
        )

    def _changed(self) -> None:
        self.changes += 1

    def _draw(self) -> float:
        self.failed.append(self.clock.now)
        return self._chance

    async def refused(self) -> str:
        """Make a call that gets no connection; return why."""
        with pytest.raises(RuntimeUnavailable) as caught:
            await self.connector.connection()
        return caught.value.message


def play(coroutine: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


def test_pauses_double_up_to_the_longest(tmp_path: Path) -> None:
    async def story() -> None:
        case = Case(tmp_path / "none.sock")
        case.connector.start()
        await case.clock.advance(30)
        case.connector.close()
        times = [0, *case.failed]
        pauses = [round(after - before, 6) for before, after in itertools.pairwise(times)]
        assert pauses == [0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5]

    play(story())


def test_jitter_makes_a_pause_longer_or_shorter_by_its_share() -> None:
    back_off = BackOff(first=1.0, longest=8.0, jitter=0.2)
    assert [back_off.delay(1, chance) for chance in (0.0, 0.5, 1.0)] == [0.8, 1.0, 1.2]
    assert [back_off.delay(failures, 0.5) for failures in (2, 3, 4, 5, 10**6)] == [2, 4, 8, 8, 8]
    assert back_off.delay(10**6, 1.0) == pytest.approx(9.6)


def test_during_a_pause_a_call_fails_at_once_and_connects_to_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        case = Case(tmp_path / "none.sock")
        case.connector.start()
        await case.clock.advance(1)
        attempts = len(case.failed)
        for _ in range(100):
            assert "none.sock does not exist" in await case.refused()
        await settle()
        assert len(case.failed) == attempts
        case.connector.close()

    play(story())


def test_calls_that_wait_share_one_attempt(tmp_path: Path) -> None:
    async def story() -> None:
        case = Case(tmp_path / "none.sock")
        reasons = await asyncio.gather(*(case.refused() for _ in range(50)))
        assert len(set(reasons)) == 1
        assert case.failed == [0]
        case.connector.close()

    play(story())


def test_a_call_that_finds_another_file_at_the_socket_makes_an_attempt_at_once(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        case = Case(tmp_path / "up.sock")
        case.connector.start()
        await case.clock.advance(20)
        attempts = len(case.failed)
        case.path.write_text("")
        assert "nobody listens" in await case.refused()
        assert len(case.failed) == attempts + 1
        case.path = tmp_path / "other.sock"
        assert "other.sock does not exist" in await case.refused()
        assert len(case.failed) == attempts + 2
        case.connector.close()

    play(story())


def test_a_socket_that_appears_is_seen_without_a_call_and_ends_the_pause(tmp_path: Path) -> None:
    async def story() -> None:
        case = Case(tmp_path / "up.sock")
        case.connector.start()
        # The next attempt would be at 11.35.
        await case.clock.advance(7)
        attempts = len(case.failed)
        case.path.write_text("")
        await case.clock.advance(0.2)
        # After the attempt that it caused pauses are short again: a socket listens a moment later.
        assert [round(when, 6) for when in case.failed[attempts:]] == [7.05, 7.1, 7.2]
        case.connector.close()

    play(story())


def test_nothing_goes_on_after_close(tmp_path: Path) -> None:
    async def story() -> None:
        case = Case(tmp_path / "none.sock")
        before = asyncio.all_tasks()
        case.connector.start()
        await settle()
        assert len(asyncio.all_tasks()) == len(before) + 1
        assert len(case.clock.timers) == 1
        case.connector.close()
        await settle()
        assert case.clock.timers == []
        assert asyncio.all_tasks() == before

    play(story())


def test_a_call_that_waits_when_everything_is_closed_is_told(
    background: Background, upstream: ScriptedUpstream
) -> None:
    upstream.scripts["Version"] = hang

    async def story() -> str:
        case = Case(Path(upstream.path))
        waiting = asyncio.create_task(case.refused())
        await asyncio.sleep(0)
        case.connector.close()
        return await waiting

    assert "has closed its connection" in background.run(story())


def test_an_error_of_the_shims_own_is_told_and_tried_again(
    background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def locate() -> str:
        nonlocal calls
        calls += 1
        # The first is a look, the second the attempt.
        if calls == 2:
            raise KeyError("a defect")
        return "/nowhere.sock"

    async def story() -> list[str]:
        clock = FakeClock()
        connector = Connector(locate, "v1", lambda: None, draw=lambda: 0.5, clock=clock)
        reasons = []
        for _ in range(2):
            with pytest.raises(RuntimeUnavailable) as caught:
                await connector.connection()
            reasons.append(caught.value.message)
            await clock.advance(0.06)
        connector.close()
        return reasons

    reasons = background.run(story())
    assert reasons[0] == "image-cri-shim: internal error, see its log"
    assert "does not exist" in reasons[1]
    assert "KeyError: 'a defect'" in caplog.text
    caplog.clear()


class Connected:
    """A connector to the scripted upstream."""

    def __init__(self, background: Background, upstream: ScriptedUpstream) -> None:
        self.background = background
        self.upstream = upstream
        self.clock = FakeClock()
        self.connector = Connector(
            lambda: upstream.path, "auto", lambda: None, draw=lambda: 0.5, clock=self.clock
        )

    def wait(self) -> None:
        """Wait until there is a connection."""
        assert wait_until(lambda: self.connector.current is not None, PATIENCE)


@pytest.fixture
def connected(background: Background, upstream: ScriptedUpstream) -> Connected:
    upstream.scripts["Version"] = reply(b"")
    case = Connected(background, upstream)
    background.call(case.connector.start)
    case.wait()
    yield case
    background.call(case.connector.close)


def test_while_there_is_a_connection_nothing_is_looked_at(connected: Connected) -> None:
    looks = []
    locate = connected.connector._locate
    connected.connector._locate = lambda: looks.append(1) or locate()
    connected.background.run(connected.clock.advance(3600))
    assert connected.clock.timers == []
    assert looks == []


def test_a_connection_that_held_is_made_again_at_once(connected: Connected) -> None:
    connected.clock.now += 60
    connected.background.call(connected.upstream.drop)
    assert wait_until(lambda: len(connected.upstream.connections) == 2, PATIENCE)


def test_one_that_never_holds_is_made_again_after_pauses(connected: Connected) -> None:
    upstream, clock, background = connected.upstream, connected.clock, connected.background

    async def unwelcome(call: UpstreamCall) -> None:
        await reply(b"")(call)
        call.connection.transport.close()

    upstream.scripts["Version"] = unwelcome
    background.call(upstream.drop)
    # The first loss costs nothing.
    assert wait_until(lambda: len(upstream.connections) == 2 and bool(clock.timers), PATIENCE)
    for made, pause in ((3, 0.05), (4, 0.1), (5, 0.2)):
        background.run(clock.advance(pause - 0.01))
        assert len(upstream.connections) == made - 1
        background.run(clock.advance(0.01))
        assert wait_until(lambda: bool(clock.timers), PATIENCE)
        assert len(upstream.connections) == made
