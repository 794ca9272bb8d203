"""Speak CRI with grpcio: a gRPC implementation that is not the shim's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc

from image_cri_shim.cri._generated import cri_pb2

LIMIT = 64 * 1024 * 1024
Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Answer:
    """Everything that came back for one call; `code` is grpc.StatusCode.OK when it succeeded."""

    body: bytes
    code: grpc.StatusCode
    details: str
    initial_metadata: tuple[tuple[str, str | bytes], ...]
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


class CRI:
    """Call one CRI socket in one CRI version (`v1` or `v1alpha2`).

    The methods return messages and raise grpc.RpcError (with `code()` and `details()`); `raw`
    returns an Answer whatever the outcome.
    """

    def __init__(self, socket: str, version: str = "v1") -> None:
        self._package = f"runtime.{version}"
        self._channel = grpc.insecure_channel(
            f"unix:{socket}",
            options=(
                ("grpc.max_receive_message_length", LIMIT),
                ("grpc.max_send_message_length", LIMIT),
                ("grpc.enable_http_proxy", 0),
                # Two clients of one socket are two connections, as two programs would be.
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 1000),
                ("grpc.max_reconnect_backoff_ms", 500),
            ),
        )

    def path(self, service: str, method: str) -> str:
        """Return the path of a method of `ImageService` or `RuntimeService`."""
        return f"/{self._package}.{service}/{method}"

    def start(
        self,
        path: str,
        body: bytes,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        wait_for_ready: bool = False,
    ) -> grpc.Future:
        """Start a unary call; the caller waits for it or cancels it."""
        return self._channel.unary_unary(path).future(
            body, timeout=timeout, metadata=metadata, wait_for_ready=wait_for_ready
        )

    def raw(
        self,
        path: str,
        body: bytes = b"",
        *,
        timeout: float | None = 30,
        metadata: Metadata | None = None,
        wait_for_ready: bool = False,
    ) -> Answer:
        """Make a unary call with raw bytes and return everything that came back."""
        call = self.start(
            path, body, timeout=timeout, metadata=metadata, wait_for_ready=wait_for_ready
        )
        try:
            content = call.result()
        except grpc.RpcError:
            content = b""
        return Answer(
            body=content,
            code=call.code(),
            details=call.details() or "",
            initial_metadata=_pairs(call.initial_metadata()),
            trailing_metadata=_pairs(call.trailing_metadata()),
        )

    def stream(self, path: str, body: bytes = b"", *, timeout: float | None = 30) -> list[bytes]:
        """Call a method that streams its answer; return the messages as raw bytes."""
        return list(self._channel.unary_stream(path)(body, timeout=timeout))

    def version(self, *, timeout: float | None = 30) -> cri_pb2.VersionResponse:
        """Ask who the runtime is."""
        request = cri_pb2.VersionRequest()
        body = self._call("RuntimeService", "Version", request.SerializeToString(), timeout)
        return cri_pb2.VersionResponse.FromString(body)

    def pull(
        self,
        image: str,
        *,
        auth: Mapping[str, str] | None = None,
        timeout: float | None = 60,
        metadata: Metadata | None = None,
    ) -> str:
        """Pull `image` with the AuthConfig fields in `auth`; return the image reference."""
        request = cri_pb2.PullImageRequest(
            image=cri_pb2.ImageSpec(image=image),
            auth=cri_pb2.AuthConfig(**auth) if auth else None,
        )
        body = self._call(
            "ImageService", "PullImage", request.SerializeToString(), timeout, metadata
        )
        return cri_pb2.PullImageResponse.FromString(body).image_ref

    def image_status(
        self, image: str, verbose: bool = False, *, timeout: float | None = 30
    ) -> cri_pb2.Image | None:
        """Return what the runtime holds under `image` (name, digest or ID), None when nothing."""
        request = cri_pb2.ImageStatusRequest(image=cri_pb2.ImageSpec(image=image), verbose=verbose)
        body = self._call("ImageService", "ImageStatus", request.SerializeToString(), timeout)
        answer = cri_pb2.ImageStatusResponse.FromString(body)
        return answer.image if answer.HasField("image") else None

    def list_images(
        self, filter: str | None = None, *, timeout: float | None = 30
    ) -> list[cri_pb2.Image]:
        """Return the images that the runtime holds, or those under `filter`."""
        request = cri_pb2.ListImagesRequest()
        if filter is not None:
            request.filter.image.image = filter
        body = self._call("ImageService", "ListImages", request.SerializeToString(), timeout)
        return list(cri_pb2.ListImagesResponse.FromString(body).images)

    def remove_image(self, image: str, *, timeout: float | None = 30) -> None:
        """Remove `image`; no error when it is absent."""
        request = cri_pb2.RemoveImageRequest(image=cri_pb2.ImageSpec(image=image))
        self._call("ImageService", "RemoveImage", request.SerializeToString(), timeout)

    def image_fs_info(self, *, timeout: float | None = 30) -> bytes:
        """Return the raw ImageFsInfoResponse."""
        return self._call("ImageService", "ImageFsInfo", b"", timeout)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _call(
        self,
        service: str,
        method: str,
        body: bytes,
        timeout: float | None,
        metadata: Metadata | None = None,
    ) -> bytes:
        content: bytes = self._channel.unary_unary(self.path(service, method))(
            body, timeout=timeout, metadata=metadata
        )
        return content

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _pairs(metadata: Metadata | None) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((key, value) for key, value in metadata or ())
