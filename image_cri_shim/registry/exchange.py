"""One request and its reply: redirects followed, secrets kept at home, bodies bounded."""

from __future__ import annotations

from collections.abc import Generator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import attrs
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from image_cri_shim import __version__
from image_cri_shim.registry.agent import PoolingAgent, Response
from image_cri_shim.registry.failure import Unanswered, unanswered
from image_cri_shim.registry.guard import Guard

_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Those that ask for the same request again, body included (RFC 9110, section 15.4).
_SAME_AGAIN = frozenset({307, 308})
_MOST_REDIRECTS = 5
# Bytes of a body that are read: more than any error message or token has.
BODY_LIMIT = 64 * 1024
# Seconds; nobody shall be able to keep a registry out of use for longer.
RETRY_LIMIT = 3600.0
_DEFAULT_PORTS = {"http": 80, "https": 443}
_USER_AGENT = f"image-cri-shim/{__version__}"


@attrs.frozen
class Reply:
    """What came back.

    :ivar method: what was requested in the end: ``HEAD``, ``GET`` or ``POST``.
    :ivar url: who replied, after redirects.
    :ivar body: empty unless it was wanted.
    :ivar whole: False if the body was longer than BODY_LIMIT or broke off.
    """

    method: str
    url: str
    status: int
    headers: Headers = attrs.field(repr=False, factory=Headers)
    body: bytes = attrs.field(repr=False, default=b"")
    whole: bool = True

    def values(self, name: str) -> tuple[str, ...]:
        """Return all values of a header, in order."""
        raw = self.headers.getRawHeaders(name.encode("ascii"), [])
        return tuple(value.decode("utf-8", "replace") for value in raw)

    def value(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next(iter(self.values(name)), None)

    @property
    def retry_after(self) -> float | None:
        """The seconds that a Retry-After header asks for (RFC 9110, section 10.2.3), at most 3600.

        A date is read against the reply's own Date, so no two clocks have to agree.
        """
        value = self.value("Retry-After")
        if value is None:
            return None
        if value.isascii() and value.isdigit():
            return min(float(value), RETRY_LIMIT)
        try:
            until = parsedate_to_datetime(value)
            now = parsedate_to_datetime(self.value("Date") or "")
            seconds = (until - now).total_seconds()
        except (TypeError, ValueError, OverflowError):
            return None
        return min(seconds, RETRY_LIMIT) if seconds > 0 else None


def origin(url: str) -> tuple[str, str, int]:
    """Return what must be equal for two URLs to lead to the same server (RFC 6454, section 4).

    :raises ValueError: ``url`` is not an absolute http or https URL, or it holds credentials.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an http or https URL")
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]


class Exchange:
    """Makes requests.

    :param connect: the agent's budget for connecting, in seconds; for messages.
    """

    def __init__(self, agent: PoolingAgent, connect: float) -> None:
        self._agent = agent
        self._connect = connect

    @inlineCallbacks
    def request(
        self,
        method: str,
        url: str,
        *,
        accept: str,
        guard: Guard,
        authorization: str | None = None,
        form: str | None = None,
        want_body: bool = False,
    ) -> Generator[Deferred[Any], Any, Reply]:
        """Make a request, following redirects.

        ``Authorization`` and ``form`` go no further than the server that ``url`` names. The bodies
        of errors are read in any case, those of other replies if ``want_body``.

        :param guard: judges where redirects lead.
        :param form: what is sent along, in ``application/x-www-form-urlencoded``.
        :raises Unanswered: there is no reply; and it says why.
        :raises Forbidden: it is redirected to a host that may not be asked.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            response = yield self._send(method, url, accept, authorization, form)
            location = _location(response)
            if location is None:
                reply = yield self._reply(method, url, response, want_body=want_body)
                return reply  # type: ignore[no-any-return]
            if method != "HEAD":
                _abandon(response)
            target = _target(url, location, guard)
            stays = origin(target) == origin(url)
            if not stays:
                authorization = None
            if form is not None and not (stays and response.code in _SAME_AGAIN):
                raise Unanswered("redirects what is for it alone, not followed")
            url = target
        raise Unanswered("not a registry: redirects too often")

    @inlineCallbacks
    def _send(
        self, method: str, url: str, accept: str, authorization: str | None, form: str | None
    ) -> Generator[Deferred[Any], Any, Response]:
        headers = Headers({"User-Agent": [_USER_AGENT], "Accept": [accept]})
        if authorization is not None:
            headers.addRawHeader("Authorization", authorization)
        body = None
        if form is not None:
            headers.addRawHeader("Content-Type", "application/x-www-form-urlencoded")
            body = form.encode("ascii")
        try:
            response = yield self._agent.request(method, url, headers, body)
        except CancelledError:
            raise
        except Exception as reason:  # noqa: BLE001 - every failure becomes an answer
            raise unanswered(reason, self._connect, self._agent.complaint(url)) from None
        return response  # type: ignore[no-any-return]

    @inlineCallbacks
    def _reply(
        self, method: str, url: str, response: Response, *, want_body: bool
    ) -> Generator[Deferred[Any], Any, Reply]:
        headers = response.headers
        if method == "HEAD":
            return Reply(method, url, response.code, headers)
        if response.code == _OK and not want_body:
            _abandon(response)
            return Reply(method, url, response.code, headers)
        try:
            body, whole = yield _read(response)
        except CancelledError:
            raise
        except Exception as reason:  # noqa: BLE001 - every failure becomes an answer
            if want_body:
                raise unanswered(reason, self._connect, "") from None
            # The status is the answer; the body would only have explained it.
            body, whole = b"", False
        return Reply(method, url, response.code, headers, body, whole)


def _location(response: Response) -> str | None:
    """Return where a response redirects to, or None if it does not."""
    if response.code not in _REDIRECTS:
        return None
    location = (response.headers.getRawHeaders(b"Location") or [b""])[0]
    return location.decode("utf-8", "replace")


def _target(url: str, location: str, guard: Guard) -> str:
    """Return the URL that a redirect leads to.

    :raises Unanswered: it leads nowhere, or from https to http.
    :raises Forbidden: it leads to a host that may not be asked.
    """
    if not location:
        raise Unanswered("not a registry: redirects to nowhere")
    try:
        target = urljoin(url, location).partition("#")[0]
        guard.check(target, "redirects to")
        scheme, _, _ = origin(target)
        target.encode("ascii")
    except ValueError:
        raise Unanswered("not a registry: redirects to no valid address") from None
    if scheme == "http" and url.startswith("https:"):
        raise Unanswered("redirects from https to http, which is not followed")
    return target


class _Body(Protocol):
    """Collects a body up to a limit; what is longer is cut off with its connection.

    :param limit: in bytes; 0 to read nothing at all.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._room = limit
        # Fires with what was read and whether that is all.
        self.done: Deferred[tuple[bytes, bool]] = Deferred(lambda _: self._abort())

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        if self._limit == 0:
            self._finish(whole=False)
            self._abort()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        if self.done.called:
            return
        self._parts.append(data[: self._room])
        self._room -= len(data)
        if self._room < 0:
            self._finish(whole=False)
            self._abort()

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: N802
        if self.done.called:
            return
        if reason is None or reason.check(ResponseDone, PotentialDataLoss):
            self._finish(whole=True)
        else:
            self.done.errback(reason)

    def _finish(self, *, whole: bool) -> None:
        self.done.callback((b"".join(self._parts), whole))

    def _abort(self) -> None:
        # What a response's body comes with only stands in for the connection and cannot abort
        # it; merely losing a TLS connection waits for the other side to agree.
        transport: Any = self.transport
        connection = getattr(transport, "_producer", None)
        abort = getattr(connection, "abortConnection", None)
        if abort is not None:
            abort()
        elif transport is not None:
            transport.loseConnection()


def _read(response: Response) -> Deferred[tuple[bytes, bool]]:
    body: Any = _Body(BODY_LIMIT)
    response.deliverBody(body)
    return body.done  # type: ignore[no-any-return]


def _abandon(response: Response) -> None:
    """Close a response's connection instead of reading what may be long."""
    body: Any = _Body(0)
    response.deliverBody(body)
