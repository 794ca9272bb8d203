"""Call a CRI socket from many clients for some time, and tell how the calls ended.

    python -m tests.support.load_client SOCKET --clients 64 --seconds 600 --image NAME ...

Every client has a connection of its own and makes one call after the other: reads, passed-through
calls and pulls of the images, each with a deadline. What comes out is one JSON object: `codes`
(how often each status came), `late` (calls that ended more than a second after their deadline),
`slowest` (seconds), `others` (a few messages of what was neither OK nor UNAVAILABLE).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter

import grpc
import grpc.aio

from image_cri_shim.cri._generated import cri_pb2

DEADLINE = 10.0
SLACK = 1.0
# Seconds between two calls of a client: load, but no race for the processor.
PAUSE = 0.2
IMAGES, RUNTIME = "/runtime.v1.ImageService/", "/runtime.v1.RuntimeService/"


class Outcomes:
    """What became of the calls."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.late = 0
        self.slowest = 0.0
        self.others: list[str] = []

    def note(self, code: grpc.StatusCode, message: str, took: float) -> None:
        self.codes[code.name] += 1
        self.late += took > DEADLINE + SLACK
        self.slowest = max(self.slowest, took)
        if code not in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE) and len(self.others) < 9:
            self.others.append(f"{code.name}: {message}")


def calls(images: list[str]) -> list[tuple[str, bytes]]:
    """Return paths and messages to choose from."""
    found = [
        (f"{IMAGES}ImageFsInfo", b""),
        (f"{IMAGES}ListImages", b""),
        (f"{RUNTIME}Version", b""),
        (f"{RUNTIME}ListContainers", b""),
    ]
    for image in images:
        spec = cri_pb2.ImageSpec(image=image)
        found += [
            (f"{IMAGES}ImageStatus", cri_pb2.ImageStatusRequest(image=spec).SerializeToString()),
            (f"{IMAGES}PullImage", cri_pb2.PullImageRequest(image=spec).SerializeToString()),
        ]
    return found


async def client(target: str, images: list[str], end: float, outcomes: Outcomes) -> None:
    """Make one call after the other until the time is over."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
    chosen = random.Random()
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        while time.monotonic() < end:
            path, message = chosen.choice(calls(images))
            started = time.monotonic()
            try:
                await channel.unary_unary(path)(message, timeout=DEADLINE)
                code, text = grpc.StatusCode.OK, ""
            except grpc.aio.AioRpcError as error:
                code, text = error.code(), error.details() or ""
            outcomes.note(code, text, time.monotonic() - started)
            await asyncio.sleep(PAUSE * chosen.uniform(0.5, 1.5))


async def main() -> None:
    """Run the clients."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--image", action="append", default=[])
    options = parser.parse_args()
    outcomes = Outcomes()
    end = time.monotonic() + options.seconds
    target = f"unix:{options.socket}"
    await asyncio.gather(
        *(client(target, options.image, end, outcomes) for _ in range(options.clients))
    )
    print(json.dumps(vars(outcomes)))


if __name__ == "__main__":
    asyncio.run(main())
