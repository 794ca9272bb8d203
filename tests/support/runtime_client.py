"""Call any method of the CRI with grpcio and the messages of runtime_messages."""

from __future__ import annotations

from google.protobuf.message import Message

from tests.support.cri_client import CRI, Answer, Metadata
from tests.support.runtime_messages import message, parse

IMAGE_METHODS = frozenset(
    {"ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo", "StreamImages"}
)


class RuntimeClient(CRI):
    """A client of one CRI socket in one CRI version that knows both services.

    A method is named as the CRI names it, without its service. Fields are those of its request;
    a nested message is a dict.
    """

    def __init__(self, socket: str, version: str = "v1") -> None:
        super().__init__(socket, version)
        self.version_spoken = version

    def method(self, name: str) -> str:
        """Return the path of the method `name`."""
        return self.path("ImageService" if name in IMAGE_METHODS else "RuntimeService", name)

    def call(self, name: str, /, *, deadline: float | None = 60, **fields: object) -> Message:
        """Make a unary call and return the answer; raises grpc.RpcError.

        `deadline` is in seconds: a field of some requests is called timeout.
        """
        request = message(f"{name}Request", **fields).SerializeToString()
        answer = self._channel.unary_unary(self.method(name))(request, timeout=deadline)
        return parse(f"{name}Response", answer)

    def outcome(
        self, name: str, /, *, metadata: Metadata | None = None, **fields: object
    ) -> Answer:
        """Make a unary call and return everything that came back, whatever the outcome."""
        request = message(f"{name}Request", **fields).SerializeToString()
        return self.raw(self.method(name), request, metadata=metadata)

    # What most specs are made of, in short.

    def status_of(self, image: str) -> Message | None:
        """Return the Image that ImageStatus answers for a name, a digest or an ID, or None."""
        answer = self.call("ImageStatus", image={"image": image})
        return answer.image if answer.HasField("image") else None

    def images(self) -> list[Message]:
        """Return what ListImages without a filter answers."""
        return list(self.call("ListImages").images)

    def remove(self, image: str) -> None:
        """Remove an image by a name, a digest or an ID."""
        self.call("RemoveImage", image={"image": image})
