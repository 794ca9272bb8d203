"""Where Twisted and asyncio meet: the reactor, results, failures, giving up, start and stop."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from image_cri_shim.bridge import LOOP_VARIABLE, AsyncioService, to_deferred, to_future

ROOT = Path(__file__).parent.parent


def child(script: str, packages: Path | None = None, **variables: str) -> str:
    """Run a script in a process that has no reactor yet; return what it prints.

    `packages` is a directory whose modules come before all others.
    """
    path = [str(packages)] if packages is not None else []
    # The tests themselves may have been told which loop to use.
    inherited = {key: value for key, value in os.environ.items() if key != LOOP_VARIABLE}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**inherited, "PYTHONPATH": os.pathsep.join([*path, str(ROOT)]), **variables},
    )
    assert ended.stderr == ""
    assert ended.returncode == 0
    return ended.stdout.strip()


# The reactor


def test_the_reactor_on_asyncio_is_installed_without_being_asked_for() -> None:
    script = """
import sys
from image_cri_shim.bridge import install_reactor
assert "twisted.internet.reactor" not in sys.modules
install_reactor()
install_reactor()
from twisted.internet import reactor
print(type(reactor).__name__)
"""
    assert child(script) == "AsyncioSelectorReactor"


def test_a_reactor_on_asyncio_that_is_there_already_stays() -> None:
    script = """
import asyncio
from twisted.internet import asyncioreactor
asyncioreactor.install(asyncio.new_event_loop())
from twisted.internet import reactor as before
from image_cri_shim.bridge import install_reactor
install_reactor()
from twisted.internet import reactor
print(reactor is before)
"""
    assert child(script) == "True"


@pytest.mark.parametrize(
    ("install", "name"),
    [
        ("from twisted.internet import epollreactor as it; it.install()", "EPollReactor"),
        ("from twisted.internet import selectreactor as it; it.install()", "SelectReactor"),
        ("from twisted.internet import reactor", "EPollReactor"),
    ],
)
def test_another_reactor_is_refused_by_its_name(install: str, name: str) -> None:
    script = f"""
{install}
from image_cri_shim.bridge import WrongReactor, install_reactor
try:
    install_reactor()
except WrongReactor as error:
    print(error)
"""
    assert child(script) == (
        f"image-cri-shim needs the asyncio reactor, but {name} is installed; "
        "leave out --reactor, or use --reactor=asyncio"
    )


# A faster event loop


UVLOOP = """
import asyncio, signal, socket

class Loop(asyncio.SelectorEventLoop):
    def run_forever(self):
        # As uvloop does: whatever had itself told of signals is told no longer.
        reader, writer = socket.socketpair()
        for one in (reader, writer):
            one.setblocking(False)
        self.add_reader(reader, lambda: reader.recv(4096))
        signal.set_wakeup_fd(writer.fileno())
        super().run_forever()

def new_event_loop():
    return Loop()
"""
WHICH_LOOP = """
from image_cri_shim.bridge import install_reactor, loop_name
install_reactor({arguments})
from twisted.internet import reactor
print(loop_name(reactor._asyncioEventloop))
"""


@pytest.fixture
def uvloop(tmp_path: Path) -> Path:
    """A directory with a package that behaves as uvloop does where that matters."""
    (tmp_path / "uvloop.py").write_text(UVLOOP)
    return tmp_path


def test_the_faster_loop_is_used_where_it_is_installed(uvloop: Path) -> None:
    assert child(WHICH_LOOP.format(arguments=""), uvloop) == "uvloop"


def test_the_faster_loop_can_be_turned_off(uvloop: Path) -> None:
    script = WHICH_LOOP.format(arguments="")
    assert child(script, uvloop, IMAGE_CRI_SHIM_LOOP="asyncio") == "asyncio"
    assert child(script, uvloop, IMAGE_CRI_SHIM_LOOP="uvloop") == "uvloop"


def test_a_program_that_becomes_a_daemon_keeps_to_the_loop_that_survives_it(uvloop: Path) -> None:
    assert child(WHICH_LOOP.format(arguments="forks=True"), uvloop) == "asyncio"


def test_without_the_faster_loop_it_is_pythons_own(tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError('not here')")
    assert child(WHICH_LOOP.format(arguments=""), tmp_path) == "asyncio"


CHILDREN = """
from image_cri_shim.bridge import install_reactor
install_reactor()
from twisted.internet import reactor
from twisted.internet.protocol import ProcessProtocol

class Ended(ProcessProtocol):
    def processEnded(self, reason):
        print(reason.value.exitCode)
        reactor.stop()

# It closes its side of the pipes first, so that its end is not noticed by them.
script = "exec 0<&- 1>&- 2>&-; sleep 0.2; exit 3"
reactor.callWhenRunning(reactor.spawnProcess, Ended(), "/bin/sh", ["sh", "-c", script], {})
reactor.callLater(20, reactor.stop)
reactor.run()
"""


def test_the_end_of_a_child_process_is_noticed_on_the_faster_loop(uvloop: Path) -> None:
    assert child(CHILDREN, uvloop) == "3"


def test_the_end_of_a_child_process_is_noticed_on_pythons_own_loop() -> None:
    assert child(CHILDREN, IMAGE_CRI_SHIM_LOOP="asyncio") == "3"


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_the_end_of_a_child_process_is_noticed_on_the_real_faster_loop() -> None:
    assert child(CHILDREN) == "3"


# Both sides


def test_under_the_running_reactor_each_side_can_await_the_other() -> None:
    script = """
import asyncio
from image_cri_shim.bridge import install_reactor, to_deferred, to_future
install_reactor()
from twisted.internet import reactor, task

async def asyncio_side():
    twisted_side = to_future(task.deferLater(reactor, 0, lambda: "hello"))
    print(await twisted_side, asyncio.get_running_loop().is_running())
    return "bye"

def begin():
    deferred = to_deferred(asyncio_side())
    deferred.addBoth(print)
    deferred.addBoth(lambda _: reactor.stop())

reactor.callLater(0, begin)
reactor.run()
"""
    assert child(script) == "hello True\nbye"


# The wall clock, which the child sets; asyncio has another one.
SET_THE_CLOCK = """
import asyncio, time
ahead, wall_clock = 0, time.time
time.time = lambda: wall_clock() + ahead
from image_cri_shim.bridge import install_reactor
install_reactor()
from twisted.internet import reactor

def set_the_clock(seconds):
    global ahead
    before, ahead = reactor.seconds(), ahead + seconds
    print("jumps" if abs(reactor.seconds() - before) > 3600 else "", end="")

def say(word):
    print(word)
    reactor.stop()
"""


@pytest.mark.parametrize(
    "installed", ["", "from twisted.internet.asyncioreactor import install; install()"]
)
def test_a_clock_that_is_put_back_holds_up_no_time_out(installed: str) -> None:
    script = """
def begin():
    reactor.callLater(0.05, say, "fired")
    set_the_clock(-86400)
    asyncio.get_running_loop().call_later(20, say, "held up")

reactor.callLater(0, begin)
reactor.run()
"""
    assert child(f"{installed}\n{SET_THE_CLOCK}{script}") == "fired"


def test_a_clock_that_is_put_forward_ends_no_time_out_early() -> None:
    script = """
def begin():
    reactor.callLater(3600, say, "early")
    set_the_clock(86400)
    reactor.callLater(0, reactor.callLater, 0, say, "in order")

reactor.callLater(0, begin)
reactor.run()
"""
    assert child(SET_THE_CLOCK + script) == "in order"


# Results, failures and giving up; a Deferred needs no reactor


def run(coroutine: Coroutine[Any, Any, None]) -> list[dict[str, Any]]:
    """Run on a loop of its own; return what the loop's exception handler was told."""
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
        await coroutine
        await turns()

    asyncio.run(main())
    return complaints


async def turns(count: int = 5) -> None:
    """Let everything that is due happen."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_result_reaches_the_asyncio_side() -> None:
    async def scenario() -> None:
        assert await to_future(succeed("now")) == "now"
        deferred: Deferred[str] = Deferred()
        asyncio.get_running_loop().call_soon(deferred.callback, "later")
        assert await to_future(deferred) == "later"

    assert run(scenario()) == []


def test_a_failure_reaches_the_asyncio_side_as_it_is() -> None:
    error = ConnectionError("refused")

    async def scenario() -> None:
        with pytest.raises(ConnectionError) as caught:
            await to_future(fail(error))
        assert caught.value is error

    assert run(scenario()) == []


def test_giving_up_on_the_asyncio_side_cancels_the_deferred() -> None:
    async def scenario() -> None:
        cancelled: list[Deferred[str]] = []
        deferred: Deferred[str] = Deferred(cancelled.append)
        waiting = asyncio.ensure_future(to_future(deferred))
        await turns()
        waiting.cancel()
        await turns()
        assert cancelled == [deferred]
        assert waiting.cancelled()

    assert run(scenario()) == []


@pytest.mark.parametrize("end", [lambda d: d.callback("late"), lambda d: d.errback(OSError())])
def test_what_comes_just_after_giving_up_is_harmless(end: Callable[[Deferred[str]], None]) -> None:
    async def scenario() -> None:
        deferred: Deferred[str] = Deferred()
        future = to_future(deferred)
        future.cancel()
        end(deferred)
        await turns()
        assert future.cancelled()
        assert deferred.result is None

    assert run(scenario()) == []


def test_a_deferred_that_is_cancelled_on_its_own_is_an_error_and_not_an_end_of_the_task() -> None:
    async def scenario() -> None:
        deferred: Deferred[str] = Deferred()
        future = to_future(deferred)
        deferred.cancel()
        with pytest.raises(CancelledError):
            await future

    assert run(scenario()) == []


def test_a_result_reaches_the_twisted_side() -> None:
    async def scenario() -> None:
        async def answer() -> str:
            await turns()
            return "answer"

        results: list[object] = []
        to_deferred(answer()).addBoth(results.append)
        assert results == []
        await turns(10)
        assert results == ["answer"]

    assert run(scenario()) == []


def test_a_failure_reaches_the_twisted_side_as_it_is() -> None:
    error = ConnectionError("refused")

    async def scenario() -> None:
        async def broken() -> None:
            raise error

        failures: list[Failure] = []
        to_deferred(broken()).addErrback(failures.append)
        await turns()
        assert [failure.value for failure in failures] == [error]

    assert run(scenario()) == []


def test_giving_up_on_the_twisted_side_cancels_the_task_and_waits_for_its_end() -> None:
    async def scenario() -> None:
        steps: list[str] = []

        async def hang() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await turns()
                steps.append("cleaned up")

        deferred = to_deferred(hang())
        deferred.addBoth(lambda _: steps.append("fired"))
        await turns()
        deferred.cancel()
        await turns(10)
        assert steps == ["cleaned up", "fired"]

    assert run(scenario()) == []


# Start and stop


class Part:
    """Takes note of what is done to it; goes on when the test says so."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.may_start = asyncio.Event()
        self.error: Exception | None = None

    async def start(self) -> None:
        self.steps.append("starting")
        await self.may_start.wait()
        if self.error is not None:
            raise self.error
        self.steps.append("started")

    async def stop(self) -> None:
        self.steps.append("stopping")
        await turns()
        self.steps.append("stopped")


class Stage:
    """A service, its part, its clock, and what it reported."""

    def __init__(self) -> None:
        self.part = Part()
        self.clock = Clock()
        self.failures: list[Failure] = []
        self.service = AsyncioService(self.part, self.clock, self.failures.append)

    async def start(self) -> None:
        self.service.startService()
        self.clock.advance(0)
        await turns()

    def stop(self) -> None:
        self.service.stopService().addBoth(lambda _: self.part.steps.append("fired"))


def test_a_part_starts_only_when_the_loop_runs() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.part.may_start.set()
        stage.service.startService()
        await turns()
        assert stage.part.steps == []
        stage.clock.advance(0)
        await turns()
        assert stage.part.steps == ["starting", "started"]

    assert run(scenario()) == []


def test_a_service_has_stopped_when_its_part_has() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.part.may_start.set()
        await stage.start()
        stage.stop()
        assert "fired" not in stage.part.steps
        await turns(20)
        assert stage.part.steps == ["starting", "started", "stopping", "stopped", "fired"]
        stage.stop()
        await turns(20)
        assert stage.part.steps[5:] == ["fired"]

    assert run(scenario()) == []


def test_a_part_is_not_stopped_while_it_starts() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.start()
        stage.stop()
        await turns(20)
        assert stage.part.steps == ["starting"]
        stage.part.may_start.set()
        await turns(30)
        assert stage.part.steps == ["starting", "started", "stopping", "stopped", "fired"]

    assert run(scenario()) == []


def test_a_part_that_had_no_time_to_start_never_does() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.service.startService()
        stage.stop()
        stage.clock.advance(1)
        await turns()
        assert stage.part.steps == ["fired"]

    assert run(scenario()) == []


def test_a_part_that_cannot_start_is_reported_at_once_and_still_stopped() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.part.error = OSError("no")
        stage.part.may_start.set()
        await stage.start()
        assert [failure.value for failure in stage.failures] == [stage.part.error]
        stage.stop()
        await turns(20)
        assert stage.part.steps == ["starting", "stopping", "stopped", "fired"]

    assert run(scenario()) == []
