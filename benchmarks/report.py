"""The results as Markdown, the targets, and the section of a document that holds them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.burden import Burden
from benchmarks.cases import BARE, DIRECT, SHIM, UVLOOP, Result

BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
_LIBRARIES = ("Twisted", "grpclib", "h2", "hpack", "protobuf", "attrs", "uvloop")

IMAGE_STATUS = "ImageStatus, present"
# The targets. The first is for a client as clients are, whose own time is part of both calls; the
# one that measures all the rest costs so little that its ratios say more about itself.
TARGETED = f"{IMAGE_STATUS}, by a grpcio client"
MOST_TIMES_DIRECT = 4.0
LEAST_RATE = 2000.0
MOST_RESIDENT = 60_000_000
MOST_IDLE = 0.001


@attrs.frozen
class Target:
    """Something that must be true of the shim.

    :ivar name: what must be true.
    :ivar measured: what was measured.
    :ivar met: whether it is true; None if it could not be measured.
    """

    name: str
    measured: str
    met: bool | None


def targets(real: Sequence[Result], one: Burden) -> list[Target]:
    """Judge the results.

    :param real: those on the real runtime; empty where it cannot run.
    :param one: the burden of the shim on asyncio's event loop.
    """
    found = {(result.case.name, result.case.width): result for result in real}
    sequential, concurrent = found.get((TARGETED, 1)), found.get((IMAGE_STATUS, 16))
    ratio = rate = "not measured: containerd cannot run here"
    slow = few = None
    if sequential is not None:
        times = statistics.median(sequential.ratios(SHIM))
        ratio, slow = f"{times:.1f} times", times <= MOST_TIMES_DIRECT
    if concurrent is not None:
        calls, bare = concurrent.rate(SHIM), concurrent.rate(BARE)
        rate = f"{calls:.0f}/s, {calls / bare:.1f} times the bare proxy"
        few = calls >= LEAST_RATE or calls >= 2 * bare
    return [
        Target(
            "ImageStatus of a grpcio client on containerd takes at most 4 times the direct call",
            ratio,
            slow,
        ),
        Target(
            "16 at once on containerd: at least 2,000 a second, or twice the bare proxy", rate, few
        ),
        Target(
            f"at most 60 MB of resident memory after {one.calls:,} calls",
            f"{one.after / 1e6:.1f} MB",
            one.after <= MOST_RESIDENT,
        ),
        Target(
            "less than 0.1 % of a processor while idle",
            f"{one.idle * 100:.3f} % in {one.idle_seconds:.0f} s",
            one.idle < MOST_IDLE,
        ),
    ]


def target_table(judged: Sequence[Target]) -> str:
    """Return the targets as a table."""
    words = {True: "met", False: "**missed**", None: "unknown"}
    rows = [f"| {one.name} | {one.measured} | {words[one.met]} |" for one in judged]
    return table("| target | measured | |", rows)


def results_table(results: Sequence[Result]) -> str:
    """Return the cases as a table; each ratio is of p50, with the least and the most of a round."""
    ways = [way for way in results[0].samples if way != DIRECT]
    head = "| call | at once | direct |"
    for way in ways:
        head += f" {way} | ÷ direct |"
    head += " calls a second: direct, " + ", ".join(ways) + " |"
    return table(head, [_row(result, ways) for result in results])


def _row(result: Result, ways: Sequence[str]) -> str:
    row = f"| {result.case.name} | {result.case.width} | {milliseconds(result.p50(DIRECT))} |"
    for way in ways:
        ratios = result.ratios(way)
        row += (
            f" {milliseconds(result.p50(way))} | {statistics.median(ratios):.1f} "
            f"({min(ratios):.1f}–{max(ratios):.1f}) |"  # noqa: RUF001 - a range
        )
    return row + " " + ", ".join(f"{result.rate(way):,.0f}" for way in (DIRECT, *ways)) + " |"


def burden_table(burdens: Mapping[str, Burden]) -> str:
    """Return what shims cost their node as a table, one column for each event loop."""
    names = list(burdens)
    every = list(burdens.values())

    def row(name: str, texts: Sequence[str]) -> str:
        return f"| {name} | " + " | ".join(texts) + " |"

    rows = [
        row(
            f"processor seconds for 1,000 ImageStatus, {width} at once",
            [f"{one.cpu[width]:.2f}" for one in every],
        )
        for width in every[0].cpu
    ]
    rows += [
        row(
            f"resident memory after {every[0].calls:,} calls (and before most of them)",
            [f"{one.after / 1e6:.1f} MB ({one.before / 1e6:.1f})" for one in every],
        ),
        row(
            "from the start to a listening socket",
            [
                f"{statistics.median(one.listening):.2f} s (worst {max(one.listening):.2f})"
                for one in every
            ],
        ),
        row(
            f"processor while idle, {every[0].idle_seconds:.0f} s",
            [f"{one.idle * 100:.3f} %" for one in every],
        ),
    ]
    return table("| | " + " | ".join(names) + " |", rows)


def names(uvloop: bool) -> dict[str, str]:  # noqa: FBT001 - the only thing that there is to say
    """Return the column of each event loop that is measured."""
    return {SHIM: "asyncio", **({UVLOOP: "uvloop"} if uvloop else {})}


def table(head: str, rows: Sequence[str]) -> str:
    """Return a Markdown table."""
    line = "|" + "---|" * (head.count("|") - 1)
    return "\n".join([head, line, *rows]) + "\n"


def milliseconds(seconds: float) -> str:
    """Write a time with three significant digits."""
    return f"{seconds * 1000:#.3g}".rstrip(".") + " ms"


def machine(runtime: str) -> str:
    """Say on what was measured.

    :param runtime: the real runtime and its version.
    """
    versions = []
    for name in _LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    cores = len(os.sched_getaffinity(0))
    return (
        f"Measured on {time.strftime('%Y-%m-%d')} on {cores} cores ({platform.machine()}) with "
        f"Python {platform.python_version()}, {', '.join(versions)}; {runtime}.\n"
    )


def write_section(path: Path, text: str) -> None:
    """Replace what stands between the marks of a document.

    :raises SystemExit: there are no marks.
    """
    document = path.read_text()
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} has no lines {BEGIN} and {END} to write between")
    path.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}")
