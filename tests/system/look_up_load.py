"""Ask one registry ten thousand times, in a process of its own, and print what that left behind.

``python -m tests.system.look_up_load URL COUNT`` prints JSON: sockets and resident memory (KiB)
after a tenth of the look-ups and after all of them, and the outcomes.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.task import Cooperator, react

from image_cri_shim.config import parse
from image_cri_shim.resolution import Resolution
from tests.support.processes import memory

WORKERS = 50


def left_behind() -> dict[str, int]:
    gc.collect()
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    return {"sockets": sum(link.startswith("socket:") for link in links), "memory": memory("self")}


@inlineCallbacks
def ask(reactor: Any, url: str, count: int) -> Any:
    # Nothing is remembered for longer than a hundred others: each look-up is a request.
    config = parse(f"address: {url}\ncache: {{imageCacheSize: 100}}", "load.yaml")
    resolution = Resolution(config, reactor)
    outcomes: Counter[str] = Counter()

    def questions(begin: int, end: int) -> Iterator[Deferred[Any]]:
        for number in range(begin, end):
            name = f"origin.test/lab/image{number % 500}:{number}"
            deciding = resolution.resolver.resolve(name)
            deciding.addCallback(lambda d: outcomes.update(str(a.outcome) for a in d.look_ups))
            yield deciding

    @inlineCallbacks
    def work(begin: int, end: int) -> Any:
        todo = questions(begin, end)
        cooperator = Cooperator(scheduler=lambda f: reactor.callLater(0, f))
        workers = [cooperator.coiterate(todo) for _ in range(WORKERS)]
        yield DeferredList(workers, fireOnOneErrback=True, consumeErrors=True)

    yield work(0, count // 10)
    before = left_behind()
    yield work(count // 10, count)
    after = left_behind()
    yield resolution.close()
    print(
        json.dumps(
            {
                "before": before,
                "after": after,
                "closed": left_behind(),
                "outcomes": outcomes,
                "cached": len(resolution.cache),
            }
        )
    )


if __name__ == "__main__":
    react(ask, (sys.argv[1], int(sys.argv[2])))
