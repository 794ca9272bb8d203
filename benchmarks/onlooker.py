"""Somebody who looks at a daemon all the time, and makes it pull: what is seen must be made."""

from __future__ import annotations

import multiprocessing
import threading
from multiprocessing.synchronize import Event
from types import TracebackType
from typing import Self

from benchmarks.cases import pull_image
from benchmarks.load import Connection, drive
from tests.support import admin_client

PATHS = ("/metrics", "/status", "/", "/decisions", "/readyz")
# Seconds between two looks: every page and every Prometheus of a busy operator together.
PAUSE = 1.0
# How long anybody waits for an answer, in seconds.
_PATIENCE = 30.0


class Onlooker:
    """Looks at one thing each second, pulls an image as often, and follows the decisions.

    It is a process of its own, so that it takes no time of those who measure in this one.

    :param admin: the path of the admin socket.
    :param cri: the path of the CRI socket.
    :param image: what is pulled.
    :param pause: seconds between two looks.
    """

    def __init__(self, admin: str, cri: str, image: str, pause: float = PAUSE) -> None:
        made = multiprocessing.get_context("spawn")
        self._over = made.Event()
        self._seen = made.Queue()
        ends = {"over": self._over, "seen": self._seen}
        self._process = made.Process(target=_look_on, args=(admin, cri, image, pause), kwargs=ends)
        self.looks = 0
        self.followed = 0

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Look no longer, and count what was seen.

        :raises RuntimeError: it ended before, or something was not answered.
        """
        if not self._over.is_set():
            self._over.set()
            self._process.join(2 * _PATIENCE)
            if self._process.exitcode != 0:
                self._process.kill()
                raise RuntimeError("somebody who looked at the shim was not answered")
            self.looks, self.followed = self._seen.get(timeout=_PATIENCE)


def _look_on(
    admin: str,
    cri: str,
    image: str,
    pause: float,
    *,
    over: Event,
    seen: multiprocessing.Queue[tuple[int, int]],
) -> None:
    lines: list[bytes] = []
    following = admin_client.Connection(admin, _PATIENCE)
    following.request("GET", "/decisions?follow=1")
    answer = following.getresponse()
    threading.Thread(target=lambda: lines.extend(answer), daemon=True).start()
    looks = 0
    with Connection(cri, pull_image(image)) as pulling:
        while not over.wait(pause):
            path = PATHS[looks % len(PATHS)]
            status, _ = admin_client.ask(admin, path)
            if status != 200:
                raise RuntimeError(f"GET {path}: {status}")
            drive(pulling, count=1)
            looks += 1
    seen.put((looks, len(lines)))
