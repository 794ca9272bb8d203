"""CRI versions: what a path says, and which version a runtime turns out to speak."""

from __future__ import annotations

import asyncio

import pytest

from image_cri_shim.cri.versions import Method, negotiate, parse_method

V1 = b"/runtime.v1.RuntimeService/Version"
OLD = b"/runtime.v1alpha2.RuntimeService/Version"
V1_IMAGES = b"/runtime.v1.ImageService/ImageFsInfo"
OLD_IMAGES = b"/runtime.v1alpha2.ImageService/ImageFsInfo"


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (
            b"/runtime.v1.ImageService/PullImage",
            Method(b"/runtime.v1.ImageService/PullImage", "v1", "ImageService", "PullImage"),
        ),
        (OLD, Method(OLD, "v1alpha2", "RuntimeService", "Version")),
        (b"/runtime.v2.ImageService/PullImage", Method(b"/runtime.v2.ImageService/PullImage")),
        (b"/runtime.v1.ImageService/", Method(b"/runtime.v1.ImageService/")),
        (b"/runtime.v1.ImageService/A/B", Method(b"/runtime.v1.ImageService/A/B")),
        (b"/grpc.health.v1.Health/Check", Method(b"/grpc.health.v1.Health/Check")),
        (b"/runtimexv1.ImageService/PullImage", Method(b"/runtimexv1.ImageService/PullImage")),
        (b"", Method(b"")),
    ],
)
def test_a_path_is_cut_up_if_it_is_the_cris(path: bytes, method: Method) -> None:
    assert parse_method(path) == method


def test_a_method_is_spoken_in_the_other_version() -> None:
    assert parse_method(V1).spoken("v1alpha2") == OLD
    assert parse_method(OLD).spoken("v1") == V1
    assert parse_method(V1).spoken("v1") == V1


def test_a_method_that_is_not_the_cris_keeps_its_path() -> None:
    assert parse_method(b"/grpc.health.v1.Health/Check").spoken("v1alpha2") == (
        b"/grpc.health.v1.Health/Check"
    )


@pytest.mark.parametrize(
    ("codes", "version", "asked"),
    [
        # Only what is said to be unknown is unknown; any other status is somebody's who knows it.
        ({V1: 0}, "v1", [V1]),
        ({V1: 14}, "v1", [V1]),
        ({V1: 2}, "v1", [V1]),
        ({V1: 12, OLD: 0}, "v1alpha2", [V1, OLD]),
        ({V1: 12, OLD: 14}, "v1alpha2", [V1, OLD]),
        ({V1: 12, OLD: 12, V1_IMAGES: 0}, "v1", [V1, OLD, V1_IMAGES]),
        (
            {V1: 12, OLD: 12, V1_IMAGES: 12, OLD_IMAGES: 0},
            "v1alpha2",
            [V1, OLD, V1_IMAGES, OLD_IMAGES],
        ),
        (
            {V1: 12, OLD: 12, V1_IMAGES: 12, OLD_IMAGES: 12},
            None,
            [V1, OLD, V1_IMAGES, OLD_IMAGES],
        ),
    ],
)
def test_the_version_is_the_newest_that_the_runtime_knows(
    codes: dict[bytes, int], version: str | None, asked: list[bytes]
) -> None:
    paths: list[bytes] = []

    async def ask(path: bytes) -> int:
        paths.append(path)
        return codes[path]

    assert asyncio.run(negotiate(ask)) == version
    assert paths == asked


@pytest.mark.parametrize(
    ("path", "read_only"),
    [
        ("/runtime.v1.RuntimeService/Version", True),
        ("/runtime.v1alpha2.RuntimeService/Version", True),
        ("/runtime.v1.RuntimeService/ListContainers", True),
        ("/runtime.v1.ImageService/ImageStatus", True),
        ("/runtime.v1.ImageService/StreamImages", True),
        ("/runtime.v1.ImageService/PullImage", False),
        ("/runtime.v1.ImageService/RemoveImage", False),
        ("/runtime.v1.RuntimeService/RunPodSandbox", False),
        ("/runtime.v1.RuntimeService/ExecSync", False),
        ("/runtime.v1.RuntimeService/Exec", False),
        ("/runtime.v1.RuntimeService/GetContainerEvents", False),
        ("/runtime.v1.RuntimeService/UpdateRuntimeConfig", False),
        # Of what nobody knows, nobody knows what it changes.
        ("/runtime.v1.RuntimeService/ListWhatIsNotYetInvented", False),
        ("/runtime.v1.NewService/Version", False),
        ("/made.up.RuntimeService/Version", False),
    ],
)
def test_what_changes_nothing_is_known_by_name(path: str, read_only: bool) -> None:
    assert parse_method(path.encode()).read_only is read_only
