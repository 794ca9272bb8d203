"""What keeps a registry from answering, in the operator's words."""

from __future__ import annotations

import os
from collections.abc import Iterator

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error
from twisted.python.failure import Failure
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed

# What OpenSSL calls it when the first bytes that come are no TLS.
_NO_TLS = frozenset({"wrong version number", "packet length too long", "unknown protocol"})

# By exception; the first that fits.
_WORDS: dict[type[BaseException], str] = {
    error.DNSLookupError: "no such host",
    error.ConnectionRefusedError: "connection refused",
    error.ConnectError: "cannot connect",
    VerificationError: "TLS: the certificate is for another host",
    error.ConnectionLost: "connection lost",
    error.ConnectionDone: "connection lost",
    error.ConnectionAborted: "connection lost",
}


class Unanswered(Exception):
    """A look-up ends here without an answer.

    :ivar detail: why; never a secret.
    :ivar timed_out: whether it is that the other side did not answer in time.
    :ivar retry_after: for how many seconds the other side wants to be left alone, if it said so.
    :ivar refused: whether it is that the registry's credentials, or none, did not let us in.
    """

    def __init__(
        self,
        detail: str,
        *,
        timed_out: bool = False,
        retry_after: float | None = None,
        refused: bool = False,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.timed_out = timed_out
        self.retry_after = retry_after
        self.refused = refused


def unanswered(reason: BaseException, connect: float, complaint: str) -> Unanswered:
    """Turn what Twisted raises for a request into words.

    :param connect: the budget for connecting, in seconds.
    :param complaint: what TLS found wrong with the server's certificate, or empty.
    """
    if isinstance(reason, Unanswered):
        return reason
    causes = list(_causes(reason))
    for cause in causes:
        if isinstance(cause, (error.TimeoutError, error.TCPTimedOutError)):
            return Unanswered(f"connecting timed out after {connect:g}s", timed_out=True)
        detail = _known(cause, complaint)
        if detail:
            return Unanswered(detail)
    if isinstance(reason, ValueError):
        return Unanswered("not a valid address")
    if any(isinstance(cause, ResponseFailed) for cause in causes):
        return Unanswered("answered with something that is not HTTP")
    # Anything else is named, not quoted: nobody knows what its text would tell.
    return Unanswered(f"failed: {type(causes[-1]).__name__}")


def _causes(reason: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that it wraps."""
    yield reason
    if isinstance(reason, (ResponseFailed, RequestTransmissionFailed, RequestGenerationFailed)):
        for inner in reason.reasons:
            cause = inner.value if isinstance(inner, Failure) else inner
            if isinstance(cause, BaseException):
                yield from _causes(cause)


def _known(cause: BaseException, complaint: str) -> str:
    """Word one exception, or return nothing for an unknown one."""
    if isinstance(cause, SSL.Error):
        return _tls(cause, complaint)
    if isinstance(cause, error.ConnectError) and isinstance(cause.osError, int):
        number = cause.osError
        return os.strerror(number).lower()
    return next((words for kind, words in _WORDS.items() if isinstance(cause, kind)), "")


def _tls(cause: SSL.Error, complaint: str) -> str:
    """Word OpenSSL's error queue: a list of (library, function, reason)."""
    queue = cause.args[0] if cause.args and isinstance(cause.args[0], list) else []
    reasons = [str(entry[2]) for entry in queue if len(entry) > 2 and entry[2]]  # noqa: PLR2004
    if not reasons:
        return "TLS: connection lost"
    if reasons[-1].endswith("alert certificate required"):
        return "TLS: demands a client certificate (certFile, keyFile)"
    if reasons[-1] in _NO_TLS:
        return f"TLS: {reasons[-1]}, it may speak plain http"
    if complaint and "verify failed" in reasons[-1]:
        return f"TLS: {reasons[-1]}: {complaint}"
    return f"TLS: {reasons[-1]}"
