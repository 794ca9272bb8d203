"""What is called, and how it is measured: on every way in turn, in several rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from benchmarks.load import Connection, Method, Run, drive, fan_out
from image_cri_shim.cri._generated import cri_pb2
from tests.support.cri_client import CRI

DIRECT, SHIM, BARE, UVLOOP = "direct", "shim", "bare proxy", "shim on uvloop"
IMAGES = "/runtime.v1.ImageService/"
RUNTIME = "/runtime.v1.RuntimeService/"
VERSION = Method(f"{RUNTIME}Version", b"")
LIST_IMAGES = Method(f"{IMAGES}ListImages", b"")
EVENTS = Method(f"{RUNTIME}GetContainerEvents", b"")
_WARM_UP = 10


def image_status(image: str) -> Method:
    """Return the call that asks for an image."""
    request = cri_pb2.ImageStatusRequest(image=cri_pb2.ImageSpec(image=image))
    return Method(f"{IMAGES}ImageStatus", request.SerializeToString())


def pull_image(image: str) -> Method:
    """Return the call that pulls an image."""
    request = cri_pb2.PullImageRequest(image=cri_pb2.ImageSpec(image=image))
    return Method(f"{IMAGES}PullImage", request.SerializeToString())


@attrs.frozen
class Sample:
    """What one way took in one round.

    :ivar p50: the median seconds of a call.
    :ivar rate: calls, or events, in a second.
    """

    p50: float
    rate: float


@attrs.frozen
class Case:
    """One row of the results.

    :ivar name: what is called.
    :ivar width: how many calls, or clients, there are at the same time.
    :ivar sample: measures one way, by its name and its socket, for about so many seconds.
    """

    name: str
    width: int
    sample: Callable[[str, str, float], Sample]


@attrs.frozen
class Result:
    """A case's samples: for each way one of each round, in the same order."""

    case: Case
    samples: Mapping[str, Sequence[Sample]]

    def ratios(self, way: str) -> list[float]:
        """Return, for each round, how many times the direct call's time the same call takes."""
        pairs = zip(self.samples[way], self.samples[DIRECT], strict=True)
        return [one.p50 / direct.p50 for one, direct in pairs]

    def p50(self, way: str) -> float:
        """Return the median seconds of a call."""
        return statistics.median(sample.p50 for sample in self.samples[way])

    def rate(self, way: str) -> float:
        """Return calls in a second."""
        return statistics.median(sample.rate for sample in self.samples[way])


def measure(case: Case, ways: Mapping[str, str], rounds: int, seconds: float) -> Result:
    """Measure a case on every way, in another order each round.

    :param ways: their sockets by their names.
    :param seconds: about how long one way takes in one round.
    """
    names = list(ways)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            samples[name].append(case.sample(name, ways[name], seconds))
    return Result(case, samples)


def repeated(name: str, width: int, direct: Method, through: Method | None = None) -> Case:
    """Return a case that makes the same call again and again on one connection.

    :param direct: what is called without the shim.
    :param through: what is called through it, where that differs.
    """

    def sample(way: str, socket: str, seconds: float) -> Sample:
        method = through if through is not None and way in (SHIM, UVLOOP) else direct
        with Connection(socket, method) as connection:
            drive(connection, width=width, count=max(width, _WARM_UP))
            return _sample(drive(connection, width=width, seconds=seconds))

    return Case(name, width, sample)


def by_grpcio(name: str, direct: str, through: str) -> Case:
    """Return a case in which an ordinary client asks for an image again and again.

    :param direct: the image's name for the runtime.
    :param through: its name for the shim.
    """

    def sample(way: str, socket: str, seconds: float) -> Sample:
        image = through if way in (SHIM, UVLOOP) else direct
        took: list[float] = []
        with CRI(socket) as client:
            for _ in range(_WARM_UP):
                client.image_status(image)
            begin = now = time.perf_counter()
            while now < begin + seconds:
                client.image_status(image)
                before, now = now, time.perf_counter()
                took.append(now - before)
        return Sample(statistics.median(took), len(took) / (now - begin))

    return Case(name, 1, sample)


def each_new(name: str, count: int, fresh: Iterator[tuple[str, str]]) -> Case:
    """Return a case that pulls another image with each call.

    :param count: how many on one way in one round.
    :param fresh: yields the names of images that nobody has pulled: the direct one, and the one
        that the shim is asked for.
    """

    def sample(way: str, socket: str, _seconds: float) -> Sample:
        took = []
        for _ in range(count):
            direct, through = next(fresh)
            name = through if way in (SHIM, UVLOOP) else direct
            with Connection(socket, pull_image(name)) as connection:
                took += drive(connection, count=1).took
        return Sample(statistics.median(took), count / sum(took))

    return Case(name, 1, sample)


def events(name: str, clients: int, each: int) -> Case:
    """Return a case in which clients read a stream of events each, all at the same time.

    :param each: how many events each of them reads.
    """

    def sample(_way: str, socket: str, _seconds: float) -> Sample:
        connections = [Connection(socket, EVENTS) for _ in range(clients)]
        try:
            run = fan_out(connections)
        finally:
            for connection in connections:
                connection.close()
        return Sample(run.seconds, each * clients / run.seconds)

    return Case(name, clients, sample)


def _sample(run: Run) -> Sample:
    return Sample(statistics.median(run.took), run.rate)
