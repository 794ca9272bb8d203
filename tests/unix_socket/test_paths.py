"""Where a socket may be."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from image_cri_shim import unix_socket
from image_cri_shim.unix_socket import SocketError, check, listen
from tests.unix_socket.sockets import (
    NOBODY,
    REFUSED,
    ROOT,
    accepts,
    is_free,
    leave_stale,
    mode,
    names,
    refusal,
    umask,
    without_privileges,
)


@pytest.mark.parametrize("mask", [0o077, 0o022, 0])
def test_a_missing_directory_is_made_and_everybody_may_pass_through(
    tmp_path: Path, mask: int
) -> None:
    path = tmp_path / "one" / "two" / "s"
    with umask(mask):
        check(str(path))
        assert names(tmp_path) == []
        listener = listen(str(path))
        assert os.umask(mask) == mask
    assert accepts(path)
    assert (mode(path.parent), mode(path.parent.parent)) == (0o755, 0o755)
    listener.remove()
    assert names(path.parent) == []


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    path = file / "s"
    assert refusal(path) == f"cannot serve {path}: {file} is no directory"
    below = file / "one" / "s"
    with pytest.raises(SocketError, match=r"cannot serve .*/file/one/s: "):
        check(str(below))


def test_a_directory_that_is_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    assert refusal(link / "s") == f"cannot serve {link}/s: {link} is no directory"
    assert names(tmp_path) == ["link"]


@pytest.mark.parametrize("permissions", [0o555, 0o666, 0o444])
@pytest.mark.parametrize("below", ["s", "one/two/s"])
def test_a_directory_that_may_not_be_written_is_refused_in_advance(
    stack: ExitStack, permissions: int, below: str
) -> None:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, -1)
    directory.chmod(permissions)
    stack.callback(directory.chmod, 0o700)
    path = directory / below
    with without_privileges():
        message = refusal(path)
    assert message == (
        f"cannot serve {path}: {directory} may not be written (permission denied); "
        "set `shim` to another path, or start as root"
    )
    assert names(directory) == []


def test_it_is_the_effective_user_who_must_be_allowed(stack: ExitStack) -> None:
    # twistd binds as root and may be somebody else after that; the real user is root all along.
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    directory.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, -1)
    with without_privileges():
        is_free(directory / "s", stack)


def test_a_stale_socket_in_a_directory_that_may_not_be_written_is_refused_for_that(
    stack: ExitStack,
) -> None:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    leave_stale(directory / "s")
    directory.chmod(0o555)
    stack.callback(directory.chmod, 0o700)
    with without_privileges():
        assert f"{directory} may not be written (permission denied)" in refusal(directory / "s")
    assert names(directory) == ["s"]


READ_ONLY = """
set -e
mount -t tmpfs -o ro none "$1"
exec "$2" -c "$3" "$1/s"
"""


def test_a_read_only_file_system_is_called_one(tmp_path: Path) -> None:
    # Root may write everywhere else.
    become = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    mounting = ["sh", "-c", 'mount -t tmpfs -o ro none "$1"', "sh", str(tmp_path)]
    if subprocess.run([*become, *mounting], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    ended = subprocess.run(
        [*become, "sh", "-c", READ_ONLY, "sh", str(tmp_path), sys.executable, REFUSED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stderr == ""
    assert ended.stdout.startswith(
        f"cannot serve {tmp_path}/s: {tmp_path} may not be written (a read-only file system); "
        "set `shim` to another path"
    )


def test_the_longest_path_that_a_client_can_use_is_served(tmp_path: Path) -> None:
    padding = unix_socket.PATH_LIMIT - len(str(tmp_path)) - len("//s.sock")
    path = tmp_path / ("d" * padding) / "s.sock"
    assert len(str(path)) == 107
    listener = listen(str(path))
    assert accepts(path)
    assert mode(path) == 0o660
    listener.remove()
    assert names(path.parent) == []


@pytest.mark.parametrize("path", ["s", "./s", "below/s"])
def test_a_relative_path_is_that_from_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    listener = listen(path)
    assert accepts(path)
    monkeypatch.chdir("/")
    assert accepts(tmp_path / path)
    listener.remove()
    assert not (tmp_path / path).exists()
    assert not (tmp_path / f"{path}.lock").exists()


@pytest.mark.parametrize("padding", [0, 107])
def test_asyncio_can_serve_it_whatever_is_opened_in_between(
    tmp_path: Path, stack: ExitStack, padding: int
) -> None:
    # Python 3.13 looks at the file behind the address that was bound.
    fill = max(0, padding - len(str(tmp_path)) - len("//s.sock"))
    path = tmp_path / ("d" * fill) / "s.sock"
    listener = listen(str(path))
    stack.callback(listener.remove)
    for _ in range(8):
        stack.enter_context(open(os.devnull))

    async def exchange() -> bytes:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_unix_server(greet, sock=listener.sock)
        reader, writer = await asyncio.open_unix_connection(str(path))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answer

    assert asyncio.run(exchange()) == b"hello"


def test_it_does_not_block_asyncios_loop(tmp_path: Path, stack: ExitStack) -> None:
    listener = listen(str(tmp_path / "s"))
    stack.callback(listener.remove)
    assert listener.sock.getblocking() is False
