"""The registry in memory and a real docker-registry answer the same questions alike."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import registries
from tests.support.certificates import client_context, self_signed, server_context
from tests.support.images import (
    Image,
    MediaTypes,
    build_image,
    delete_manifest,
    digest_of,
    image_index,
    push,
)
from tests.support.memory_registry import MemoryRegistry
from tests.support.registries import DockerRegistry
from tests.support.token_server import Issued, TokenServer

USER, PASSWORD = "robot", "a:b c"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
IMAGE = build_image("contract")
OCI = build_image("oci", types=MediaTypes.OCI)
EVERY_KIND = ", ".join(kind for types in MediaTypes for kind in (types.manifest, types.index))
Registry = MemoryRegistry | DockerRegistry
Start = Callable[..., AbstractContextManager[Registry]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(
    url: str,
    method: str = "GET",
    *,
    accept: str = EVERY_KIND,
    authorization: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    headers: dict[str, str] = {"Accept": accept}
    if authorization:
        headers["Authorization"] = authorization
    request = urllib.request.Request(url, method=method, headers=headers)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
    )
    try:
        with opener.open(request, timeout=10) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def code(answer: Answer) -> str:
    return json.loads(answer.body)["errors"][0]["code"]


class RegistryContract:
    @pytest.fixture
    def registry(self, start: Start) -> Iterator[Registry]:
        with start() as running:
            yield running

    def test_the_base_says_that_it_is_a_registry(self, registry: Registry) -> None:
        answer = ask(f"{registry.url}/v2/")
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"

    @pytest.mark.parametrize("image", [IMAGE, OCI], ids=["docker", "oci"])
    def test_what_was_pushed_is_found_by_tag_and_by_digest(
        self, registry: Registry, image: Image
    ) -> None:
        digest = push(registry.url, "library/nginx", "1.25", image)
        for reference in ("1.25", digest):
            url = f"{registry.url}/v2/library/nginx/manifests/{reference}"
            full, head = ask(url), ask(url, "HEAD")
            assert (full.status, full.body) == (200, image.manifest)
            assert (head.status, head.body) == (200, b"")
            for name in ("Content-Type", "Docker-Content-Digest", "Content-Length", "Etag"):
                assert head.headers[name] == full.headers[name]
            assert full.headers["Content-Type"] == image.media_type
            assert full.headers["Docker-Content-Digest"] == digest
            assert full.headers["Content-Length"] == str(len(image.manifest))

    def test_a_push_without_a_tag_is_found_by_digest(self, registry: Registry) -> None:
        digest = push(registry.url, "lab/untagged", None, IMAGE)
        base = f"{registry.url}/v2/lab/untagged/manifests"
        assert ask(f"{base}/{digest}").status == 200
        assert ask(f"{base}/latest").status == 404

    def test_an_index_is_found_with_its_images(self, registry: Registry) -> None:
        index = image_index([OCI, build_image("x", types=MediaTypes.OCI, architecture="mips64")])
        push(registry.url, "lab/index", "1", index)
        answer = ask(f"{registry.url}/v2/lab/index/manifests/1", "HEAD")
        assert answer.headers["Content-Type"] == index.media_type
        for image in index.images:
            url = f"{registry.url}/v2/lab/index/manifests/{image.manifest_digest}"
            assert ask(url).body == image.manifest

    def test_a_connection_serves_one_request_after_the_other(self, registry: Registry) -> None:
        push(registry.url, "lab/kept", "1", IMAGE)
        # By hand: http.client drops what follows the head of an answer to HEAD.
        with socket.create_connection(("127.0.0.1", registry.port), timeout=10) as connection:
            for tag, status in (("1", b"200"), ("2", b"404"), ("1", b"200")):
                head = f"HEAD /v2/lab/kept/manifests/{tag} HTTP/1.1\r\nHost: a\r\nAccept: */*"
                connection.sendall(f"{head},{EVERY_KIND}\r\n\r\n".encode())
                answer = connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 " + status)
                assert answer.endswith(b"\r\n\r\n")

    def test_blobs_come_back_as_they_were_pushed(self, registry: Registry) -> None:
        push(registry.url, "lab/blobs", "1", IMAGE)
        for blob in IMAGE.blobs:
            url = f"{registry.url}/v2/lab/blobs/blobs/{digest_of(blob)}"
            assert ask(url).body == blob
            assert ask(url, "HEAD").headers["Content-Length"] == str(len(blob))

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("lab/present/manifests/2", "MANIFEST_UNKNOWN"),
            ("lab/absent/manifests/1", "MANIFEST_UNKNOWN"),
            (f"lab/present/manifests/sha256:{64 * '0'}", "MANIFEST_UNKNOWN"),
            (f"lab/present/blobs/sha256:{64 * '0'}", "BLOB_UNKNOWN"),
        ],
    )
    def test_what_is_absent_is_404(
        self, registry: Registry, method: str, path: str, expected: str
    ) -> None:
        push(registry.url, "lab/present", "1", IMAGE)
        answer = ask(f"{registry.url}/v2/{path}", method)
        assert answer.status == 404
        if method == "GET":
            assert code(answer) == expected

    def test_an_oci_manifest_is_404_for_who_does_not_accept_it(self, registry: Registry) -> None:
        push(registry.url, "lab/oci", "1", OCI)
        url = f"{registry.url}/v2/lab/oci/manifests/1"
        assert ask(url, accept=MediaTypes.DOCKER.manifest).status == 404
        assert ask(url, accept=MediaTypes.OCI.manifest).status == 200

    def test_a_deleted_manifest_takes_its_tag_along(self, registry: Registry) -> None:
        digest = push(registry.url, "lab/deleted", "1", IMAGE)
        delete_manifest(registry.url, "lab/deleted", digest)
        for reference in ("1", digest):
            assert ask(f"{registry.url}/v2/lab/deleted/manifests/{reference}").status == 404

    def test_a_manifest_under_the_digest_of_another_is_refused(self, registry: Registry) -> None:
        wrong = Image(**{**vars(IMAGE), "manifest_digest": f"sha256:{64 * '0'}"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            push(registry.url, "lab/wrong", None, wrong)
        with refused.value as error:
            assert error.code == 400

    def test_it_keeps_port_and_content_over_stop_and_start(self, registry: Registry) -> None:
        push(registry.url, "lab/kept", "1", IMAGE)
        url = registry.url
        registry.stop()
        with pytest.raises(urllib.error.URLError, match="refused"):
            ask(f"{url}/v2/")
        registry.start()
        assert registry.url == url
        assert ask(f"{url}/v2/lab/kept/manifests/1").status == 200

    def test_requests_are_told(self, registry: Registry) -> None:
        ask(f"{registry.url}/v2/lab/told/manifests/1", "HEAD")
        told = registry.requests() if callable(registry.requests) else registry.requests
        assert (told[-1].method, told[-1].path) == ("HEAD", "/v2/lab/told/manifests/1")

    def test_basic_asks_everywhere_for_credentials(self, start: Start) -> None:
        with start(basic=(USER, PASSWORD)) as registry:
            push(registry.url, "lab/locked", "1", IMAGE, authorization=BASIC)
            wrong = "Basic " + base64.b64encode(b"robot:wrong").decode()
            for path in ("", "lab/locked/manifests/1", "lab/absent/manifests/1"):
                for authorization in (None, wrong, "Bearer abc"):
                    answer = ask(f"{registry.url}/v2/{path}", authorization=authorization)
                    assert (answer.status, code(answer)) == (401, "UNAUTHORIZED")
                    assert answer.headers["WWW-Authenticate"] == 'Basic realm="laboratory"'
            url = f"{registry.url}/v2/lab/locked/manifests"
            assert ask(f"{url}/1", "HEAD", authorization=BASIC).status == 200
            assert ask(f"{url}/2", "HEAD", authorization=BASIC).status == 404

    def test_bearer_sends_to_the_token_server_and_takes_its_tokens(
        self, start: Start, tmp_path: Path
    ) -> None:
        with TokenServer(tmp_path, users={USER: PASSWORD}) as tokens:
            with start(tokens=tokens) as registry:
                url = f"{registry.url}/v2/lab/locked/manifests/1"
                refused = ask(url, "HEAD")
                assert refused.status == 401
                scope = "repository:lab/locked:pull"
                challenge = f'Bearer realm="{tokens.realm}",service="{tokens.service}"'
                assert refused.headers["WWW-Authenticate"] == f'{challenge},scope="{scope}"'
                assert ask(f"{registry.url}/v2/").headers["WWW-Authenticate"] == challenge

                query = urllib.parse.urlencode({"service": tokens.service, "scope": scope})
                assert ask(f"{tokens.realm}?{query}").status == 401
                issued = ask(f"{tokens.realm}?{query}", authorization=BASIC)
                token = json.loads(issued.body)["token"]
                assert tokens.issued == [Issued((scope,), USER)]
                assert (tokens.requests, tokens.refused) == (2, 1)

                pusher = tokens.token(USER, ("repository:lab/locked:pull,push",))
                push(registry.url, "lab/locked", "1", IMAGE, authorization=f"Bearer {pusher}")
                assert ask(url, "HEAD", authorization=f"Bearer {token}").status == 200

    @pytest.mark.parametrize(
        ("scope", "seconds", "error"),
        [
            ("repository:lab/other:pull", 300, "insufficient_scope"),
            ("repository:lab/locked:push", 300, "insufficient_scope"),
            ("repository:lab/locked:pull", -120, "invalid_token"),
            ("", 300, "invalid_token"),
        ],
    )
    def test_a_token_that_does_not_fit_is_401_with_its_error(
        self, start: Start, tmp_path: Path, scope: str, seconds: int, error: str
    ) -> None:
        with TokenServer(tmp_path, users={USER: PASSWORD}) as tokens:
            with start(tokens=tokens) as registry:
                token = tokens.token(USER, (scope,), expires_in=seconds) if scope else "x.y.z"
                url = f"{registry.url}/v2/lab/locked/manifests/1"
                answer = ask(url, authorization=f"Bearer {token}")
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].endswith(f',error="{error}"')

    def test_https_shows_its_certificate(self, start: Start, tmp_path: Path) -> None:
        paths = self_signed(tmp_path / "tls")
        with start(tls=paths) as registry:
            trusting = client_context(paths[0])
            push(registry.url, "lab/tls", "1", IMAGE, tls=trusting)
            url = f"{registry.url}/v2/lab/tls/manifests/1"
            assert registry.url.startswith("https://")
            assert ask(url, tls=trusting).status == 200
            with pytest.raises(urllib.error.URLError, match="self-signed certificate"):
                ask(url)


class TestMemoryRegistry(RegistryContract):
    @pytest.fixture
    def start(self) -> Start:
        def make(
            *,
            basic: tuple[str, str] | None = None,
            tokens: TokenServer | None = None,
            tls: tuple[Path, Path] | None = None,
        ) -> MemoryRegistry:
            bearer = tokens.bearer if tokens else None
            context = server_context(*tls) if tls else None
            return MemoryRegistry(basic=basic, bearer=bearer, tls=context)

        return make


@pytest.mark.integration
@pytest.mark.skipif(registries.why_not() is not None, reason=str(registries.why_not()))
class TestDockerRegistry(RegistryContract):
    @pytest.fixture
    def start(self, tmp_path: Path) -> Start:
        def make(
            *,
            basic: tuple[str, str] | None = None,
            tokens: TokenServer | None = None,
            tls: tuple[Path, Path] | None = None,
        ) -> DockerRegistry:
            token = tokens.settings if tokens else None
            return DockerRegistry(tmp_path / "registry", htpasswd=basic, token=token, tls=tls)

        return make

    def test_the_log_tells_how_credentials_fared(self, start: Start) -> None:
        with start(basic=(USER, PASSWORD)) as registry:
            wrong = "Basic " + base64.b64encode(b"robot:wrong").decode()
            for authorization in (None, wrong, BASIC):
                ask(f"{registry.url}/v2/", authorization=authorization)
            told = [(request.status, request.credentials) for request in registry.requests()]
            assert told == [(401, "none"), (401, "refused"), (200, "accepted")]
