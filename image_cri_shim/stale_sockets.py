"""Takes away the sockets that dead programs have left, and nothing else."""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator

import attrs

from image_cri_shim.socket_state import SocketState, identity, is_bound, probe

# Seconds between the first and the last question to a socket.
PAUSE = 0.2
# What a socket is called between being taken away and being removed: the cleaner's process id, and
# the socket's own name.
_TAKEN = re.compile(r"\.([0-9]+)\.stale\.(.+)", re.DOTALL)


class Outcome(enum.Enum):
    """What became of a socket."""

    ABSENT = "absent"
    DANGLING = "a link to nothing, left alone"
    FOREIGN = "not a socket, left alone"
    LIVE = "live, left alone"
    BOUND = "about to be served, left alone"
    REPLACED = "another has taken its place, left alone"
    WOULD_BE_REMOVED = "stale, would be removed"
    REMOVED = "stale, removed"
    # Somebody else has removed it meanwhile.
    GONE = "stale, gone"
    NOT_REMOVED = "stale, cannot be removed"
    UNKNOWN = "cannot be examined"


_OUTCOMES = {
    SocketState.ABSENT: Outcome.ABSENT,
    SocketState.FOREIGN: Outcome.FOREIGN,
    SocketState.LIVE: Outcome.LIVE,
    SocketState.BOUND: Outcome.BOUND,
}


@attrs.frozen
class Cleaned:
    """What was found at a path, and what was done about it.

    :ivar path: as it was given.
    :ivar target: where it leads; the same unless it is a symbolic link.
    :ivar reason: the system's, if something failed; else empty.
    """

    path: str
    outcome: Outcome
    target: str
    reason: str = ""

    @property
    def failed(self) -> bool:
        """Whether a stale socket may be left."""
        return self.outcome in (Outcome.NOT_REMOVED, Outcome.UNKNOWN)

    def __str__(self) -> str:
        """Write ``PATH[ -> TARGET]: OUTCOME[: REASON]``."""
        where = self.path if self.path == self.target else f"{self.path} -> {self.target}"
        return ": ".join(part for part in (where, self.outcome.value, self.reason) if part)


def clean(
    paths: Iterable[str], pause: Callable[[float], None], *, dry_run: bool = False
) -> tuple[Cleaned, ...]:
    """Remove stale sockets.

    Every socket is asked before and after a pause, which is one for all of them, and must be the
    same file all the time. A socket that a program has bound without listening yet is not stale:
    the program is starting.

    :param pause: waits for as many seconds.
    :param dry_run: remove nothing.
    :returns: what became of each path, in their order.
    """
    found = [_Path.look(path, dry_run=dry_run) for path in paths]
    if any(one.outcome is None for one in found):
        pause(PAUSE)
    return tuple(one.remove(dry_run=dry_run) for one in found)


@attrs.frozen
class _Path:
    """What stood at a path at first.

    :ivar inode: the stale socket's, if it is one.
    :ivar outcome: what there is to say; None of a stale socket.
    """

    path: str
    target: str
    inode: tuple[int, int] = (0, 0)
    outcome: Outcome | None = None
    reason: str = ""

    @classmethod
    def look(cls, path: str, *, dry_run: bool) -> _Path:
        """Find out what stands there."""
        # Of a link, the socket is removed in the directory that it is in.
        target = os.path.realpath(path) if os.path.islink(path) else path
        try:
            with _directory(target) as directory:
                if not dry_run:
                    _restore(os.path.basename(target), directory)
                inode = identity(os.path.basename(target), directory)
                state = probe(_address(target, directory))
        except (FileNotFoundError, NotADirectoryError):
            return cls(path, target, outcome=Outcome.DANGLING if path != target else Outcome.ABSENT)
        except OSError as error:
            if error.errno == errno.ELOOP:
                return cls(path, path, outcome=Outcome.DANGLING)
            return cls(path, target, outcome=Outcome.UNKNOWN, reason=_reason(error))
        return cls(path, target, inode, _OUTCOMES.get(state))

    def remove(self, *, dry_run: bool) -> Cleaned:
        """Remove it if it is still stale."""
        outcome, reason = self.outcome, self.reason
        if outcome is None:
            outcome = Outcome.NOT_REMOVED
            try:
                with _directory(self.target) as directory:
                    outcome = self._remove(directory, dry_run=dry_run)
            except FileNotFoundError:
                outcome = Outcome.GONE
            except OSError as error:
                reason = _reason(error)
        return Cleaned(self.path, outcome, self.target, reason)

    def _remove(self, directory: int, *, dry_run: bool) -> Outcome:
        name = os.path.basename(self.target)
        state = probe(_address(self.target, directory))
        if state is SocketState.ABSENT:
            return Outcome.GONE
        if state is not SocketState.STALE:
            return _OUTCOMES[state]
        if identity(name, directory) != self.inode:
            return Outcome.REPLACED
        if dry_run:
            return Outcome.WOULD_BE_REMOVED
        # Another socket may take its place just now, and unlink(2) cannot be told which one is
        # meant. So it is first given a name that nobody else uses, where there is time to look.
        # In the same directory, so that one that is put back is as it was (SELinux).
        taken = f".{os.getpid()}.stale.{name}"
        os.rename(name, taken, src_dir_fd=directory, dst_dir_fd=directory)
        if identity(taken, directory) != self.inode:
            outcome = Outcome.REPLACED
        elif _is_used(taken, name, directory):
            # The same number, but another file: some file systems give it out again.
            outcome = Outcome.LIVE
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(taken, dir_fd=directory)
            return Outcome.REMOVED
        _put_back(taken, name, directory)
        return outcome


@contextlib.contextmanager
def _directory(path: str) -> Iterator[int]:
    """Open the directory that a file is in, so that it stays the same one."""
    parent = os.path.dirname(path) or "."
    directory = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield directory
    finally:
        os.close(directory)


def _address(path: str, directory: int) -> str:
    """Return a short way to a file in an open directory: a socket's path may have 107 bytes."""
    return f"/proc/self/fd/{directory}/{os.path.basename(path)}"


def _is_used(taken: str, name: str, directory: int) -> bool:
    """Tell whether somebody serves a socket that was taken away from its name, or is about to."""
    if is_bound(name, os.lstat(taken, dir_fd=directory)):
        return True
    return probe(_address(taken, directory)) is not SocketState.STALE


def _put_back(taken: str, name: str, directory: int) -> None:
    """Give a file its name back, unless a third one has that by now."""
    try:
        os.link(taken, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        # Whoever made that had found the place empty, or would have removed this one.
        pass
    except FileNotFoundError:
        return
    except OSError:
        # Not every file system has links, and not everybody may make them.
        os.rename(taken, name, src_dir_fd=directory, dst_dir_fd=directory)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(taken, dir_fd=directory)


def _restore(name: str, directory: int) -> None:
    """Finish what a cleaner that was killed had begun."""
    try:
        # Through what only leads there: a directory may be passed through and not be read.
        entries = os.listdir(f"/proc/self/fd/{directory}")
    except PermissionError:
        return
    for entry in entries:
        match = _TAKEN.fullmatch(entry)
        if match is None or match[2] != name or _is_running(int(match[1])):
            continue
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(entry, dir_fd=directory).st_mode):
                continue
            if _is_used(entry, name, directory):
                _put_back(entry, name, directory)
            else:
                os.unlink(entry, dir_fd=directory)


def _is_running(pid: int) -> bool:
    """Tell whether another process may be the one of that number."""
    return pid != os.getpid() and os.path.exists(f"/proc/{pid}")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
