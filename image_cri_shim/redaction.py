"""Keeping secrets and control characters out of what is written."""

from __future__ import annotations

from collections.abc import Iterable

_SHOWN_INSTEAD = "***"


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
