"""Writing lines to a descriptor that nobody may read: it never waits, and keeps only so much."""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeAlias

# Bytes that wait until they are taken.
LIMIT = 1024 * 1024
# Seconds that are waited at the end of the program, and between two tries.
PATIENCE = 1.0
_GLANCE = 0.01

# Writes what can be written at once, and returns how much that was.
Writer: TypeAlias = Callable[[bytes], int]


class Outlet:
    """Writes lines to a descriptor; what is not taken at once waits, and the oldest is dropped.

    :param descriptor: a pipe, a terminal, a socket or a file. How it is open stays as it is, for
        other programs may have it too.
    :param lost: returns the line that says how many lines were dropped.
    :param limit: how many bytes may wait.
    :ivar dropped: how many lines were dropped, in all.
    """

    def __init__(self, descriptor: int, lost: Callable[[int], bytes], limit: int = LIMIT) -> None:
        self._owned = ExitStack()
        self._writer = writer(descriptor, self._owned)
        self.dropped = 0
        self._lost_line = lost
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        self._size = 0
        # Whether the first that waits is the rest of a line.
        self._begun = False
        self._lost = 0
        self._hopeless = False
        self._flushing = False
        # Threads of libraries may log. The same thread may come again in the middle of this, from a
        # signal's handler or when garbage is collected that logs.
        self._lock = threading.RLock()

    def write(self, line: bytes) -> None:
        """Write a line, now or later."""
        with self._lock:
            self._waiting.append(line)
            self._size += len(line)
            self.flush()
            # In the middle of writing, what is first must stay.
            full = self._limit if not self._flushing else math.inf
            while self._size > full and len(self._waiting) > 1 + self._begun:
                self._size -= len(self._waiting[self._begun])
                del self._waiting[self._begun]
                self._lost += 1
                self.dropped += 1

    def flush(self) -> bool:
        """Write what is taken now; return whether nothing waits any longer."""
        with self._lock:
            if self._flushing:
                # What has come meanwhile is written by the loop that is under way.
                return False
            self._flushing = True
            try:
                return self._flush()
            finally:
                self._flushing = False

    def finish(
        self,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Give what waits some seconds to be taken, at the end of the program."""
        until = clock() + patience
        while not self.flush() and not self._hopeless and clock() < until:
            sleep(_GLANCE)

    def close(self) -> None:
        """Give back what was opened; nothing is written any more."""
        self._owned.close()

    def _flush(self) -> bool:
        while self._waiting:
            if self._lost and not self._begun:
                notice = self._lost_line(self._lost)
                taken = self._take(notice)
                if not taken:
                    return False
                self._lost = 0
                self._put_back(notice[taken:])
                continue
            line = self._waiting[0]
            taken = self._take(line)
            if not taken:
                return False
            self._waiting.popleft()
            self._size -= len(line)
            self._put_back(line[taken:])
        return True

    def _put_back(self, rest: bytes) -> None:
        self._begun = bool(rest)
        if rest:
            self._waiting.appendleft(rest)
            self._size += len(rest)

    def _take(self, data: bytes) -> int:
        """Write the beginning of ``data``; return how much, 0 if nothing can be written now."""
        try:
            taken = self._writer(data)
        except (InterruptedError, BlockingIOError):
            taken = 0
        except OSError as error:
            # A full disk may have room again, and a named pipe a reader; at the end of the program
            # nobody waits for that.
            self._hopeless = error.errno != errno.EAGAIN
            return 0
        self._hopeless = False
        return taken


def writer(descriptor: int, owned: ExitStack) -> Writer:
    """Return what writes to a descriptor without waiting.

    :param owned: closes what was opened for it.
    :raises OSError: it is closed.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        # Not non-blocking as a whole: that would hold for everybody who has this socket.
        sender = owned.enter_context(socket.socket(fileno=os.dup(descriptor)))
        return lambda data: sender.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    if not stat.S_ISFIFO(mode) and not os.isatty(descriptor):
        return lambda data: os.write(descriptor, data)
    try:
        # Opened once more it can be non-blocking for us alone (proc_pid_fd(5), open(2)).
        again = f"/proc/self/fd/{descriptor}"
        own = os.open(again, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        # It is somebody else's, or /proc is not there.
        return _careful(descriptor)
    owned.callback(os.close, own)
    return lambda data: os.write(own, data)


def _careful(descriptor: int) -> Writer:
    """Return what writes as much as a pipe is sure to take when it takes anything (pipe(7))."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)

    def write(data: bytes) -> int:
        return os.write(descriptor, data[: select.PIPE_BUF]) if poll.poll(0) else 0

    return write
