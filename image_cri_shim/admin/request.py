"""One request to the admin interface."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.python.failure import Failure
from twisted.web.http import Request, datetimeToString

from image_cri_shim.admin.answer import Answer, refusal

# Bytes of a request's body.
BODY_LIMIT = 64 * 1024

# No answer is kept, taken for something else, embedded, or told to other sites.
_ALWAYS = (
    (b"Server", b"image-cri-shim"),
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"X-Frame-Options", b"DENY"),
)
# For everything but the page, which says what it needs.
_POLICY = (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'")


class AdminRequest(Request):
    """A request whose body has a bound, and whose answers are ``Answer`` values.

    :ivar gone: whether the connection is lost, or the answer has been given.
    :ivar too_large: whether the body was longer than ``BODY_LIMIT``; the rest of it is ignored.
    """

    # Any: an AdminChannel and a file; Twisted says less.
    channel: Any
    content: Any

    def __init__(self, channel: Any, *args: Any, **kw: Any) -> None:
        super().__init__(channel, *args, **kw)
        self.gone = False
        self.too_large = False

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002, N802 - Twisted's name
        """Keep the body in memory; Twisted makes a file of what is longer."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take no more of the body than may be."""
        if self.content.tell() + len(data) > BODY_LIMIT:
            self.too_large = True
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """Leave the body as it is: there are no forms here."""
        self.requestHeaders.removeHeader(b"Content-Type")
        self.notifyFinish().addBoth(self._over)
        super().requestReceived(command, path, version)

    def _over(self, _outcome: object) -> None:
        self.gone = True

    @property
    def body(self) -> bytes:
        """The body."""
        self.content.seek(0)
        return bytes(self.content.read())

    def head(self, code: int, kind: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """Say how the answer begins; nothing is sent yet."""
        self.setResponseCode(code)
        date = (b"Date", datetimeToString())
        for name, value in (*_ALWAYS, _POLICY, date, (b"Content-Type", kind), *headers):
            self.responseHeaders.setRawHeaders(name, [value])
        if self.too_large:
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            self.channel.persistent = 0

    def give(self, answer: Answer) -> None:
        """Give the whole answer, if anybody still waits for it."""
        if self.gone:
            return
        self.head(answer.code, answer.kind, answer.headers)
        self.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(answer.body)])
        # For HEAD, Twisted sends no body.
        self.write(answer.body)
        self.finish()

    def process(self) -> None:
        """Answer, now or later."""
        self.channel.site.answer(self)

    def failed(self, reason: Failure) -> None:
        """Answer that something went wrong, without saying what is for the log alone."""
        self.channel.site.failed(self, reason)
        if not self.gone and not self.startedWriting:
            self.give(refusal(500, "something went wrong here; the daemon's log says what"))
        else:
            self.channel.abort()
