"""Local questions: ImageStatus, ListImages and RemoveImage, answered from what the runtime has.

They never wait for a registry. The runtime is asked about the names that a reference stands for,
and the first that is present is the answer, as the runtime gave it.
"""

from __future__ import annotations

from collections import OrderedDict

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.call import Call
from image_cri_shim.cri.status import Answer, Code, frame
from image_cri_shim.cri.versions import IMAGE_SERVICE, Method
from image_cri_shim.policy import Policy
from image_cri_shim.reference import identifies, is_image_id, may_be_short_id

_REMEMBERED = 4096
_STATUS = Method(b"", "v1", IMAGE_SERVICE, "ImageStatus")


class LocalNames:
    """Remembers under which name the runtime held an image last.

    It only decides what is asked first, so a wrong memory costs one more question, never a wrong
    answer; it may be lost at any time.
    """

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._names: OrderedDict[str, str] = OrderedDict()

    def remember(self, image: str, name: str) -> None:
        """Note that ``image`` is held as ``name``."""
        self._names[image] = name
        self._names.move_to_end(image)
        if len(self._names) > self._limit:
            self._names.popitem(last=False)

    def in_order(self, image: str, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return ``names`` with the one that was held last in front."""
        last = self._names.get(image)
        if last == image and may_be_short_id(image):
            # As written it may be an ID by now, and a name goes before that.
            return names
        if last is None or last == names[0] or last not in names:
            return names
        return (last, *(name for name in names if name != last))


class Images:
    """The images of this node, as clients name them.

    :param names: the memory of what is held under which name.
    """

    def __init__(self, names: LocalNames) -> None:
        self._names = names

    async def image_status(self, call: Call, policy: Policy) -> Answer:
        """Answer ImageStatus; the common case is one question to the runtime."""
        request = cri_pb2.ImageStatusRequest.FromString(call.payload)
        image = request.image.image
        if is_image_id(image):
            return await call.unary(call.message)
        found, answer = await self._find(call, policy, request)
        if found and not (found == image and may_be_short_id(image)):
            self._names.remember(image, found)
        return answer

    async def remove_image(self, call: Call, policy: Policy) -> Answer:
        """Answer RemoveImage: remove the first name that is present, else ask for what was asked.

        Removing what is absent is no error (CRI, RemoveImage).
        """
        request = cri_pb2.RemoveImageRequest.FromString(call.payload)
        image = request.image.image
        message = call.message
        if len(policy.local_names(image)) > 1:
            question = cri_pb2.ImageStatusRequest()
            question.image.CopyFrom(request.image)
            found, answer = await self._find(call, policy, question)
            if not found and answer.code not in (Code.OK, Code.NOT_FOUND):
                return answer
            if found and found != image:
                request.image.image = found
                message = frame(request.SerializeToString())
        return await call.unary(message)

    async def list_images(self, call: Call, policy: Policy) -> Answer:
        """Answer ListImages; with a filter, merge what the runtime lists under each name."""
        request = cri_pb2.ListImagesRequest.FromString(call.payload)
        image = request.filter.image.image
        names = policy.local_names(image) if image else (image,)
        if len(names) == 1:
            return await call.unary(call.message)
        merged = cri_pb2.ListImagesResponse()
        seen: set[str] = set()
        answers: list[Answer] = []
        for name in names:
            request.filter.image.image = name
            answer = await call.unary(frame(request.SerializeToString()))
            if answer.code != Code.OK:
                return answer
            answers.append(answer)
            for found in cri_pb2.ListImagesResponse.FromString(answer.payload).images:
                if found.id not in seen:
                    seen.add(found.id)
                    merged.images.append(found)
        last = answers[-1]
        return Answer(last.headers, frame(merged.SerializeToString()), last.trailers)

    async def _find(
        self, call: Call, policy: Policy, question: cri_pb2.ImageStatusRequest
    ) -> tuple[str, Answer]:
        """Ask the runtime for the names of an image until one is present.

        The name as it was written may be the beginning of an image ID; it is the runtime that
        knows, and it comes last, because a name goes before an ID in runtimes too.

        :returns: that name and the answer; or an empty name and, of the answers, the first that is
            an error, else the one for the name as it was written.
        """
        image = question.image.image
        raw = call.message if call.method.name == _STATUS.name else None
        as_written: Answer | None = None
        failed: Answer | None = None
        for name in self._names.in_order(image, policy.local_names(image)):
            answer = await self._status(call, question, name, raw if name == image else None)
            if answer.code == Code.OK and _present(answer):
                if failed is not None and may_be_short_id(image) and _identified(image, answer):
                    # Whether there is such a name is not known, so this may be another image.
                    return "", failed
                return name, answer
            if name == image:
                as_written = answer
            if failed is None and answer.code not in (Code.OK, Code.NOT_FOUND):
                failed = answer
        if as_written is None:
            raise AssertionError("the name as written is always asked for")
        return "", failed or as_written

    async def _status(
        self, call: Call, question: cri_pb2.ImageStatusRequest, name: str, raw: bytes | None
    ) -> Answer:
        """Ask for one name; ``raw`` is the whole question where it is the client's own."""
        if raw is None:
            question.image.image = name
            raw = frame(question.SerializeToString())
        return await call.unary(raw, _STATUS)


def _present(answer: Answer) -> bool:
    return cri_pb2.ImageStatusResponse.FromString(answer.payload).HasField("image")


def _identified(image: str, answer: Answer) -> bool:
    if answer.code != Code.OK:
        return False
    status = cri_pb2.ImageStatusResponse.FromString(answer.payload)
    return status.HasField("image") and identifies(image, status.image.id)
