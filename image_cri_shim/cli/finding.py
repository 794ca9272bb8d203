"""What there is to say about a file that a configuration names."""

from __future__ import annotations

import attrs


@attrs.frozen
class Finding:
    """One thing about a file.

    :ivar key: the configuration's key that names it.
    :ivar words: for the operator; they name the file, and never repeat a secret of it.
    :ivar is_problem: whether it cannot be used; else it is a warning.
    """

    key: str
    words: str
    is_problem: bool = False
