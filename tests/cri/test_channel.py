"""One connection to a server: refused at once or made, and nothing left behind when given up."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from pathlib import Path

import pytest

from image_cri_shim.cri.channel import RawChannel
from tests.cri.background import PATIENCE, Background
from tests.cri.scripted import ScriptedUpstream
from tests.support.processes import wait_until


def ignore() -> None:
    """Take no notice that a channel has ended."""


def failure(background: Background, path: str) -> OSError:
    with pytest.raises(OSError, match="too ") as raised:
        background.run(RawChannel(path, ignore).connect())
    return raised.value


def test_a_path_that_is_too_long_is_not_taken_for_one_that_does_not_exist(
    background: Background,
) -> None:
    assert "too long" in str(failure(background, "/" + "x" * 200))


def test_a_queue_that_is_full_is_said_to_be(background: Background, tmp_path: Path) -> None:
    path = str(tmp_path / "full.sock")
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket(socket.AF_UNIX))
        full.bind(path)
        full.listen(0)
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        error = failure(background, path)
    assert (error.errno, error.strerror) == (
        errno.EAGAIN,
        "too many connections wait to be accepted",
    )


@pytest.mark.parametrize("turns", range(6))
def test_a_connection_that_is_given_up_while_it_is_made_is_closed(
    background: Background, upstream: ScriptedUpstream, turns: int
) -> None:
    async def give_up() -> None:
        channel = RawChannel(upstream.path, ignore)
        making = asyncio.create_task(channel.connect())
        for _ in range(turns):
            await asyncio.sleep(0)
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making
        channel.close()

    background.run(give_up())

    # If it came, it came before one that is begun after it.
    background.run(one_more(upstream))
    assert wait_until(lambda: upstream.connections != [], PATIENCE)

    def closed() -> bool:
        return all(one.transport.is_closing() for one in upstream.connections)

    assert wait_until(closed, PATIENCE)


async def one_more(upstream: ScriptedUpstream) -> None:
    channel = RawChannel(upstream.path, ignore)
    await channel.connect()
    channel.close()
