"""StreamImages: ListImages in many messages, each under the names that clients see."""

from __future__ import annotations

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.call import Call
from image_cri_shim.cri.local import Merged, filtered_names, questions
from image_cri_shim.cri.naming import Naming
from image_cri_shim.cri.passthrough import Source
from image_cri_shim.cri.status import frame, header
from image_cri_shim.cri.stream import PREFIX_LENGTH, RawStream
from image_cri_shim.cri.upstream import forwarded


async def stream_images(stream: RawStream, call: Call, naming: Naming) -> None:
    """Answer StreamImages; with a filter, merge what the runtime lists under each name.

    Frames are passed on as they come, so however many images there are, one message is held.
    """
    # The same message as ListImages' (CRI, StreamImagesRequest).
    request = cri_pb2.ListImagesRequest.FromString(call.payload)
    names = filtered_names(request, naming)
    plain = len(names) == 1 and not naming.changes
    merged = Merged(naming, complete=not plain and not request.filter.image.image)
    for message in questions(call, request, names):
        headers = forwarded(call.headers, call.deadline, parsed=True)
        up, release, first = await call.upstream.begin(call.method, headers, message)
        try:
            answer = Source(up, call.upstream)
            if header(first, b"grpc-status") is not None:
                await _end(stream, first)
                return
            if not stream.wrote_headers:
                await stream.write_headers(first)
            while (whole := await answer.frame()) is not None:
                if whole[0]:
                    merged.skip()
                shown = whole if plain or whole[0] else _shown(whole, merged)
                if shown is not None:
                    await stream.write_frame(shown)
            trailers = await answer.trailers()
            if header(trailers, b"grpc-status") != b"0":
                await _end(stream, trailers)
                return
        finally:
            up.abandon()
            release()
    merged.over()
    await stream.write_headers(trailers, end=True)


async def _end(stream: RawStream, headers: list[tuple[bytes, bytes]]) -> None:
    """End the call with a status that the runtime gave; as trailers once there were headers."""
    if stream.wrote_headers:
        headers = [pair for pair in headers if pair[0] not in (b":status", b"content-type")]
    await stream.write_headers(headers, end=True)


def _shown(whole: bytes, merged: Merged) -> bytes | None:
    """Return a frame with those of its images that are new, or None if there are none."""
    answer = cri_pb2.ListImagesResponse.FromString(whole[PREFIX_LENGTH:])
    empty = not answer.images
    merged.note(answer)
    merged.take(answer)
    return frame(answer.SerializeToString()) if answer.images or empty else None
