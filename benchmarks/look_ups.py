"""Measure how long it takes to choose among registries of which most fail.

In each round the same six registries are asked at once, as the resolver does, then one after the
other in the same order, and the one that has the image alone. Nothing is remembered from one round
to the next. Prints Markdown; the figures of a round stand in relation to each other, not for
themselves.

Run in a process of its own: ``python -m benchmarks.look_ups [ROUNDS]``.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import react

from image_cri_shim.config import Config, parse
from image_cri_shim.decision import Outcome
from image_cri_shim.resolution import Resolution
from tests.support.certificates import self_signed, server_context
from tests.support.faults import Drop, Slow, Status, always
from tests.support.http_server import Tarpit
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry

IMAGE = "origin.test/lab/bench:1"
# Seconds: what each registry takes to answer, and how long a silent one is waited for.
LATENCY, TIMEOUT, GRACE = 0.05, 2.0, 0.2


def main() -> None:
    """Start the registries, measure, and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with contextlib.ExitStack() as stack:
        registries = start(stack)
        lines = [
            f"  - {{address: '{url}', priority: {900 - n}, timeout: {TIMEOUT:g}s}}"
            for n, url in enumerate(registries)
        ]
        head = f"address: ''\nlookupGrace: {GRACE:g}s\nregistries:\n"
        everybody = parse(head + "\n".join(lines), "bench.yaml")
        alone = parse(head + lines[-1], "bench.yaml")
        react(measure, (everybody, alone, rounds))


def start(stack: contextlib.ExitStack) -> list[str]:
    """Start the registries; return their URLs in the order in which they are asked."""
    directory = stack.enter_context(tempfile.TemporaryDirectory())
    untrusted = server_context(*self_signed(directory))
    absent, failing, dropping, holder = (stack.enter_context(MemoryRegistry()) for _ in range(4))
    secure = stack.enter_context(MemoryRegistry(tls=untrusted))
    silent = stack.enter_context(Tarpit())
    push(holder.url, "lab/bench", "1", build_image("bench"))
    failing.faults = always(Status(503))
    dropping.faults = always(Drop())
    for slow in (absent, holder):
        slow.faults = always(Slow(LATENCY))
    return [one.url for one in (absent, failing, dropping, secure, silent, holder)]


@inlineCallbacks
def measure(reactor: Any, everybody: Config, alone: Config, rounds: int) -> Any:
    """Measure in turn; print a table."""
    took: dict[str, list[float]] = {"at once": [], "one after the other": [], "alone": []}
    for _ in range(rounds):
        for name, config, ask in (
            ("at once", everybody, decide),
            ("one after the other", everybody, one_after_the_other),
            ("alone", alone, decide),
        ):
            resolution = Resolution(config, reactor)
            started = time.perf_counter()
            yield ask(resolution)
            took[name].append(time.perf_counter() - started)
            yield resolution.close(abort=True)
    print("## Choosing among six registries\n")
    print(
        "Asked in this order: one without the image, one that answers 503, one that drops the "
        "connection, one with a wrong certificate, one that is silent, one with the image. "
        f"Each answer takes {LATENCY * 1000:.0f} ms, a silent one is waited for "
        f"{TIMEOUT:g} s at most, the grace is {GRACE * 1000:.0f} ms.\n"
    )
    print("| asked | median | in relation to one after the other |")
    print("|---|---|---|")
    for name, seconds in took.items():
        ratios = [
            one / other for one, other in zip(seconds, took["one after the other"], strict=True)
        ]
        print(
            f"| {name} | {statistics.median(seconds) * 1000:.0f} ms "
            f"| {statistics.median(ratios):.3f} |"
        )
    print(
        f"\nBeyond the grace, at once takes "
        f"{statistics.median(took['at once']) - GRACE - statistics.median(took['alone']):.3f} s "
        "more than asking the one that has the image alone."
    )


def decide(resolution: Resolution) -> Deferred[Any]:
    """Choose as a pull does."""

    def check(decision: Any) -> None:
        found = decision.look_up(decision.attempts[0])
        if found is None or found.outcome is not Outcome.PRESENT:
            raise AssertionError(f"the image was not found: {decision}")

    return resolution.resolver.resolve(IMAGE).addCallback(check)


@inlineCallbacks
def one_after_the_other(resolution: Resolution) -> Any:
    """Ask the same registries in turn until one has the image."""
    for candidate in resolution.policy.plan(IMAGE).candidates:
        answer = yield resolution.clients.ask(candidate)
        if answer.look_up.outcome is Outcome.PRESENT:
            return
    raise AssertionError("the image was not found")


if __name__ == "__main__":
    main()
