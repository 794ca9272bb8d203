"""Colours for the operator's terminal, and for nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TextIO

import attrs

# SGR parameters (ECMA-48, 8.3.117).
_BOLD, _FAINT, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"


@attrs.frozen
class Colours:
    """Paints text that has been cleaned; or leaves it as it is.

    :ivar enabled: whether it paints.
    """

    enabled: bool = False

    def good(self, text: str) -> str:
        """Paint what is as it should be."""
        return self._paint(text, _GREEN)

    def doubtful(self, text: str) -> str:
        """Paint what is not quite as it should be."""
        return self._paint(text, _YELLOW)

    def bad(self, text: str) -> str:
        """Paint what is wrong."""
        return self._paint(text, _RED)

    def strong(self, text: str) -> str:
        """Paint what is to be seen first."""
        return self._paint(text, _BOLD)

    def faint(self, text: str) -> str:
        """Paint what matters least."""
        return self._paint(text, _FAINT)

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.enabled and text else text


def is_terminal(stream: TextIO | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a stream is a terminal that can do more than write lines."""
    try:
        dumb = environment.get("TERM", "dumb") == "dumb"
        return stream is not None and not dumb and stream.isatty()
    except ValueError:
        # It is closed.
        return False


def colours_for(stream: TextIO | None, environment: Mapping[str, str] = os.environ) -> Colours:
    """Return the colours for a stream: none unless it is a terminal (and see no-color.org)."""
    return Colours(is_terminal(stream, environment) and not environment.get("NO_COLOR"))
