"""Keeping secrets and control characters out of what is written."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SHOWN_INSTEAD = "***"
# Characters of a text that are kept, and that are looked at for what is masked.
_KEPT = 600
_LOOKED_AT = 4 * _KEPT
# What others write credentials like, whoever's they are: in front of a host, in a header, in the
# query of an address. A digest follows an @ as well.
# None of these takes longer than in proportion to the text: anybody may have written it.
_USER = re.compile(
    r"(?<=://)[^\s/@\"']{1,512}@"
    r"|(?<![^\s/@\"'])[^\s/@\"':]*:[^\s/@\"']*@(?!sha(?:256|512):)"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic)(\s+)(?=\S*[0-9+/=_.-])(?!realm=)[A-Za-z0-9+/=_.~-]{8,}")
_QUERY = re.compile(r"([?&][A-Za-z0-9_.%-]+=)[^&\s\"']+")

_ANY_USER = re.compile(r".*@(?!sha(?:256|512):)", re.DOTALL)
_ANY_QUERY = re.compile(r"\?.*", re.DOTALL)


def mask_credentials(text: str) -> str:
    """Return a text of others' without what looks like anybody's credentials in it."""
    text = _USER.sub(f"{_SHOWN_INSTEAD}@", text)
    text = _SCHEME.sub(rf"\1\2{_SHOWN_INSTEAD}", text)
    return _QUERY.sub(rf"\1{_SHOWN_INSTEAD}", text)


def cut(text: str) -> str:
    """Return what is kept of a text; few image references are longer."""
    return text if len(text) <= _KEPT else f"{text[:_KEPT]}..."


def told(text: str, redactor: Redactor) -> str:
    """Return what others said as it can be shown: masked, on one line, and not too long."""
    # Cut twice, for masking takes its time; but no secret may be cut in two before it is cleaned.
    return cut(mask_credentials(redactor.clean(text)[:_LOOKED_AT]))


def image_told(text: str, redactor: Redactor) -> str:
    """Return what a client calls an image as it can be shown, in the same way.

    What no reference has, but somebody may write, is masked: a user in front of a host, a query.
    """
    text = _ANY_USER.sub(f"{_SHOWN_INSTEAD}@", text[:_LOOKED_AT])
    return cut(redactor.clean(_ANY_QUERY.sub(f"?{_SHOWN_INSTEAD}", text)))


class Redactor:
    """Cleans text that others made, such as a runtime's error messages, for one line of a log.

    :param secrets: what must not be written; empty ones are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Longest first, so that a secret that contains another one goes as a whole.
        self._secrets = sorted({s for s in secrets if s}, key=len, reverse=True)

    def extended(self, secrets: Iterable[str]) -> Redactor:
        """Return one that keeps further secrets out as well."""
        return Redactor((*self._secrets, *secrets))

    def clean(self, text: str) -> str:
        """Return ``text`` without the secrets and on one line."""
        for secret in self._secrets:
            text = text.replace(secret, _SHOWN_INSTEAD)
        return "".join(c if c.isprintable() else " " for c in text)
