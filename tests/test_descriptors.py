"""The limit of open descriptors is raised as far as it may be."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
soft, hard, enough = (int(number) for number in sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from image_cri_shim.descriptors import raise_limit
print(*raise_limit(enough), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "enough", "before", "after"),
    [
        (256, 1000, 2000, 256, 1000),
        (256, 1000, 500, 256, 500),
        (600, 1000, 500, 600, 600),
        (1000, 1000, 2000, 1000, 1000),
    ],
    ids=["to-the-hard-limit", "to-what-is-enough", "never-lower", "nothing-to-do"],
)
def test_the_soft_limit_is_raised_as_far_as_it_makes_sense(
    soft: int, hard: int, enough: int, before: int, after: int
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(soft), str(hard), str(enough)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert [int(number) for number in ended.stdout.split()] == [before, after, after, hard]
