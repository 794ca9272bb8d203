"""What the daemon decides about one's own pull, as it happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from image_cri_shim.cli.admin_client import AdminClient, Refused, Unreachable
from image_cri_shim.pull_record import Document, PullRecord, from_document

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_ADDRESS = "/decisions"


class PullFollower:
    """Follows the decisions from a thread, for the admin client waits.

    Nothing that goes wrong here has anything to do with the pull.

    :param client: who is asked, with little patience: the pull waits for its first answer.
    :param image: what this process is about to ask for, once.
    :param told: is called in the event loop's thread, with each change of the pull.
    :ivar document: the pull as it was told last; None if it was not.
    """

    def __init__(self, client: AdminClient, image: str, told: Callable[[PullRecord], None]) -> None:
        self.document: Document | None = None
        self._client = client
        self._image = image
        self._told = told
        self._over = asyncio.Event()
        self._ended = False

    async def begin(self) -> str:
        """Follow what happens from now on; return why that cannot be, or nothing."""
        try:
            answer = await asyncio.to_thread(self._client.get, _ADDRESS, limit=1)
            last = int(answer["last"])
        except (Unreachable, Refused) as error:
            return str(error)
        except (KeyError, TypeError, ValueError) as error:
            return f"the daemon answers what this command does not understand ({error!r})"
        loop = asyncio.get_running_loop()
        # It ends with the program, whatever it waits for.
        threading.Thread(target=self._follow, args=(loop, last), daemon=True).start()
        return ""

    async def last_word(self, seconds: float) -> None:
        """Wait until the end of the pull has been told, but no longer than so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    def end(self) -> None:
        """Follow no longer."""
        self._ended = True
        self._client.close()

    def _follow(self, loop: AbstractEventLoop, last: int) -> None:
        """Pass on what is told of the pull; in a thread of its own."""
        # The loop is closed once nobody wants to know.
        with contextlib.suppress(RuntimeError):
            with contextlib.suppress(Unreachable, Refused):
                for document in self._client.follow(_ADDRESS, after=last, follow=1):
                    if self._ended:
                        return
                    if document is not None:
                        loop.call_soon_threadsafe(self._take, document)
            loop.call_soon_threadsafe(self._over.set)

    def _take(self, document: Document) -> None:
        try:
            record = from_document(document)
        except ValueError:
            # A daemon of another version tells of its pulls in other words.
            return
        own = record.client is not None and record.client.pid == os.getpid()
        if own and record.image == self._image and not self._ended:
            self.document = document
            self._told(record)
            if record.over:
                self._over.set()
