"""What a registry's reply to a look-up means.

Sources: OCI distribution specification, "Pulling manifests" and "Error codes"; the distribution
project's "Token Authentication Specification"; RFC 6750, section 3.1, for a refused Bearer token.
"""

from __future__ import annotations

import json
import re

import attrs

from image_cri_shim.decision import LookUp, Outcome
from image_cri_shim.registry.authorization import BASIC, Authorization
from image_cri_shim.registry.challenge import parse_challenges
from image_cri_shim.registry.exchange import Reply

OK = 200
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
# Statuses of a HEAD that say that only GET is served.
HEAD_REFUSED = frozenset({405, 501})
# Request time-out, too many requests: not what was asked is wrong, but when.
_BUSY = frozenset({408, 429})
# They may say when to come back (RFC 9110, section 15.6.4; RFC 6585, section 4).
_LATER = frozenset({429, 503})
_CLIENT_ERRORS = range(400, 500)
_SERVER_ERRORS = range(500, 600)

_ABSENT_CODES = frozenset({"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_INVALID"})
_DENIED_CODES = frozenset({"UNAUTHORIZED", "DENIED"})
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}", re.ASCII)


@attrs.frozen
class Finding:
    """What came of asking, without who was asked.

    :ivar retry_after: for how many seconds the registry wants to be left alone, if it said so; at
        most 3600.
    :ivar refused: whether the configured credentials were not accepted.
    """

    outcome: Outcome
    detail: str = ""
    digest: str | None = None
    timed_out: bool = False
    retry_after: float | None = None
    refused: bool = False


@attrs.frozen
class Answer:
    """A look-up and what it says about the registry's health; see Finding."""

    look_up: LookUp
    retry_after: float | None = None


def judge(reply: Reply, authorization: Authorization | None, digest: str | None) -> Finding | None:
    """Say what a reply means.

    :param authorization: what the request carried.
    :param digest: what was asked for, if it was asked by digest.
    :returns: None if the error's code decides, which stands in a body, and this is the reply to a
        HEAD.
    """
    status = reply.status
    if status == OK:
        return _present(reply, digest)
    if status == NOT_FOUND:
        return Finding(Outcome.ABSENT, "404")
    if status in _CLIENT_ERRORS and status not in _BUSY:
        return _refused(reply, authorization)
    if status in _SERVER_ERRORS or status in _BUSY:
        after = reply.retry_after if status in _LATER else None
        return Finding(Outcome.UNKNOWN, str(status), retry_after=after)
    return Finding(Outcome.UNKNOWN, f"{status}, which is no answer to a look-up")


def error_codes(body: bytes) -> frozenset[str]:
    """Return the codes in an error's body; none if it is not what the specification says."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return frozenset()
    errors = content.get("errors") if isinstance(content, dict) else None
    if not isinstance(errors, list):
        return frozenset()
    codes = (error.get("code") for error in errors if isinstance(error, dict))
    return frozenset(code for code in codes if isinstance(code, str))


def _present(reply: Reply, wanted: str | None) -> Finding:
    told = reply.value("Docker-Content-Digest")
    digest = told if told is not None and _DIGEST.fullmatch(told) else None
    if digest is None and (reply.value("Content-Type") or "").lower().startswith("text/html"):
        # The page of a proxy or of a login; registries never answer with one.
        return Finding(Outcome.UNKNOWN, "not a registry: answered with a web page")
    if wanted is not None and digest is not None and digest != wanted:
        return Finding(Outcome.UNKNOWN, "answered with another digest")
    return Finding(Outcome.PRESENT, digest=digest)


def _refused(reply: Reply, authorization: Authorization | None) -> Finding | None:
    """Judge the errors that are the client's: by the head if it says enough, else by the code."""
    if reply.status in (UNAUTHORIZED, FORBIDDEN):
        finding = _denied(reply, authorization)
        if finding is not None:
            return finding
    return None if reply.method == "HEAD" else _by_code(reply, authorization)


def _denied(reply: Reply, authorization: Authorization | None) -> Finding | None:
    """Judge 401 and 403 by what they say in their heads."""
    if authorization is None:
        return Finding(Outcome.UNKNOWN, f"{reply.status}, and asks for no credentials")
    if authorization.scheme == BASIC:
        if reply.status == UNAUTHORIZED:
            return _not_accepted("401 wrong credentials")
        return None
    errors = {
        challenge.parameters.get("error")
        for challenge in parse_challenges(reply.values("WWW-Authenticate"))
    }
    if "invalid_token" in errors:
        detail = f"{reply.status}, its token server's token is not accepted"
        return (
            Finding(Outcome.UNKNOWN, detail) if authorization.anonymous else _not_accepted(detail)
        )
    if "insufficient_scope" in errors:
        return _absent_or_denied(reply, authorization)
    return None


def _not_accepted(detail: str) -> Finding:
    return Finding(Outcome.UNKNOWN, detail, refused=True)


def _by_code(reply: Reply, authorization: Authorization | None) -> Finding:
    codes = error_codes(reply.body) if reply.whole else frozenset()
    absent = sorted(codes & _ABSENT_CODES)
    if absent:
        return Finding(Outcome.ABSENT, f"{reply.status} {absent[0]}")
    if reply.status in (UNAUTHORIZED, FORBIDDEN) and authorization and codes & _DENIED_CODES:
        return _absent_or_denied(reply, authorization)
    if reply.url.startswith("http:") and b"https" in reply.body.lower():
        return Finding(Outcome.UNKNOWN, f"{reply.status}, it seems to speak https only")
    return Finding(Outcome.UNKNOWN, str(reply.status))


def _absent_or_denied(reply: Reply, authorization: Authorization) -> Finding:
    """Judge the answer of registries that do not tell strangers what they do not hold."""
    if authorization.anonymous:
        return Finding(Outcome.ABSENT, f"{reply.status} anonymously: absent or private")
    return Finding(Outcome.ABSENT, f"{reply.status}, access denied or absent")
