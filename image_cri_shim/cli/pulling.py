"""One pull through the shim: the call, what is shown meanwhile, and what the node then has."""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import attrs

from image_cri_shim.cli import streams
from image_cri_shim.cli.image_service import Failed, ImageService
from image_cri_shim.cli.pull_follower import PullFollower
from image_cri_shim.cli.pull_progress import PullProgress
from image_cri_shim.cli.status import FAILED, FOUND, UNREACHABLE
from image_cri_shim.cli.terminal import as_json, complain, microseconds, one_line
from image_cri_shim.config import format_duration
from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.pull_record import Document

# Seconds between two looks at the clock, for what is shown of time that passes.
_TICK = 1.0
# Seconds in which the daemon says how a pull ended that is over.
_LAST_WORD = 1.0


@attrs.define
class Result:
    """What came of it.

    :ivar seconds: how long the pull took, or how long it was until it failed; None if there was
        none.
    :ivar reference: what the runtime calls the image that it pulled; None if it did not.
    :ivar held: what the node then has; None if that is not known.
    :ivar failure: what went wrong: the pull, or else the question for what the node then has.
    """

    image: str
    seconds: float | None = None
    reference: str | None = None
    held: cri_pb2.ImageStatusResponse | None = None
    failure: Failed | None = None

    @property
    def status(self) -> int:
        """The exit status."""
        if self.reference is None:
            return FAILED if self.failure is None else self.failure.status
        # A daemon that was told to stop finishes the pull, and takes no more calls.
        return FOUND if self.held is None or self.held.HasField("image") else FAILED


async def pull(
    options: argparse.Namespace,
    socket: str,
    password: str | None,
    progress: PullProgress,
    follow: Callable[[], PullFollower | None],
) -> int:
    """Pull an image, print what came of it and return the exit status.

    :param options: the command line.
    :param socket: the shim's, with or without ``unix://`` in front.
    :param password: the one of the command line's user; None if it names none.
    :param progress: shows how far it is.
    :param follow: returns who tells the progress of the decision, in the event loop; or None.
    """
    service = ImageService(socket, options.cri_version)
    result = Result(options.image)
    follower = follow()
    try:
        async with asyncio.timeout(options.timeout) as bound:
            await service.connect()
            if follower is not None and (why := await follower.begin()):
                follower = None
                if not options.quiet:
                    complain(f"the decision cannot be shown: {why}")
            progress.begin(followed=follower is not None)
            async with _time_passing(progress):
                request = _request(options, password)
                started = time.monotonic()
                try:
                    reply = await service.call(
                        "PullImage", request, cri_pb2.PullImageResponse(), bound.when()
                    )
                finally:
                    result.seconds = time.monotonic() - started
            result.reference = reply.image_ref
            if follower is not None:
                await follower.last_word(_LAST_WORD)
            progress.end()
            if not options.json:
                streams.write(f"pulled {one_line(options.image)} in {result.seconds:.2f} s")
                streams.write(f"  image ref     {one_line(reply.image_ref)}")
            result.held = await service.status(options.image, bound.when())
    except TimeoutError:
        result.failure = Failed(f"gave up after {format_duration(options.timeout)}")
    except Failed as error:
        result.failure = error
    finally:
        progress.end()
        service.close()
    if follower is not None:
        if result.failure is not None:
            await follower.last_word(_LAST_WORD)
        follower.end()
    _show(result, None if follower is None else follower.document, as_machine=options.json)
    return result.status


@contextlib.asynccontextmanager
async def _time_passing(progress: PullProgress) -> AsyncIterator[None]:
    """Let the time pass in what is shown."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(_TICK)
            progress.tick()

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()


def _request(options: argparse.Namespace, password: str | None) -> cri_pb2.PullImageRequest:
    request = cri_pb2.PullImageRequest()
    request.image.image = options.image
    if password is not None:
        pair = f"{options.user}:{password}".encode("utf-8", "surrogateescape")
        request.auth.auth = base64.b64encode(pair).decode("ascii")
    return request


def _show(result: Result, decision: Document | None, *, as_machine: bool) -> None:
    """Say what there is to say beside that it was pulled."""
    if result.failure is not None:
        if result.reference is not None:
            complain(f"{result.image}: what the runtime now has cannot be shown: {result.failure}")
        elif result.failure.status == UNREACHABLE:
            complain(str(result.failure))
        else:
            complain(f"{result.image}: {result.failure}")
    if as_machine:
        streams.write(as_json(as_object(result, decision)))
        return
    if result.held is None:
        return
    if not result.held.HasField("image"):
        streams.write_error("  the runtime does not show it under this name")
        return
    for label, values in (
        ("image ID", [result.held.image.id]),
        ("listed as", result.held.image.repo_tags),
        ("digest", result.held.image.repo_digests),
    ):
        for value in values:
            streams.write(f"  {label:<13} {one_line(value)}")


def as_object(result: Result, decision: Document | None) -> dict[str, object]:
    """Return what came of it as an object of what JSON knows."""
    image = None
    if result.held is not None and result.held.HasField("image"):
        image = result.held.image
    return {
        "image": result.image,
        "pulled": result.reference is not None,
        "seconds": None if result.seconds is None else microseconds(result.seconds),
        "error": None if result.failure is None else str(result.failure),
        "decision": decision,
        "imageRef": result.reference,
        "held": None
        if image is None
        else {
            "id": image.id,
            "tags": list(image.repo_tags),
            "digests": list(image.repo_digests),
        },
    }
