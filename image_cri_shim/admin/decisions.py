"""What was decided about pulls: once, or followed as it happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast
from urllib.parse import parse_qsl

import attrs
from twisted.internet.task import LoopingCall

from image_cri_shim.admin.answer import compact, shown
from image_cri_shim.admin.backend import BadRequest
from image_cri_shim.admin.request import AdminRequest
from image_cri_shim.admin.streaming import Streaming
from image_cri_shim.clock import Clock
from image_cri_shim.pull_book import Event, PullBook
from image_cri_shim.pull_record import PullRecord, as_document

# Seconds between two signs of life to who follows; 15 are promised.
_HEARTBEAT = 10.0
# Changes that wait for one who follows; whoever is further behind is dropped.
BACKLOG = 1000
_PATTERN_LIMIT = 1000
_NUMBER_DIGITS = 12
_FIELDS = ("after", "image", "limit", "follow")


@attrs.frozen
class Question:
    """Which decisions are asked for.

    :ivar after: only of pulls with a greater number.
    :ivar image: a pattern that the image asked for matches; empty for all.
    :ivar limit: the last so many; None for all that are known.
    :ivar follow: go on with what happens from then on, to any pull whose image matches.
    """

    after: int = 0
    image: str = ""
    limit: int | None = None
    follow: bool = False

    @classmethod
    def parse(cls, query: bytes) -> Question:
        """Return what an address says after its question mark.

        :raises BadRequest: it makes no sense.
        """
        given: dict[str, str] = {}
        for name, value in parse_qsl(
            query.decode("ascii", "replace"), keep_blank_values=True, errors="replace"
        ):
            if name not in _FIELDS:
                raise BadRequest(f"there is no {shown(name.encode())}; there are: {_LISTED}")
            if name in given:
                raise BadRequest(f"{name} is there twice")
            given[name] = value
        if len(given.get("image", "")) > _PATTERN_LIMIT:
            raise BadRequest(f"image is longer than {_PATTERN_LIMIT} characters")
        follow = given.get("follow", "0")
        if follow not in ("0", "1"):
            raise BadRequest("follow is 1 or 0")
        return cls(
            after=_number(given, "after") or 0,
            image=given.get("image", ""),
            limit=_number(given, "limit"),
            follow=follow == "1",
        )

    def matches(self, record: PullRecord) -> bool:
        """Tell whether a pull is of an image that is asked for."""
        return not self.image or fnmatchcase(record.image, self.image)

    def answer(self, book: PullBook) -> Sequence[PullRecord]:
        """Return what there is, oldest first."""
        found = [one for one in book.recent if one.number > self.after and self.matches(one)]
        return found if self.limit is None else found[len(found) - min(self.limit, len(found)) :]


_LISTED = ", ".join(_FIELDS)
_TOO_SLOW = (
    compact({"error": f"this was read too slowly: {BACKLOG} changes were waiting; ask again"})
    + b"\n"
)


def _number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _NUMBER_DIGITS):
        raise BadRequest(f"{name} is a whole number, not {shown(text.encode()) or 'nothing'}")
    return int(text)


def as_pieces(
    records: Sequence[PullRecord], last: int, now: Callable[[], float]
) -> Iterator[bytes]:
    """Yield the JSON document that has all of these records."""
    yield b'{"decisions":['
    for index, record in enumerate(records):
        yield (b",\n" if index else b"\n") + compact(as_document(record, now()))
    yield b'\n],"last":%d}\n' % last


class Follower:
    """One client that is told of pulls as they go on.

    :param now: returns the seconds since 1970.
    :param gone: is called when it follows no longer.
    """

    def __init__(
        self,
        request: AdminRequest,
        question: Question,
        book: PullBook,
        clock: Clock,
        *,
        now: Callable[[], float],
        gone: Callable[[Follower], None],
    ) -> None:
        self._question = question
        self._now = now
        self._report_gone = gone
        # What is known is no burden: the book holds it too.
        self._known = deque(question.answer(book))
        self._changes: deque[PullRecord] = deque()
        self._stream = Streaming(request, self._take, clock, endless=True, gone=self._gone)
        self._unwatch = book.watch(self._changed)
        self._heart = LoopingCall(self._stream.write_aside, b"\n")
        self._heart.clock = cast("Any", clock)

    def begin(self) -> None:
        """Send what there is, and go on."""
        self._heart.start(_HEARTBEAT, now=False)
        self._stream.begin()

    def end(self) -> None:
        """Send no more: the daemon stops, or this interface does."""
        self._stream.finish()

    def _changed(self, _event: Event, record: PullRecord) -> None:
        # In the middle of somebody's pull: whatever costs time comes later.
        if len(self._changes) >= BACKLOG:
            # It may hear that when it reads what has been sent already.
            self._stream.finish(_TOO_SLOW)
        else:
            self._changes.append(record)
            self._stream.wake()

    def _take(self) -> bytes | None:
        if self._known:
            return self._written(self._known.popleft())
        while self._changes:
            record = self._changes.popleft()
            if self._question.matches(record):
                return self._written(record)
        return None

    def _written(self, record: PullRecord) -> bytes:
        return compact(as_document(record, self._now())) + b"\n"

    def _gone(self) -> None:
        self._unwatch()
        if self._heart.running:
            self._heart.stop()
        self._report_gone(self)
