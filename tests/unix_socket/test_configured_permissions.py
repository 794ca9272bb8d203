"""The mode, the owner and the group that the configuration gives to the socket."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from image_cri_shim.unix_socket import Permissions, SocketError, check, listen
from tests.unix_socket.sockets import (
    NOBODY,
    child,
    leave_stale,
    mode,
    names,
    needs_root,
    umask,
    without_privileges,
)


def refused(path: Path, permissions: Permissions, like: str | None = None) -> str:
    with pytest.raises(SocketError) as caught:
        listen(str(path), like, permissions)
    return str(caught.value)


@pytest.mark.parametrize("mask", [0, 0o077])
@pytest.mark.parametrize("wanted", [0o600, 0o660, 0o666, 0o606])
def test_the_configured_mode_wins_over_the_runtimes(
    tmp_path: Path, stack: ExitStack, wanted: int, mask: int
) -> None:
    like = tmp_path / "runtime"
    leave_stale(like)
    like.chmod(0o640)
    with umask(mask):
        listener = listen(str(tmp_path / "s"), str(like), Permissions(mode=wanted))
    stack.callback(listener.remove)
    assert mode(tmp_path / "s") == wanted


@needs_root
def test_owner_and_group_are_given_by_number_though_nobody_has_them(
    tmp_path: Path, stack: ExitStack
) -> None:
    permissions = Permissions(owner="54321", group="65432")
    stack.callback(listen(str(tmp_path / "s"), None, permissions).remove)
    status = (tmp_path / "s").stat()
    assert (status.st_uid, status.st_gid) == (54321, 65432)


@needs_root
def test_owner_and_group_are_given_by_name(tmp_path: Path, stack: ExitStack) -> None:
    user, group = pwd.getpwuid(1), grp.getgrgid(2)
    permissions = Permissions(owner=user.pw_name, group=group.gr_name)
    stack.callback(listen(str(tmp_path / "s"), None, permissions).remove)
    status = (tmp_path / "s").stat()
    assert (status.st_uid, status.st_gid) == (1, 2)


@needs_root
def test_each_that_is_not_configured_is_the_runtimes(tmp_path: Path, stack: ExitStack) -> None:
    like = tmp_path / "runtime"
    leave_stale(like)
    like.chmod(0o606)
    os.chown(like, 77, 88)
    for number, (permissions, expected) in enumerate(
        [
            (Permissions(), (0o606, 77, 88)),
            (Permissions(mode=0o600), (0o600, 77, 88)),
            (Permissions(owner="5"), (0o606, 5, 88)),
            (Permissions(group="6"), (0o606, 77, 6)),
        ]
    ):
        path = tmp_path / f"s{number}"
        stack.callback(listen(str(path), str(like), permissions).remove)
        status = path.stat()
        assert (mode(path), status.st_uid, status.st_gid) == expected


@pytest.mark.parametrize(
    ("permissions", "clause"),
    [
        (
            Permissions(owner="no-such-user"),
            "there is no user 'no-such-user' on this machine (`shimOwner`); create it, or set "
            "`shimOwner` to another name or a number",
        ),
        (
            Permissions(group="no such\ngroup"),
            r"there is no group 'no such\ngroup' on this machine (`shimGroup`); create it, or set "
            "`shimGroup` to another name or a number",
        ),
        (
            Permissions(owner="-1"),
            "there is no user '-1' on this machine (`shimOwner`); create it, or set "
            "`shimOwner` to another name or a number",
        ),
        (
            Permissions(group="4294967295"),
            "4294967295 is no group's number (`shimGroup`); the largest is 4294967294",
        ),
    ],
)
def test_a_name_that_means_nobody_is_refused_in_advance(
    tmp_path: Path, permissions: Permissions, clause: str
) -> None:
    path = tmp_path / "below" / "s"
    assert refused(path, permissions) == f"cannot serve {path}: {clause}"
    with pytest.raises(SocketError) as foretold:
        check(str(path), permissions)
    assert str(foretold.value) == f"cannot serve {path}: {clause}"
    assert names(tmp_path) == []


@needs_root
@pytest.mark.parametrize(
    ("permissions", "what", "key"),
    [
        (Permissions(owner="0"), "user 0", "shimOwner"),
        (Permissions(group="54321"), "group 54321", "shimGroup"),
    ],
)
def test_who_is_not_root_is_told_what_may_not_be_given(
    everybodys: Path, permissions: Permissions, what: str, key: str
) -> None:
    path = everybodys / "s"
    with without_privileges():
        leave_stale(path)
        told = refused(path, permissions)
    assert told == (
        f"cannot serve {path}: it may not be given to the {what} (`{key}`): operation not "
        f"permitted; start as root with CAP_CHOWN, or leave `{key}` out"
    )
    assert names(everybodys) == ["s"]


def test_who_is_not_root_may_configure_what_they_are(everybodys: Path, stack: ExitStack) -> None:
    with without_privileges():
        permissions = Permissions(owner=str(os.geteuid()), group=str(os.getegid()))
        stack.callback(listen(str(everybodys / "s"), None, permissions).remove)
    assert (everybodys / "s").is_socket()


@needs_root
def test_who_is_not_root_takes_of_the_runtimes_socket_what_may_be_taken(
    everybodys: Path, stack: ExitStack
) -> None:
    like = everybodys / "runtime"
    leave_stale(like)
    like.chmod(0o640)
    os.chown(like, 0, 77)
    with without_privileges():
        stack.callback(listen(str(everybodys / "s"), str(like)).remove)
    status = (everybodys / "s").stat()
    assert (mode(everybodys / "s"), status.st_uid) == (0o640, NOBODY)


UNPRIVILEGED = """
import json, os, stat, sys
from image_cri_shim.unix_socket import listen

directory, like = sys.argv[1:]
# A service's user whose unit has SupplementaryGroups=.
os.setgroups([77])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
listen(os.path.join(directory, "s"), like)
status = os.stat(os.path.join(directory, "s"))
print(json.dumps([stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid]))
"""


@needs_root
def test_the_runtimes_group_is_given_by_whoever_is_in_it(everybodys: Path) -> None:
    like = everybodys / "runtime"
    leave_stale(like)
    like.chmod(0o660)
    os.chown(like, 0, 77)
    assert json.loads(child(UNPRIVILEGED, everybodys, like)) == [0o660, NOBODY, 77]


@needs_root
def test_the_power_to_give_away_is_enough_to_take_back(tmp_path: Path) -> None:
    # As the hardened unit has it: of root's powers CAP_CHOWN alone.
    script = """
import os, stat, sys
from image_cri_shim.unix_socket import Permissions, listen
listener = listen(sys.argv[1], None, Permissions(0o600, "nobody", None))
def show():
    status = os.stat(sys.argv[1])
    print(oct(stat.S_IMODE(status.st_mode)), status.st_uid)
show()
listener.permit(Permissions(0o660, "nobody", None))
show()
listener.permit(Permissions(0o640, None, None))
show()
listener.remove()
"""
    only = ("setpriv", "--bounding-set", "-all,+chown", "--inh-caps", "-all")
    ended = subprocess.run(
        [*only, sys.executable, "-c", script, str(tmp_path / "a.sock")],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (ended.stdout, ended.stderr) == ("0o600 65534\n0o660 65534\n0o640 0\n", "")
