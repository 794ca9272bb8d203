"""Whether a socket is still where it was made, and who may use it from now on."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from image_cri_shim.unix_socket import Listener, Permissions, SocketError, listen
from tests.unix_socket.sockets import (
    NOBODY,
    accepts,
    child,
    leave_stale,
    mode,
    names,
    needs_root,
    serve,
    umask,
    without_privileges,
)


@pytest.fixture
def listener(tmp_path: Path, stack: ExitStack) -> Listener:
    listener = listen(str(tmp_path / "run" / "s"))
    stack.callback(listener.remove)
    return listener


def owners(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_uid, status.st_gid


def test_a_socket_is_in_place_from_the_beginning(listener: Listener) -> None:
    assert listener.in_place()


def test_it_is_in_place_through_a_link_to_its_directory(tmp_path: Path, stack: ExitStack) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    listener = listen(str(tmp_path / "link" / "s"))
    stack.callback(listener.remove)
    assert listener.in_place()
    (tmp_path / "link").unlink()
    assert not listener.in_place()


def test_a_socket_that_was_removed_is_not_in_place(listener: Listener) -> None:
    Path(listener.path).unlink()
    assert not listener.in_place()


@pytest.mark.parametrize("replace", [leave_stale, Path.mkdir, Path.touch])
def test_a_socket_that_was_replaced_is_not_in_place(listener: Listener, replace: object) -> None:
    Path(listener.path).unlink()
    replace(Path(listener.path))  # type: ignore[operator]
    assert not listener.in_place()


def test_a_socket_whose_directory_was_replaced_is_not_in_place(listener: Listener) -> None:
    directory = Path(listener.path).parent
    directory.rename(directory.with_name("old"))
    assert not listener.in_place()
    directory.mkdir()
    assert not listener.in_place()
    directory.rmdir()
    directory.with_name("old").rename(directory)
    assert listener.in_place()


def test_a_socket_that_was_renamed_is_not_in_place_and_its_new_name_stays(
    listener: Listener,
) -> None:
    path = Path(listener.path)
    path.rename(path.with_name("moved"))
    assert not listener.in_place()
    assert accepts(path.with_name("moved"))


@pytest.mark.parametrize("wanted", [0o600, 0o666, 0o660, 0o622])
def test_the_mode_is_changed_in_place_whatever_the_umask(listener: Listener, wanted: int) -> None:
    inode = os.stat(listener.path).st_ino
    with umask(0o077):
        listener.permit(Permissions(mode=wanted))
    assert mode(Path(listener.path)) == wanted
    assert os.stat(listener.path).st_ino == inode
    assert listener.in_place()
    assert accepts(listener.path)


def test_what_is_no_longer_configured_is_as_the_runtimes_again(
    listener: Listener, tmp_path: Path
) -> None:
    like = tmp_path / "runtime"
    leave_stale(like)
    like.chmod(0o604)
    listener.permit(Permissions(mode=0o666), str(like))
    assert mode(Path(listener.path)) == 0o666
    listener.permit(Permissions(), str(like))
    assert mode(Path(listener.path)) == 0o604
    # And without a runtime the default.
    listener.permit(Permissions(), str(tmp_path / "absent"))
    assert mode(Path(listener.path)) == 0o660


@needs_root
def test_owner_and_group_are_changed_in_place_and_back(listener: Listener, tmp_path: Path) -> None:
    native = owners(listener.path)
    listener.permit(Permissions(owner="1234", group="4321"))
    assert owners(listener.path) == (1234, 4321)
    like = tmp_path / "runtime"
    leave_stale(like)
    os.chown(like, 77, 88)
    listener.permit(Permissions(owner="1234"), str(like))
    assert owners(listener.path) == (1234, 88)
    listener.permit(Permissions())
    assert owners(listener.path) == native


def test_an_unknown_name_is_refused_and_nothing_changes(listener: Listener) -> None:
    with pytest.raises(SocketError) as caught:
        listener.permit(Permissions(mode=0o666, group="no-such-group"))
    assert str(caught.value) == (
        f"cannot change who may use {listener.path}: there is no group 'no-such-group' on this "
        "machine (`shimGroup`); create it, or set `shimGroup` to another name or a number"
    )
    assert mode(Path(listener.path)) == 0o660


@needs_root
def test_what_may_not_be_given_is_refused_and_nothing_changes(
    everybodys: Path, stack: ExitStack
) -> None:
    with without_privileges():
        listener = listen(str(everybodys / "s"))
        stack.callback(listener.remove)
        before = owners(listener.path)
        with pytest.raises(SocketError) as caught:
            listener.permit(Permissions(mode=0o606, owner="0"))
    assert str(caught.value) == (
        f"cannot change who may use {listener.path}: it may not be given to the user 0 "
        "(`shimOwner`): operation not permitted; start as root with CAP_CHOWN, or leave "
        "`shimOwner` out"
    )
    assert mode(Path(listener.path)) == 0o660
    assert owners(listener.path) == before
    assert before[0] == NOBODY


def test_another_programs_socket_at_the_path_is_never_changed(
    listener: Listener, stack: ExitStack
) -> None:
    path = Path(listener.path)
    path.unlink()
    serve(path, stack)
    path.chmod(0o640)
    with pytest.raises(SocketError, match="another file has taken its place; restart"):
        listener.permit(Permissions(mode=0o666))
    assert mode(path) == 0o640


def test_a_socket_that_is_gone_cannot_be_changed_and_that_is_said(listener: Listener) -> None:
    Path(listener.path).unlink()
    with pytest.raises(SocketError) as caught:
        listener.permit(Permissions(mode=0o666))
    assert str(caught.value) == (
        f"cannot change who may use {listener.path}: No such file or directory ({listener.path})"
    )
    assert names(Path(listener.path).parent) == ["s.lock"]


WIDER = """
import json, os, stat, sys
from image_cri_shim.unix_socket import Permissions, listen

path, seen = sys.argv[1], []
listener = listen(path, None, Permissions(mode=0o620, owner="1234", group="4321"))

def watch(event, arguments):
    if event in ("os.chmod", "os.chown"):
        status = os.stat(path)
        seen.append([stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid])

sys.addaudithook(watch)
listener.permit(Permissions(mode=0o602, owner="1234", group="99"))
print(json.dumps(seen))
"""


@needs_root
def test_meanwhile_nobody_may_use_it_who_may_neither_before_nor_after(tmp_path: Path) -> None:
    seen = json.loads(child(WIDER, tmp_path / "s"))
    # Narrowed to what both have, then given to the other group, then opened.
    assert seen == [[0o620, 1234, 4321], [0o600, 1234, 4321], [0o600, 1234, 99]]


HALF_WAY = """
import json, os, stat, sys
from image_cri_shim.unix_socket import Permissions, SocketError, listen

path = os.path.join(sys.argv[1], "s")
os.setgroups([77])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
listener = listen(path)
try:
    # The group may be given, and then the user may not.
    listener.permit(Permissions(mode=0o606, owner="0", group="77"))
except SocketError as error:
    status = os.stat(path)
    print(json.dumps([str(error), stat.S_IMODE(status.st_mode), status.st_gid]))
"""


@needs_root
def test_what_fails_half_way_is_taken_back(everybodys: Path) -> None:
    told, permissions, group = json.loads(child(HALF_WAY, everybodys))
    assert "it may not be given to the user 0" in told
    assert (permissions, group) == (0o660, NOBODY)
