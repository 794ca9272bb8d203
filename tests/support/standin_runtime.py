"""Run an embedded stand-in for a container runtime: CRI's ImageService in memory.

    python -m tests.support.standin_runtime SOCKET [--versions v1,v1alpha2] [--journal FILE]
                                            [--mirror HOST=URL ...]

It pulls from real registries (manifest and config only), and finds, lists and removes images as
containerd does; tests/contract runs the same checks on both. It answers Version too. It asks
mirrors and loopback hosts only, so no test with it reaches the internet.

The journal gets one JSON object a line: `event` (`call`, or `cancelled` when the client gave up
before the answer), `method` (the path), `image`, `auth` (the AuthConfig's fields), `metadata`
(pairs; binary values in base64), `deadline` (seconds left, or null), `request` (base64).

Calls that name one of these images misbehave (PullImage, ImageStatus and RemoveImage alike):

    fault.test/hang:1        never answers
    fault.test/slow-500:1    answers after 500 ms, with a PullImageResponse
    fault.test/code-13:1     answers status 13, message `fault 13`, details (DETAILS in
                             standin_service), metadata `x-fault-initial`, `x-fault`, `x-fault-bin`
    fault.test/metadata:1    answers an empty message with the same metadata
    fault.test/size-99:1     answers a message with an unknown field of 99 bytes
    fault.test/crash:1       ends the process
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.processes import Process, accepts, environment_without_proxies, wait_until

ROOT = Path(__file__).resolve().parents[2]


class StandinRuntime(Process):
    """Run the stand-in; what it holds is gone after `stop` and `kill`.

    `versions` are the CRI versions that it speaks; `mirrors` maps a host in image references to
    the base URL of the registry that serves it.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        versions: Sequence[str] = ("v1", "v1alpha2"),
        mirrors: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("standin-runtime", directory)
        self.socket = str(self.directory / "runtime.sock")
        if len(self.socket) > 100:
            raise ValueError(f"directory too long for a unix socket: {self.socket}")
        self.versions = tuple(versions)
        self.mirrors = dict(mirrors or {})
        self._journal = self.directory / "journal.jsonl"

    def command(self) -> Sequence[str]:
        mirrors = [f"--mirror={host}={url}" for host, url in self.mirrors.items()]
        return (
            sys.executable,
            "-m",
            "tests.support.standin_runtime",
            self.socket,
            f"--versions={','.join(self.versions)}",
            f"--journal={self._journal}",
            *mirrors,
        )

    def environment(self) -> Mapping[str, str]:
        return environment_without_proxies({"PYTHONPATH": str(ROOT)})

    def ready(self) -> bool:
        return accepts(self.socket)

    def set_mirror(self, host: str, url: str) -> None:
        """Serve `host` from the registry at `url`; takes effect at the next start."""
        self.mirrors[host] = url

    def journal(
        self, method: str | None = None, *, event: str | None = "call"
    ) -> list[dict[str, Any]]:
        """Return the journal's entries, those of `method` (its last word) and `event` only."""
        if not self._journal.exists():
            return []
        entries = [json.loads(line) for line in self._journal.read_text().splitlines()]
        return [
            entry
            for entry in entries
            if event in (None, entry["event"])
            and (method is None or entry["method"].endswith(f"/{method}"))
        ]

    def wait_for(self, method: str, event: str = "call", *, count: int = 1) -> list[dict[str, Any]]:
        """Return the entries of `method` and `event` as soon as there are `count` of them."""
        if not wait_until(lambda: len(self.journal(method, event=event)) >= count, 10):
            raise TimeoutError(f"no {count} x {method} {event} in {self._journal}")
        return self.journal(method, event=event)

    def forget_journal(self) -> None:
        """Empty the journal."""
        self._journal.write_text("")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; the socket file stays behind only after a SIGKILL."""
    parser = argparse.ArgumentParser(prog="standin-runtime", description=__doc__.split("\n")[0])
    parser.add_argument("socket")
    parser.add_argument("--versions", default="v1,v1alpha2")
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--mirror", action="append", default=[], metavar="HOST=URL")
    options = parser.parse_args(arguments)
    # Here, so that a test can import StandinRuntime without grpclib and the generated modules.
    from tests.support.standin_service import serve

    def end(number: int, frame: object) -> None:
        Path(options.socket).unlink(missing_ok=True)
        # At once: a thread may still wait for a registry, and nobody waits for it.
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    mirrors = dict(entry.split("=", 1) for entry in options.mirror)
    asyncio.run(serve(options.socket, options.versions.split(","), mirrors, options.journal))


if __name__ == "__main__":
    main()
