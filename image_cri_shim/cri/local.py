"""Local questions: ImageStatus, ListImages and RemoveImage, answered from what the runtime has.

They never wait for a registry. The runtime is asked about the names that a reference stands for,
and the first that is present is the answer, as the runtime gave it; with ``originalNames``, under
the names that clients know.
"""

from __future__ import annotations

import attrs
from google.protobuf.message import DecodeError

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.call import Call
from image_cri_shim.cri.naming import Naming
from image_cri_shim.cri.status import Answer, Code, RpcError, frame
from image_cri_shim.cri.versions import IMAGE_SERVICE, Method
from image_cri_shim.reference import identifies, is_image_id, may_be_short_id

_STATUS = Method(b"", "v1", IMAGE_SERVICE, "ImageStatus")


@attrs.frozen
class _Found:
    """What the runtime said about the names of an image.

    :ivar name: the one that is present, or empty.
    :ivar answer: what was said about it; if there is none, of all answers the first that is an
        error, else the one for the name as it was written.
    :ivar status: the answer's message, if a name is present.
    """

    name: str
    answer: Answer
    status: cri_pb2.ImageStatusResponse | None = None


async def image_status(call: Call, naming: Naming) -> Answer:
    """Answer ImageStatus; the common case is one question to the runtime."""
    request = cri_pb2.ImageStatusRequest.FromString(call.payload)
    image = request.image.image
    if is_image_id(image):
        answer = await call.unary(call.message)
        if naming.changes and answer.code == Code.OK:
            return _shown(answer, cri_pb2.ImageStatusResponse.FromString(answer.payload), naming)
        return answer
    found = await _find(call, naming, request)
    if found.status is None:
        return found.answer
    naming.found(image, found.name, found.status.image)
    return _shown(found.answer, found.status, naming)


async def remove_image(call: Call, naming: Naming) -> Answer:
    """Answer RemoveImage: remove the first name that is present, else ask for what was asked.

    Removing what is absent is no error (CRI, RemoveImage).
    """
    request = cri_pb2.RemoveImageRequest.FromString(call.payload)
    image = request.image.image
    message = call.message
    removed = ""
    if not is_image_id(image) and len(naming.held_names(image)) > 1:
        question = cri_pb2.ImageStatusRequest()
        question.image.CopyFrom(request.image)
        found = await _find(call, naming, question)
        if not found.name and found.answer.code not in (Code.OK, Code.NOT_FOUND):
            return found.answer
        if found.name and found.name != image:
            request.image.image = found.name
            message = frame(request.SerializeToString())
        if found.name == image and found.status is not None and may_be_short_id(image):
            image_id = found.status.image.id
            removed = image_id if identifies(image, image_id) else ""
    answer = await call.unary(message)
    if answer.code == Code.OK:
        naming.removed(removed or request.image.image)
    return answer


async def held_name(call: Call, naming: Naming, image: str) -> str:
    """Return the name under which the runtime holds what a client calls ``image``.

    :returns: ``image`` itself where it is the only name, an ID, or not held at all.
    """
    if is_image_id(image) or len(naming.held_names(image)) == 1:
        return image
    question = cri_pb2.ImageStatusRequest()
    question.image.image = image
    found = await _find(call, naming, question)
    return found.name or image


async def pulled_image(call: Call, name: str) -> cri_pb2.Image | None:
    """Return what the runtime says of an image that it has just pulled.

    :returns: None if it says nothing; the image is pulled all the same.
    """
    question = cri_pb2.ImageStatusRequest()
    try:
        answer = await _status(call, question, name, None)
        status = cri_pb2.ImageStatusResponse.FromString(answer.payload)
    except (RpcError, DecodeError, UnicodeDecodeError):
        return None
    return status.image if status.HasField("image") else None


async def list_images(call: Call, naming: Naming) -> Answer:
    """Answer ListImages; with a filter, merge what the runtime lists under each name."""
    request = cri_pb2.ListImagesRequest.FromString(call.payload)
    names = filtered_names(request, naming)
    if len(names) == 1 and not naming.changes:
        return await call.unary(call.message)
    merged = Merged(naming, complete=not request.filter.image.image)
    parts: list[cri_pb2.ListImagesResponse] = []
    for message in questions(call, request, names):
        answer = await call.unary(message)
        if answer.code != Code.OK:
            return answer
        parts.append(cri_pb2.ListImagesResponse.FromString(answer.payload))
        merged.note(parts[-1])
    # First of all, so that what is gone by now names nothing.
    merged.over()
    for part in parts:
        merged.take(part)
    first, *others = parts
    for part in others:
        first.images.extend(part.images)
    return attrs.evolve(answer, frame=frame(first.SerializeToString()))


def filtered_names(request: cri_pb2.ListImagesRequest, naming: Naming) -> tuple[str, ...]:
    """Return the names that the runtime is asked to list."""
    image = request.filter.image.image
    return naming.listed_names(image) if image and not is_image_id(image) else (image,)


def questions(
    call: Call, request: cri_pb2.ListImagesRequest, names: tuple[str, ...]
) -> list[bytes]:
    """Return the messages that ask for each name: the client's own where there is but one."""
    if len(names) == 1:
        return [call.message]
    messages = []
    for name in names:
        request.filter.image.image = name
        messages.append(frame(request.SerializeToString()))
    return messages


class Merged:
    """Sees to it that of several answers each image is told once, under the names clients see.

    :param complete: whether all that the runtime holds is in the answers.
    """

    def __init__(self, naming: Naming, *, complete: bool) -> None:
        self._naming = naming
        self._complete = complete
        self._since = naming.memory.originals.moment
        self._seen: set[str] = set()
        self._held: list[str] = []

    def note(self, answer: cri_pb2.ListImagesResponse) -> None:
        """Take note of the names in an answer."""
        if self._complete:
            for image in answer.images:
                self._held += (*image.repo_tags, *image.repo_digests)

    def take(self, answer: cri_pb2.ListImagesResponse) -> None:
        """Take the images out of an answer that were told before, and name the others."""
        for index in reversed(range(len(answer.images))):
            image = answer.images[index]
            if image.id in self._seen:
                del answer.images[index]
        for image in answer.images:
            self._seen.add(image.id)
            self._naming.image(image)

    def skip(self) -> None:
        """Take note that something was told that nobody here can read."""
        self._complete = False

    def over(self) -> None:
        """Take note that this was all."""
        if self._complete:
            self._naming.all_held(self._held, self._since)


async def _find(call: Call, naming: Naming, question: cri_pb2.ImageStatusRequest) -> _Found:
    """Ask the runtime for the names of an image until one is present.

    The name as it was written may be the beginning of an image ID; it is the runtime that knows,
    and it comes last, because a name goes before an ID in runtimes too.
    """
    image = question.image.image
    raw = call.message if call.method.name == _STATUS.name else None
    as_written: Answer | None = None
    failed: Answer | None = None
    for name in naming.held_names(image):
        since = naming.memory.originals.moment
        answer = await _status(call, question, name, raw if name == image else None)
        if answer.code == Code.OK:
            status = cri_pb2.ImageStatusResponse.FromString(answer.payload)
            if status.HasField("image"):
                if (
                    failed is not None
                    and may_be_short_id(image)
                    and identifies(image, status.image.id)
                ):
                    # Whether there is such a name is not known, so this may be another image.
                    return _Found("", failed)
                return _Found(name, answer, status)
            naming.absent(name, since)
        if name == image:
            as_written = answer
        if failed is None and answer.code not in (Code.OK, Code.NOT_FOUND):
            failed = answer
    if as_written is None:
        raise AssertionError("the name as written is always asked for")
    return _Found("", failed or as_written)


async def _status(
    call: Call, question: cri_pb2.ImageStatusRequest, name: str, raw: bytes | None
) -> Answer:
    """Ask for one name; ``raw`` is the whole question where it is the client's own."""
    if raw is None:
        question.image.image = name
        raw = frame(question.SerializeToString())
    return await call.unary(raw, _STATUS)


def _shown(answer: Answer, status: cri_pb2.ImageStatusResponse, naming: Naming) -> Answer:
    """Return an answer as clients see it."""
    if not naming.changes or not status.HasField("image"):
        return answer
    naming.image(status.image)
    return attrs.evolve(answer, frame=frame(status.SerializeToString()))
