"""Sockets that systemd passes: the tests are systemd, and start a process as it does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Puts the descriptors where systemd does and becomes the program: the process id stays.
LAUNCH = """
import json, os, sys

descriptors, variables, program = json.loads(sys.argv[1])
# Out of the way first, so that none is overwritten.
moved = [os.dup2(descriptor, 100 + n) for n, descriptor in enumerate(descriptors)]
os.closerange(3, 100)
for n, descriptor in enumerate(moved):
    os.dup2(descriptor, 3 + n, inheritable=True)
os.closerange(100, 200)
for name, value in variables.items():
    os.environ[name] = value.replace("OWN", str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-c", program, *sys.argv[2:]])
"""

# What every program begins with.
TAKE = """
import json, os, socket, stat, sys
from image_cri_shim.activation import take
from image_cri_shim.unix_socket import Permissions, SocketError

def left():
    return sorted(name for name in os.environ if name.startswith("LISTEN_"))

try:
    taken = take(os.environ, os.getpid())
except SocketError as error:
    print(json.dumps([str(error), left()]))
    sys.exit()
"""

REPORT = (
    TAKE
    + """
paths = [[one.path, one.sock.fileno(), one.sock.getblocking(), one.in_place()] for one in taken]
inheritable = [fd for fd in range(3, 10) if os.path.exists(f"/proc/self/fd/{fd}")
               and os.get_inheritable(fd)]
print(json.dumps([paths, left(), inheritable]))
"""
)


def listening(path: Path, stack: ExitStack) -> socket.socket:
    sock = stack.enter_context(socket.socket(socket.AF_UNIX))
    sock.bind(str(path))
    sock.listen()
    return sock


def start(
    sockets: Sequence[socket.socket], program: str = REPORT, *arguments: str, **variables: str
) -> list[object]:
    """Start a program with sockets; return what it printed."""
    descriptors = [one.fileno() for one in sockets]
    given = {"LISTEN_PID": "OWN", "LISTEN_FDS": str(len(sockets))} | variables
    ended = subprocess.run(
        [
            *(sys.executable, "-c", LAUNCH),
            json.dumps([descriptors, given, program]),
            *arguments,
        ],
        cwd=ROOT,
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    found: list[object] = json.loads(ended.stdout)
    return found


def refused(sock: socket.socket, **variables: str) -> str:
    told, left = start([sock], **variables)
    assert left == []
    return str(told)


def test_all_sockets_are_taken_with_the_paths_that_they_were_bound_to(
    tmp_path: Path, stack: ExitStack
) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    sockets = [listening(path, stack) for path in paths]
    assert start(sockets, LISTEN_FDNAMES="one:two") == [
        [[str(paths[0]), 3, False, True], [str(paths[1]), 4, False, True]],
        [],
        [],
    ]


def test_without_activation_there_is_nothing(tmp_path: Path, stack: ExitStack) -> None:
    assert start([], LISTEN_PID="", LISTEN_FDS="") == [[], [], []]
    assert start([]) == [[], [], []]


@pytest.mark.parametrize("pid", ["1", "OWN0", "", "me"])
def test_what_was_passed_to_another_process_is_left_alone(
    tmp_path: Path, stack: ExitStack, pid: str
) -> None:
    # The descriptor is still open and still inheritable; the variables are gone, so that no child
    # mistakes itself for who was meant (sd_listen_fds(3), unset_environment).
    found = start([listening(tmp_path / "a", stack)], LISTEN_PID=pid, LISTEN_FDNAMES="x")
    assert found == [[], [], [3]]


CHILD = (
    TAKE
    + """
import subprocess
seen = subprocess.run(
    ["sh", "-c", "ls /proc/self/fd; env"], close_fds=False, capture_output=True, text=True
).stdout.split("\\n")
print(json.dumps([name for name in seen if name in "3 4".split() or name.startswith("LISTEN")]))
"""
)


def test_a_child_gets_neither_the_sockets_nor_the_variables(
    tmp_path: Path, stack: ExitStack
) -> None:
    sockets = [listening(tmp_path / name, stack) for name in ("a", "b")]
    # ls itself has the directory open.
    assert start(sockets, CHILD, LISTEN_FDNAMES="x:y", LISTEN_PIDFDID="1") == ["3"]


REMOVE = (
    TAKE
    + """
(one,) = taken
accepted, _ = socket.fromfd(one.sock.fileno(), socket.AF_UNIX, socket.SOCK_STREAM).accept()
accepted.sendall(b"served")
one.remove()
print(json.dumps([os.path.exists(one.path), one.sock.fileno()]))
"""
)


def test_who_is_given_up_stays_with_systemd_and_loses_no_client(
    tmp_path: Path, stack: ExitStack
) -> None:
    path = tmp_path / "a"
    sock = listening(path, stack)
    clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
    for client in clients:
        client.connect(str(path))
    # The first start serves one, the second the next; nobody was refused.
    for client in clients[:2]:
        assert start([sock], REMOVE) == [True, -1]
        assert client.recv(10) == b"served"
    accepted, _ = sock.accept()
    accepted.close()


PLACE = (
    TAKE
    + """
(one,) = taken
seen = [one.in_place()]
os.rename(one.path, one.path + ".old")
seen.append(one.in_place())
other = socket.socket(socket.AF_UNIX)
other.bind(one.path)
seen.append(one.in_place())
try:
    one.permit(Permissions(mode=0o666))
except SocketError as error:
    seen.append(str(error).replace(one.path, "PATH"))
one.remove()
seen.append(os.path.exists(one.path))
print(json.dumps(seen))
"""
)


def test_what_somebody_has_put_in_its_place_is_noticed_and_left_alone(
    tmp_path: Path, stack: ExitStack
) -> None:
    assert start([listening(tmp_path / "a", stack)], PLACE) == [
        True,
        False,
        False,
        "cannot change who may use PATH: another file has taken its place; "
        "restart to serve there again",
        True,
    ]


def test_a_socket_whose_file_was_gone_before_is_taken_and_not_in_place(
    tmp_path: Path, stack: ExitStack
) -> None:
    path = tmp_path / "a"
    sock = listening(path, stack)
    path.unlink()
    assert start([sock]) == [[[str(path), 3, False, False]], [], []]
    (told,) = start(
        [sock],
        f"""{TAKE}
try:
    taken[0].permit(Permissions(mode=0o666))
except SocketError as error:
    print(json.dumps([str(error)]))
""",
    )
    assert told == f"cannot change who may use {path}: its file is gone; restart the socket unit"


PERMIT = (
    TAKE
    + """
(one,) = taken
like, seen = sys.argv[1], []
for permissions in (Permissions(), Permissions(mode=0o604), Permissions()):
    one.permit(permissions, like)
    seen.append(oct(stat.S_IMODE(os.stat(one.path).st_mode)))
print(json.dumps(seen))
"""
)


def test_who_may_use_it_is_as_the_socket_unit_says_unless_it_is_configured(
    tmp_path: Path, stack: ExitStack
) -> None:
    sock = listening(tmp_path / "a", stack)
    (tmp_path / "a").chmod(0o640)
    listening(tmp_path / "runtime", stack)
    (tmp_path / "runtime").chmod(0o777)
    found = start([sock], PERMIT, str(tmp_path / "runtime"))
    assert found == ["0o640", "0o604", "0o640"]


WHAT_TO_DO = "give the socket unit ListenStream= with an absolute path, and Accept=no"


def test_a_tcp_socket_is_refused(stack: ExitStack) -> None:
    sock = stack.enter_context(socket.socket())
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    assert refused(sock, LISTEN_FDNAMES="image-cri-shim.socket") == (
        f"cannot take over descriptor 3 (image-cri-shim.socket): it is no unix socket; {WHAT_TO_DO}"
    )


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_socket_of_another_type_is_refused(tmp_path: Path, stack: ExitStack, kind: int) -> None:
    sock = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
    sock.bind(str(tmp_path / "a"))
    assert refused(sock) == (f"cannot take over descriptor 3: it is no stream socket; {WHAT_TO_DO}")


def test_a_connection_is_refused(tmp_path: Path, stack: ExitStack) -> None:
    # As Accept=yes passes them.
    server = listening(tmp_path / "a", stack)
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(str(tmp_path / "a"))
    accepted = stack.enter_context(server.accept()[0])
    assert "descriptor 3: it does not listen; " in refused(accepted)


@pytest.mark.parametrize("name", ["\0image-cri-shim-test", ""])
def test_a_socket_without_a_path_is_refused(stack: ExitStack, name: str) -> None:
    sock = stack.enter_context(socket.socket(socket.AF_UNIX))
    # An empty name is one that the system chooses.
    sock.bind(f"{name}-{os.getpid()}" if name else "")
    sock.listen()
    assert "descriptor 3: it has no path; " in refused(sock)


def test_the_first_that_is_of_no_use_is_named_and_the_others_are_closed(
    tmp_path: Path, stack: ExitStack
) -> None:
    good = listening(tmp_path / "a", stack)
    bad = stack.enter_context(socket.socket())
    program = TAKE.replace(
        "left()]))", 'left(), [fd for fd in (3, 4) if os.path.exists(f"/proc/self/fd/{fd}")]]))'
    )
    told, left, still_open = start([good, bad], program, LISTEN_FDNAMES="a:b")
    assert "cannot take over descriptor 4 (b): it is no unix socket" in str(told)
    assert (left, still_open) == ([], [])


def test_more_than_was_passed_is_an_error(tmp_path: Path, stack: ExitStack) -> None:
    told = refused(listening(tmp_path / "a", stack), LISTEN_FDS="2")
    assert told == (
        "cannot take over descriptor 4, which LISTEN_FDS says was passed: Bad file descriptor"
    )


def test_what_is_no_socket_is_refused(stack: ExitStack) -> None:
    file = stack.enter_context(open(os.devnull))
    told, left = start([file])  # type: ignore[list-item]
    assert "cannot take over descriptor 3, which LISTEN_FDS says was passed: " in str(told)
    assert "Socket operation on non-socket" in str(told)
    assert left == []


@pytest.mark.parametrize("count", ["two", "-1", "1.0", "٣"])
def test_a_count_that_is_no_number_is_an_error(
    tmp_path: Path, stack: ExitStack, count: str
) -> None:
    told = refused(listening(tmp_path / "a", stack), LISTEN_FDS=count)
    assert told == f"cannot take over sockets: LISTEN_FDS is {count!r}, which is no number"


def test_a_file_that_took_the_sockets_place_is_not_taken_for_it(
    tmp_path: Path, stack: ExitStack
) -> None:
    path = tmp_path / "cri.sock"
    passed = listening(path, stack)

    def in_place() -> object:
        (paths, *_) = start([passed])
        assert isinstance(paths, list)
        return paths[0][3]

    assert in_place() is True
    path.unlink()
    assert in_place() is False
    # What a killed daemon left, that had made the socket anew.
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert in_place() is False
    path.unlink()
    path.write_text("a file")
    assert in_place() is False
    path.unlink()
    # Another program that serves there.
    program = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])\n"
    other = subprocess.Popen(
        [sys.executable, "-c", f"{program}s.listen(); print(1, flush=True); input()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline()
        assert in_place() is False
    finally:
        other.communicate(b"\n")
