"""The images of the conformance suite, under the names that clients write."""

from __future__ import annotations

import json
from dataclasses import replace

from google.protobuf.message import Message

from tests.support.images import (
    Image,
    ImageIndex,
    MediaTypes,
    build_image,
    busybox_image,
    digest_of,
    image_index,
)
from tests.support.runtime_messages import message


def with_user(image: Image, user: str) -> Image:
    """Return `image` with another user in its config; the manifest follows."""
    config = json.loads(image.config)
    config["config"]["User"] = user
    body = json.dumps(config, sort_keys=True).encode()
    manifest = json.loads(image.manifest)
    manifest["config"] |= {"size": len(body), "digest": digest_of(body)}
    packed = json.dumps(manifest, sort_keys=True).encode()
    return replace(
        image,
        config=body,
        manifest=packed,
        config_digest=digest_of(body),
        manifest_digest=digest_of(packed),
    )


PAUSE = busybox_image("conformance pause")
BUSYBOX = busybox_image("conformance busybox")
ONE = build_image("conformance one")
TWO = build_image("conformance two", types=MediaTypes.OCI)
THREE = build_image("conformance three")
NGINX = build_image("conformance nginx")
NUMBERED_USER = with_user(build_image("conformance numbered user"), "1002")
NAMED_USER = with_user(build_image("conformance named user"), "www-data")
NUMBERS = with_user(build_image("conformance user and group"), "1003:1004")
INDEX = image_index([TWO, build_image("elsewhere", types=MediaTypes.OCI, architecture="mips64")])

PAUSE_NAME = "pause.test/pause:1"
BUSYBOX_NAME = "origin.test/lab/busybox:1"

# Repository without its host, tag: what the origins hold, and the offline registry as well.
CONTENT: list[tuple[str, str, Image | ImageIndex]] = [
    ("lab/busybox", "1", BUSYBOX),
    ("lab/busybox", "removed", BUSYBOX),
    ("lab/one", "1", ONE),
    ("lab/one", "2", ONE),
    ("lab/one", "3", ONE),
    ("lab/one", "latest", ONE),
    ("lab/two", "1", TWO),
    ("lab/three", "1", THREE),
    ("lab/index", "1", INDEX),
    ("lab/uid", "1", NUMBERED_USER),
    ("lab/username", "1", NAMED_USER),
    ("lab/uid-gid", "1", NUMBERS),
    ("library/nginx", "1.25", NGINX),
]


def size_of(image: Image, *more: ImageIndex) -> int:
    """Return the size that a runtime tells: of the blobs and the manifests that lead to it."""
    parts = [image.config, image.layer, image.manifest, *(index.manifest for index in more)]
    return sum(map(len, parts))


def expected(
    image: Image, tags: list[str], digests: list[str] | None = None, **fields: object
) -> Message:
    """Return the Image message for `image` that was pulled under `tags`.

    `digests` are the names with a digest; without them they follow from the tags.
    """
    if digests is None:
        digests = sorted({f"{tag.rpartition(':')[0]}@{image.manifest_digest}" for tag in tags})
    return message(
        "Image",
        **{
            "id": image.config_digest,
            "repo_tags": tags,
            "repo_digests": digests,
            "size": size_of(image),
            **fields,
        },
    )
