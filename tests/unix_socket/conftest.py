"""What every test of sockets has."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest


@pytest.fixture
def everybodys(stack: ExitStack) -> Path:
    """A directory that everybody may write in, and reach."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    directory.chmod(0o777)
    return directory
