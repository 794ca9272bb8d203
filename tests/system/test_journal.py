"""The daemon's log in systemd's own journal, as journalctl shows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.cri_client import CRI
from tests.support.daemon import CONSOLE, Daemon
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import Process, accepts, wait_until
from tests.support.standin_runtime import StandinRuntime

JOURNALD = "/lib/systemd/systemd-journald"
STREAM = "/run/systemd/journal/stdout"
PROGRAMS = ("unshare", "nsenter", "systemd-cat", "journalctl")
# Where nothing of the machine's own journal is seen.
APART = f"""
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log &&
mkdir -p /run/systemd/journal /run/log/journal && touch "$0" && exec {JOURNALD}
"""
# Standard error in the journal, as systemd does it; systemd-cat of Debian 12 does not say so.
AS_SERVICE = """
exec systemd-cat sh -c 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@"' sh "$@"
"""


class Journal(Process):
    """A journal of the test's own, in a mount namespace."""

    def command(self) -> Sequence[str]:
        return ("unshare", "-m", "sh", "-c", APART, str(self.directory / "apart"))

    def ready(self) -> bool:
        return (self.directory / "apart").exists() and self.run("test", "-S", STREAM)[0] == 0

    def within(self) -> tuple[str, ...]:
        """What begins a command that sees this journal."""
        return ("nsenter", "-t", str(self.pid), "-m")

    def run(self, *command: str) -> tuple[int, str]:
        ended = subprocess.run((*self.within(), *command), capture_output=True, text=True)
        return ended.returncode, ended.stdout


class Node(Daemon):
    """The daemon with its log in that journal."""

    journal: Journal

    def ready(self) -> bool:
        return accepts(self.socket) and any("serving on" in one for one in self.messages())

    def entries(self, *matches: str) -> list[dict[str, Any]]:
        """Return the entries of the program that match, in order."""
        command = ("journalctl", "-D", "/run/log/journal", "-o", "json", "-t", "image-cri-shim")
        _, text = self.journal.run(*command, *matches)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def messages(self) -> list[str]:
        return [str(one["MESSAGE"]) for one in self.entries()]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    if os.getuid() or not all(map(shutil.which, PROGRAMS)) or not Path(JOURNALD).exists():
        pytest.skip("needs root, a journal to start, and util-linux")
    with Journal("journal", tmp_path / "journal") as running:
        yield running


@pytest.fixture
def node(
    tmp_path: Path, journal: Journal, standin: StandinRuntime, offline: MemoryRegistry
) -> Iterator[Node]:
    made = Node(
        tmp_path,
        cri=standin.socket,
        config=f"address: {offline.url}",
        program=(*journal.within(), "sh", "-c", AS_SERVICE, "sh", *CONSOLE),
    )
    made.journal = journal
    with made:
        yield made


def test_a_pull_is_found_by_its_fields_with_its_priority(
    node: Node, connect: Callable[..., CRI], offline: MemoryRegistry
) -> None:
    push(offline.url, "journal/there", "1", build_image("journal there"))
    client = connect(node.socket)
    client.pull("origin.test/journal/there:1")
    wanted = ("IMAGE=origin.test/journal/there:1", "COMPONENT=pull")
    assert wait_until(lambda: len(node.entries(*wanted)) == 2, 10)
    decided, pulled = node.entries(*wanted)
    assert decided["CALL_ID"] == pulled["CALL_ID"]
    assert pulled["PULLED_NAME"] == f"{offline.host}/journal/there:1"
    assert pulled["REGISTRY"] == offline.host
    assert (pulled["CLIENT_PID"], pulled["CLIENT_UID"]) == (str(os.getpid()), "0")
    assert (pulled["OUTCOME"], pulled["PRIORITY"], pulled["_TRANSPORT"]) == (
        "pulled",
        "6",
        "journal",
    )
    assert float(pulled["SECONDS"]) > 0
    # The journal has the time and the process by itself.
    assert pulled["MESSAGE"].startswith("PullImage origin.test/journal/there:1: pulled ")
    assert pulled["_PID"] == str(node.pid)
