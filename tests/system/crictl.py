"""The calls that crictl makes for its image commands, in their order and with its deadline."""

from __future__ import annotations

from image_cri_shim.cri._generated import cri_pb2
from tests.support.cri_client import CRI

# Seconds: crictl's default for every call but a pull.
TIMEOUT = 2.0
PULL_TIMEOUT = 60.0


class NoSuchImageError(Exception):
    """crictl says: no such image."""


class Crictl:
    """crictl on one socket in one CRI version."""

    def __init__(self, client: CRI) -> None:
        self._client = client

    def pull(self, image: str) -> str:
        """`crictl pull IMAGE`: return the image reference that it prints."""
        self._begin()
        return self._client.pull(image, timeout=PULL_TIMEOUT)

    def images(self) -> list[cri_pb2.Image]:
        """`crictl images`: it sends a filter with an empty image."""
        self._begin()
        return self._client.list_images("", timeout=TIMEOUT)

    def inspecti(self, image: str) -> cri_pb2.Image:
        """`crictl inspecti IMAGE`: a verbose status."""
        self._begin()
        return self._found(self._client.image_status(image, True, timeout=TIMEOUT), image)

    def rmi(self, image: str) -> list[str]:
        """`crictl rmi IMAGE`: a status, then the removal; return the tags that it prints."""
        self._begin()
        found = self._found(self._client.image_status(image, timeout=TIMEOUT), image)
        self._client.remove_image(image, timeout=TIMEOUT)
        return list(found.repo_tags)

    def _begin(self) -> None:
        # Newer ones make sure in this way that the endpoint speaks the CRI version.
        self._client.image_fs_info(timeout=TIMEOUT)

    @staticmethod
    def _found(image: cri_pb2.Image | None, name: str) -> cri_pb2.Image:
        if image is None:
            raise NoSuchImageError(name)
        return image
