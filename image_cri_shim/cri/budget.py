"""The bound on the memory that messages take, over many calls."""

from __future__ import annotations

# A call that holds no more bytes than this is small; nearly all of the CRI's are.
SMALL = 64 * 1024


class Budget:
    """Counts bytes that calls hold, up to a limit.

    The last eighth is for small calls only, so that a few large messages cannot keep everybody
    else from asking whether an image is there.

    :param limit: bytes.
    :ivar used: bytes that are held now.
    """

    __slots__ = ("_for_large", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._for_large = limit - limit // 8

    def take(self, size: int, held: int) -> bool:
        """Let a call hold some bytes more, or return False and change nothing.

        :param held: bytes that the call holds already.
        """
        used = self.used + size
        if used > self._for_large and (held + size > SMALL or used > self.limit):
            return False
        self.used = used
        return True

    def give(self, size: int) -> None:
        """Return what was taken."""
        self.used -= size
