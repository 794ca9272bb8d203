"""Answers that are written piece by piece, as fast as the client takes them and no faster."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from image_cri_shim.admin.channel import PATIENCE
from image_cri_shim.admin.request import AdminRequest
from image_cri_shim.clock import Clock, DelayedCall


@implementer(IPushProducer)
class Streaming:
    """Writes the body of an answer whose head has been set.

    A client that takes nothing for ``PATIENCE`` seconds is dropped. No more waits for it than a
    transport's buffer and one piece.

    :param take: returns the next piece; None if there is none now.
    :param endless: there may be pieces later: see ``wake``. Otherwise the first None is the end.
    :param gone: is called at the end, once, whoever ended it.
    """

    def __init__(
        self,
        request: AdminRequest,
        take: Callable[[], bytes | None],
        clock: Clock,
        *,
        endless: bool = False,
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        self._request = request
        self._take = take
        self._clock = clock
        self._endless = endless
        self._gone = gone
        self._over = False
        self._paused = False
        self._impatience: DelayedCall | None = None
        self._due: DelayedCall | None = None

    def begin(self) -> None:
        """Send the head, then whatever there is."""
        self._request.notifyFinish().addBoth(self._ended)
        self._request.registerProducer(self, True)
        self._request.write(b"")
        if self._request.channel.full:
            self.pauseProducing()
        self._pump()

    def wake(self) -> None:
        """Write what there is, soon: whoever calls this has something else to do."""
        if self._due is None and not self._over and not self._paused:
            self._due = self._clock.callLater(0, self._pump)

    def write_aside(self, piece: bytes) -> None:
        """Write something between two pieces, if the client takes anything at all."""
        if not self._over and not self._paused:
            self._request.write(piece)

    def finish(self, last: bytes = b"") -> None:
        """End the answer in good order.

        :param last: is written whether the client takes something now or not.
        """
        if not self._over:
            self._request.unregisterProducer()
            self._request.write(last)
            self._request.finish()

    def abort(self) -> None:
        """Drop the client: the answer is not whole, and it sees that."""
        if not self._over:
            self._request.channel.abort()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Wait until the client has taken something."""
        self._paused = True
        if self._impatience is None and not self._over:
            self._impatience = self._clock.callLater(PATIENCE, self._lose_patience)

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Go on."""
        self._paused = False
        _cancel(self._impatience)
        self._impatience = None
        self._pump()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Take note that the connection is lost; ``_ended`` hears of it too."""
        self._paused = True

    def _pump(self) -> None:
        _cancel(self._due)
        self._due = None
        try:
            while not self._paused and not self._over:
                piece = self._take()
                if piece is not None:
                    self._request.write(piece)
                elif self._endless:
                    return
                else:
                    self.finish()
        except Exception:  # noqa: BLE001 - whatever it is, it ends this answer and nothing else
            self._request.failed(Failure())

    def _lose_patience(self) -> None:
        self._impatience = None
        self.abort()

    def _ended(self, _outcome: object) -> None:
        if not self._over:
            self._over = True
            _cancel(self._impatience)
            self._impatience = None
            _cancel(self._due)
            self._due = None
            self._gone()


def _cancel(call: DelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()
