"""kill -9 at any moment leaves what the next start cleans up."""

from __future__ import annotations

from pathlib import Path

from tests.unix_socket.sockets import child

# A process for each line of our code that listen() runs, ended by SIGKILL at that line.
KILLED = """
import os, signal, socket, sys
from image_cri_shim.unix_socket import listen

path, stale = sys.argv[1], sys.argv[2] == "stale"
directory = os.path.dirname(path)
seen, left = set(), set()

def dies(at):
    lines = 0
    def trace(frame, event, argument):
        nonlocal lines
        file = frame.f_code.co_filename
        # What only looks may look at many things.
        if "image_cri_shim" not in file or file.endswith("socket_state.py"):
            return None
        if event == "line":
            lines += 1
            if lines == at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    pid = os.fork()
    if pid == 0:
        sys.settrace(trace)
        listen(path)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])

at = 1
while True:
    if stale:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
    killed = dies(at)
    left.add(tuple(sorted(os.listdir(directory))))
    listener = listen(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    assert sorted(os.listdir(directory)) == ["s", "s.lock"], os.listdir(directory)
    listener.remove()
    assert os.listdir(directory) == []
    if not killed:
        break
    at += 1
assert at > 60, at
print(sorted(left))
"""


def test_the_next_start_cleans_up_wherever_the_last_one_was_killed(tmp_path: Path) -> None:
    assert child(KILLED, tmp_path / "s", "free") == (
        f"{[(), ('.s.new', 's.lock'), ('s', 's.lock'), ('s.lock',)]}\n"
    )


def test_so_it_does_when_an_older_socket_was_there_as_well(tmp_path: Path) -> None:
    assert child(KILLED, tmp_path / "s", "stale") == (
        f"{[('.s.new', 's', 's.lock'), ('s',), ('s', 's.lock')]}\n"
    )
