"""Build container images on the spot and push them with the distribution API.

An image here is a config blob, one gzip'd tar layer and a manifest. Everything is deterministic:
equal arguments give equal bytes and so equal digests.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import ssl
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
EPOCH = "2024-01-01T00:00:00Z"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class MediaTypes(Enum):
    """Name the media types of one image format: config, layer, manifest, index."""

    DOCKER = (
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
    OCI = (
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    )

    @property
    def config(self) -> str:
        return self.value[0]

    @property
    def layer(self) -> str:
        return self.value[1]

    @property
    def manifest(self) -> str:
        return self.value[2]

    @property
    def index(self) -> str:
        return self.value[3]


@dataclass(frozen=True)
class Image:
    """Hold the bytes of one image. `config_digest` is what a runtime calls the image ID."""

    config: bytes
    layer: bytes
    manifest: bytes
    config_digest: str
    manifest_digest: str
    media_type: str
    architecture: str

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """The blobs that a registry must have before it takes the manifest."""
        return (self.config, self.layer)


@dataclass(frozen=True)
class ImageIndex:
    """Hold an image index (OCI) or manifest list (Docker) over `images`."""

    manifest: bytes
    manifest_digest: str
    media_type: str
    images: tuple[Image, ...]


def digest_of(content: bytes) -> str:
    """Return `sha256:<64 hex>` of `content`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def host_architecture() -> str:
    """Return this machine's architecture as image configs spell it (`amd64`, `arm64`, ...)."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


def build_image(
    seed: str = "image",
    *,
    files: Mapping[str, bytes] | None = None,
    command: Sequence[str] = (),
    types: MediaTypes = MediaTypes.DOCKER,
    architecture: str | None = None,
) -> Image:
    """Build an image that holds `files` and a file `seed`; files under `bin/` are executable.

    Images that differ in `seed` differ in every digest: layer, config and manifest.
    """
    architecture = architecture or host_architecture()
    content = {**(files or {}), "seed": seed.encode()}
    archive = _tar(content)
    layer = gzip.compress(archive, mtime=0)
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": EPOCH,
            "config": {"Cmd": list(command), "Env": ["PATH=/bin"], "Labels": {"seed": seed}},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(archive)]},
            "history": [{"created": EPOCH, "created_by": f"seed {seed}"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": types.manifest,
            "config": _descriptor(types.config, config),
            "layers": [_descriptor(types.layer, layer)],
        }
    )
    return Image(
        config=config,
        layer=layer,
        manifest=manifest,
        config_digest=digest_of(config),
        manifest_digest=digest_of(manifest),
        media_type=types.manifest,
        architecture=architecture,
    )


def busybox_image(
    seed: str = "busybox",
    *,
    command: Sequence[str] = ("/bin/sh", "-c", "sleep 3600"),
    types: MediaTypes = MediaTypes.DOCKER,
) -> Image:
    """Build an image that runs as a container: a static busybox as `bin/busybox` and `bin/sh`.

    Where /bin/busybox is absent the image holds only its seed: good to pull, not to run.
    """
    files = {}
    if BUSYBOX.exists():
        program = BUSYBOX.read_bytes()
        files = {"bin/busybox": program, "bin/sh": program}
    return build_image(seed, files=files, command=command, types=types)


def image_index(images: Sequence[Image], *, types: MediaTypes = MediaTypes.OCI) -> ImageIndex:
    """Build an image index over `images`, each under its own architecture."""
    manifests = [
        {
            **_descriptor(image.media_type, image.manifest),
            "platform": {"architecture": image.architecture, "os": "linux"},
        }
        for image in images
    ]
    manifest = _json({"schemaVersion": 2, "mediaType": types.index, "manifests": manifests})
    return ImageIndex(manifest, digest_of(manifest), types.index, tuple(images))


def push(
    base_url: str,
    repository: str,
    tag: str | None,
    image: Image | ImageIndex,
    *,
    authorization: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> str:
    """Push `image` as `repository:tag` (by digest alone without a tag); return its digest.

    `authorization` is the literal header value. Only blobs that the registry lacks are uploaded
    (OCI distribution spec, "Pushing blobs": POST then PUT). Raises urllib.error.HTTPError.
    """
    session = _Session(base_url.rstrip("/"), repository, authorization, tls)
    if isinstance(image, ImageIndex):
        for member in image.images:
            push(base_url, repository, None, member, authorization=authorization, tls=tls)
    else:
        for blob in image.blobs:
            session.upload(blob)
    reference = tag or image.manifest_digest
    headers = {"Content-Type": image.media_type}
    session.call("PUT", f"manifests/{reference}", image.manifest, headers)
    return image.manifest_digest


def delete_manifest(
    base_url: str,
    repository: str,
    digest: str,
    *,
    authorization: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Delete the manifest `digest`, and with it the tags that point at it."""
    session = _Session(base_url.rstrip("/"), repository, authorization, tls)
    session.call("DELETE", f"manifests/{digest}")


class _Session:
    """Talk to one repository of one registry, never through a proxy."""

    def __init__(
        self, base_url: str, repository: str, authorization: str | None, tls: ssl.SSLContext | None
    ) -> None:
        self._base = f"{base_url}/v2/{repository}/"
        self._headers = {"Authorization": authorization} if authorization else {}
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
        )

    def call(
        self, method: str, where: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Mapping[str, str]:
        url = urllib.parse.urljoin(self._base, where)
        request = urllib.request.Request(
            url, data=body, method=method, headers={**self._headers, **headers}
        )
        with self._opener.open(request, timeout=20) as response:
            response.read()
            return dict(response.headers.items())

    def upload(self, blob: bytes) -> None:
        digest = digest_of(blob)
        try:
            self.call("HEAD", f"blobs/{digest}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            error.close()
        else:
            return
        location = self.call("POST", "blobs/uploads/", b"")["Location"]
        mark = "&" if "?" in location else "?"
        query = urllib.parse.urlencode({"digest": digest})
        octets = {"Content-Type": "application/octet-stream"}
        self.call("PUT", f"{location}{mark}{query}", blob, octets)


def _tar(files: Mapping[str, bytes]) -> bytes:
    """Pack `files` with their directories, owned by root, at time zero."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        parents = {str(parent) for name in files for parent in Path(name).parents} - {"."}
        for parent in sorted(parents):
            entry = tarfile.TarInfo(parent)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = 0o755 if name.startswith("bin/") else 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    return stream.getvalue()


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(content), "digest": digest_of(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
