"""Run programs in another root directory, with an environment that says nothing of this one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

# A login of root, and packages that ask nothing.
ENVIRONMENT = (
    "env",
    "-i",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
    "DEBIAN_FRONTEND=noninteractive",
)


def run(
    prefix: Sequence[str], command: Sequence[str], *, check: bool, seconds: float, text: str
) -> subprocess.CompletedProcess[str]:
    """Run `command` behind `prefix` to its end; standard error goes to the output.

    Raises RuntimeError with the end of what it wrote if it fails and `check` is set.
    """
    done = subprocess.run(
        [*prefix, *ENVIRONMENT, *command],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-4000:]}")
    return done
