"""What is at which address of the admin interface."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from image_cri_shim.admin.answer import (
    HTML,
    JSON,
    LINES_OF_JSON,
    Answer,
    document,
    refusal,
    shown,
    text,
)
from image_cri_shim.admin.backend import Backend, BadRequest, NotKnown
from image_cri_shim.admin.decisions import Follower, Question, as_pieces
from image_cri_shim.admin.request import BODY_LIMIT, AdminRequest
from image_cri_shim.admin.streaming import Streaming
from image_cri_shim.clock import Clock

# Who follows the pulls at a time; others must have a connection too.
FOLLOWER_LIMIT = 16
_METRICS_LIBRARY = "prometheus_client"

# Returns the answer; None if the handler gives it by itself.
Handler: TypeAlias = Callable[[AdminRequest], "Answer | Deferred[Answer] | None"]


class Addresses:
    """All addresses, and what answers there.

    :param read_only: there is nothing but what GET gets.
    :param is_ours: tells whether a request's Host headers are acceptable; None if all are.
    :param now: returns the seconds since 1970.
    """

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        *,
        read_only: bool,
        is_ours: Callable[[Sequence[bytes]], bool] | None,
        now: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._is_ours = is_ours
        self._now = now
        self._followers: dict[Follower, None] = {}
        self._get: dict[bytes, Handler] = {
            b"/": self._page,
            b"/healthz": self._healthz,
            b"/readyz": self._readyz,
            b"/status": self._status,
            b"/metrics": self._metrics,
            b"/decisions": self._decisions,
        }
        self._post: dict[bytes, Handler] = {
            b"/reload": self._reload,
            b"/flush": self._flush,
            b"/log-levels": self._log_levels,
        }
        if read_only:
            self._post = {}

    def leave(self) -> None:
        """End what goes on for ever."""
        for follower in tuple(self._followers):
            follower.end()

    def answer(self, request: AdminRequest) -> None:
        """Answer a request, now or later."""
        answer = self._refused(request)
        if answer is not None:
            request.give(answer)
            return
        handlers = self._post if request.method == b"POST" else self._get
        # Any: both an answer and a Deferred of one will do.
        handler: Callable[[AdminRequest], Any] = handlers[request.path]
        answered = maybeDeferred(handler, request)
        answered.addErrback(_explained)
        answered.addCallback(lambda answer: None if answer is None else request.give(answer))
        answered.addErrback(request.failed)

    def _refused(self, request: AdminRequest) -> Answer | None:
        """Return why there is nothing for a request; None if there is something."""
        headers = request.requestHeaders.getRawHeaders(b"Host", [])
        if self._is_ours is not None and not self._is_ours(headers):
            return refusal(403, "use this machine's IP address, or localhost")
        if request.too_large:
            return refusal(413, f"a request's body has at most {BODY_LIMIT} bytes")
        path = request.path
        allowed = (b"POST",) if path in self._post else (b"GET", b"HEAD")
        known = path in self._get or path in self._post
        # Where there is nothing to POST to, no address takes it.
        if not known and (self._post or request.method in allowed):
            there = ", ".join(one.decode() for one in (*self._get, *self._post))
            return refusal(404, f"there is no {shown(path)} here; there are {there}")
        if request.method not in allowed:
            methods = b", ".join(allowed)
            return refusal(405, f"{shown(path)} takes {methods.decode()} here", (b"Allow", methods))
        return None

    def _healthz(self, _request: AdminRequest) -> Answer:
        return text("ok")

    def _readyz(self, _request: AdminRequest) -> Answer:
        reasons = self._backend.ready()
        # One line each, whatever they say.
        lines = [" ".join(one.split()) for one in reasons]
        return text("\n".join(lines), 503) if lines else text("ok")

    def _status(self, _request: AdminRequest) -> Answer:
        return document(self._backend.status())

    def _metrics(self, request: AdminRequest) -> Answer:
        accept = request.getHeader(b"Accept") or b""
        try:
            kind, body = self._backend.metrics(accept.decode("ascii", "replace"))
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != _METRICS_LIBRARY:
                raise
            return refusal(
                501,
                "metrics need the library prometheus_client: "
                "install the package python3-prometheus-client and restart the daemon",
            )
        return Answer(200, kind, body)

    def _decisions(self, request: AdminRequest) -> Answer | None:
        question = Question.parse(request.uri.partition(b"?")[2])
        kind = LINES_OF_JSON if question.follow else JSON
        if request.method == b"HEAD":
            return Answer(200, kind, b"")
        if question.follow and len(self._followers) >= FOLLOWER_LIMIT:
            return refusal(503, f"{FOLLOWER_LIMIT} others follow already; try again later")
        request.head(200, kind)
        book = self._backend.book
        if question.follow:
            follower = Follower(
                request,
                question,
                book,
                self._clock,
                now=self._now,
                gone=lambda one: self._followers.pop(one, None),
            )
            self._followers[follower] = None
            follower.begin()
        else:
            pieces = as_pieces(question.answer(book), book.last, self._now)
            Streaming(request, lambda: next(pieces, None), self._clock).begin()
        return None

    def _page(self, request: AdminRequest) -> Deferred[Answer]:
        # Imported here: most daemons are never looked at so, and it takes memory.
        from image_cri_shim.admin.page import STILL, page_pieces  # noqa: PLC0415
        from image_cri_shim.admin.style import POLICY  # noqa: PLC0415

        still = request.uri.endswith(STILL.encode())
        pieces = page_pieces(self._backend.status(), still=still)
        gathered = gather(pieces, self._clock)
        policy = (b"Content-Security-Policy", POLICY)
        return gathered.addCallback(lambda body: Answer(200, HTML, body, (policy,)))

    def _reload(self, _request: AdminRequest) -> Deferred[Answer]:
        reload: Callable[[], Any] = self._backend.reload
        return maybeDeferred(reload).addCallback(
            lambda said: document(said, 200 if said.get("ok") else 409)
        )

    def _flush(self, request: AdminRequest) -> Answer:
        given = _texts(request.body, "image", "registry")
        if len(given) > 1:
            raise BadRequest("say an image or a registry, not both")
        return document(self._backend.flush(**given))

    def _log_levels(self, request: AdminRequest) -> Answer:
        given = _texts(request.body, "component", "level")
        for name in ("component", "level"):
            if name not in given:
                raise BadRequest(f'`{name}` is missing: send {{"component": ..., "level": ...}}')
        return document(self._backend.set_level(given["component"], given["level"]))


def gather(pieces: Iterator[bytes], clock: Clock) -> Deferred[bytes]:
    """Return all pieces in one; between two of them the reactor may do other things."""
    gathered: Deferred[bytes] = Deferred()
    made: list[bytes] = []

    def go_on() -> None:
        try:
            piece = next(pieces, None)
        except Exception:  # noqa: BLE001 - whoever asked is told
            gathered.errback(Failure())
            return
        if piece is None:
            gathered.callback(b"".join(made))
        else:
            made.append(piece)
            clock.callLater(0, go_on)

    go_on()
    return gathered


def _explained(failure: Failure) -> Answer | Failure:
    """Return what to say of a refusal; anything else is not for the client."""
    if failure.check(BadRequest) is not None:
        return refusal(400, str(failure.value))
    if failure.check(NotKnown) is not None:
        return refusal(404, str(failure.value))
    return failure


def _texts(body: bytes, *names: str) -> dict[str, str]:
    """Return what a JSON object says; an empty body is an empty object.

    :raises BadRequest: it is something else.
    """
    try:
        given = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise BadRequest("the body is no JSON") from None
    if not isinstance(given, dict):
        raise BadRequest("the body is no JSON object")
    for name, value in given.items():
        if name not in names:
            known = ", ".join(names)
            raise BadRequest(
                f"there is no {shown(name.encode(errors='replace'))}; there are {known}"
            )
        if not isinstance(value, str):
            raise BadRequest(f"{name} is no text")
    return given
