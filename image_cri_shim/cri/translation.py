"""What is changed in answers that the shim otherwise only passes on.

``Version`` names the client's CRI version. And with ``originalNames: only`` no answer about a
container tells under which name the runtime holds its image.
"""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import DecodeError, Message

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.naming import Naming
from image_cri_shim.cri.status import frame
from image_cri_shim.cri.stream import PREFIX_LENGTH
from image_cri_shim.cri.versions import RUNTIME_SERVICE, V1, V1ALPHA2, Method

# Makes of a whole frame of an answer the one that the client gets.
Translate = Callable[[bytes], bytes]

# What tells of containers, and in what message.
_ANSWERS: dict[str, type[Message]] = {
    "ContainerStatus": cri_pb2.ContainerStatusResponse,
    "GetContainerEvents": cri_pb2.ContainerEventResponse,
    "ListContainers": cri_pb2.ListContainersResponse,
    "PodSandboxStatus": cri_pb2.PodSandboxStatusResponse,
    "StreamContainers": cri_pb2.ListContainersResponse,
}


def translation(method: Method, naming: Naming) -> Translate | None:
    """Return what changes the frames of a method's answer, or None where nothing does."""
    if method.service != RUNTIME_SERVICE:
        return None
    if method.name == "Version":
        return _readable(_version_in(method.version or V1))
    if naming.only and method.name in _ANSWERS:
        return _readable(_containers_in(_ANSWERS[method.name], naming))
    return None


def _readable(translate: Translate) -> Translate:
    """Return the same, but for what cannot be read: the client gets that as the runtime sent it."""

    def translate_or_leave(whole: bytes) -> bytes:
        try:
            return translate(whole)
        except (DecodeError, UnicodeDecodeError):
            # The latter is what protobuf's implementation in Python says of a bad string.
            return whole

    return translate_or_leave


def _version_in(version: str) -> Translate:
    """Return what has a Version's answer name the client's CRI version (``runtime_api_version``).

    What is no version of the CRI (dockershim told that of Docker's API) stays.
    """

    def translate(whole: bytes) -> bytes:
        answer = cri_pb2.VersionResponse.FromString(whole[PREFIX_LENGTH:])
        if answer.runtime_api_version not in (V1, V1ALPHA2) or (
            answer.runtime_api_version == version
        ):
            return whole
        answer.runtime_api_version = version
        return frame(answer.SerializeToString())

    return translate


def _containers_in(message: type[Message], naming: Naming) -> Translate:
    """Return what puts the original names into a message's containers."""

    def translate(whole: bytes) -> bytes:
        answer = message.FromString(whole[PREFIX_LENGTH:])
        changes = [_translated(one, naming) for one in _containers(answer)]
        return frame(answer.SerializeToString()) if any(changes) else whole

    return translate


def _containers(
    answer: Message,
) -> tuple[cri_pb2.Container | cri_pb2.ContainerStatus, ...]:
    if isinstance(answer, cri_pb2.ContainerStatusResponse):
        return (answer.status,)
    if isinstance(answer, cri_pb2.ContainerEventResponse | cri_pb2.PodSandboxStatusResponse):
        return tuple(answer.containers_statuses)
    if isinstance(answer, cri_pb2.ListContainersResponse):
        return tuple(answer.containers)
    raise AssertionError("every message of the table is known here")


def _translated(told: cri_pb2.Container | cri_pb2.ContainerStatus, naming: Naming) -> bool:
    """Put the original names into what is told of one container; tell whether that changed it."""
    changed = naming.spec(told.image)
    reference = naming.reference(told.image_ref)
    if reference != told.image_ref:
        told.image_ref, changed = reference, True
    if isinstance(told, cri_pb2.ContainerStatus):
        for mount in told.mounts:
            changed = naming.spec(mount.image) or changed
    return changed
