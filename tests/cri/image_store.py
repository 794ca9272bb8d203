"""A scripted runtime with an image store: what is pulled gets a tag and a digest, as in containerd."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.decision import Registry
from image_cri_shim.originals import in_full, repository_of
from image_cri_shim.reference import identifies
from tests.cri.scripted import ScriptedUpstream, UpstreamCall, refuse, reply
from tests.cri.shim import Shim
from tests.support.cri_client import CRI

HUB = Registry("sealos.hub:5000", plain_http=True, offline=True, priority=1000)
HARBOR = Registry("harbor.corp")
# Fields that the shim does not know: Image.pinned (8), ImageStatusResponse.info (2).
PINNED = b"\x40\x01"
INFO = b"\x12\x04\x0a\x02ab"


MakeShim = Callable[..., Shim]


def sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def status(client: CRI, image: str) -> cri_pb2.Image:
    found = client.image_status(image)
    assert found is not None, image
    return found


class ImageStore:
    """Images by their names in full.

    `content` says what is pulled under a name; what it does not have cannot be pulled. `filters`
    tells whether a filter of ListImages is honoured (containerd 1.6 does not), `told` what
    PullImage answers: ``id`` or ``digest``.
    """

    def __init__(self, upstream: ScriptedUpstream, *, filters: bool = True) -> None:
        self.upstream = upstream
        self.filters = filters
        self.told = "id"
        self.content: dict[str, str] = {}
        self.names: dict[str, str] = {}
        for method in ("ImageStatus", "RemoveImage", "ListImages", "StreamImages", "PullImage"):
            upstream.scripts[method] = getattr(self, f"_{method}")
        upstream.scripts["CreateContainer"] = reply(b"\x0a\x01c")

    def put(self, name: str, content: str) -> None:
        """Hold an image under a name, and under its digest in that repository."""
        full = in_full(name)
        assert full is not None
        self.names[full] = sha256(content)
        self.names[f"{repository_of(full)}@{sha256(content + ' manifest')}"] = sha256(content)

    def drop(self, content: str) -> None:
        """Remove an image, as somebody else would."""
        self.names = {name: one for name, one in self.names.items() if one != sha256(content)}

    def asked(self, method: str) -> list[str]:
        """Return the images that the runtime was asked about, in order."""
        kind = getattr(cri_pb2, f"{method}Request")
        return [kind.FromString(call.message).image.image for call in self.upstream.of(method)]

    def image(self, image_id: str) -> cri_pb2.Image:
        held = [name for name, one in self.names.items() if one == image_id]
        image = cri_pb2.Image.FromString(PINNED)
        image.id, image.size = image_id, 7
        image.repo_tags.extend(name for name in held if "@" not in name)
        image.repo_digests.extend(name for name in held if "@" in name)
        image.spec.image = held[0]
        return image

    def find(self, text: str) -> str | None:
        full = in_full(text)
        if full in self.names:
            return self.names[full]
        return next((one for one in self.names.values() if text and identifies(text, one)), None)

    async def _ImageStatus(self, call: UpstreamCall) -> None:
        await call.request()
        request = cri_pb2.ImageStatusRequest.FromString(call.message)
        found = self.find(request.image.image)
        answer = cri_pb2.ImageStatusResponse(image=self.image(found) if found else None)
        await reply(answer.SerializeToString() + (INFO if request.verbose else b""))(call)

    async def _RemoveImage(self, call: UpstreamCall) -> None:
        await call.request()
        found = self.find(cri_pb2.RemoveImageRequest.FromString(call.message).image.image)
        self.names = {name: one for name, one in self.names.items() if one != found}
        await reply(b"")(call)

    async def _ListImages(self, call: UpstreamCall) -> None:
        await call.request()
        answer = cri_pb2.ListImagesResponse(images=self._listed(call))
        await reply(answer.SerializeToString())(call)

    async def _StreamImages(self, call: UpstreamCall) -> None:
        await call.request()
        parts = [cri_pb2.StreamImagesResponse(images=[one]) for one in self._listed(call)]
        await reply(*(part.SerializeToString() for part in parts))(call)

    def _listed(self, call: UpstreamCall) -> list[cri_pb2.Image]:
        wanted = cri_pb2.ListImagesRequest.FromString(call.message).filter.image.image
        found = self.find(wanted) if wanted and self.filters else None
        if wanted and self.filters and found is None:
            return []
        return [
            self.image(one) for one in dict.fromkeys(self.names.values()) if found in (None, one)
        ]

    async def _PullImage(self, call: UpstreamCall) -> None:
        await call.request()
        name = in_full(cri_pb2.PullImageRequest.FromString(call.message).image.image) or ""
        if name not in self.content:
            await refuse(5, b"not found")(call)
            return
        self.put(name, self.content[name])
        told = self.names[name]
        if self.told == "digest":
            told = f"{repository_of(name)}@{sha256(self.content[name] + ' manifest')}"
        await reply(cri_pb2.PullImageResponse(image_ref=told).SerializeToString())(call)
