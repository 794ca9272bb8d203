"""Fetch an image's manifest and config from a registry, with containerd's error texts."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.images import MediaTypes, digest_of, host_architecture
from tests.support.standin_images import Held, Reference

TIMEOUT = 30.0
KINDS = [kind for types in MediaTypes for kind in (types.manifest, types.index)]
INDEXES = [types.index for types in MediaTypes]


class PullError(Exception):
    """Say why a pull failed; `absent` tells NOT_FOUND from UNKNOWN."""

    def __init__(self, message: str, *, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent


@dataclass(frozen=True)
class Pulled:
    """What a pull brought."""

    manifest_digest: str
    image: Held


def pull(reference: Reference, credentials: tuple[str, str], mirrors: Mapping[str, str]) -> Pulled:
    """Ask the registry of `reference`, or its mirror, for the image. Blocks; raises PullError.

    Only mirrors and loopback hosts are ever asked: nothing here reaches the internet.
    """
    return _Pull(reference, credentials, mirrors).run()


class _Pull:
    def __init__(
        self, reference: Reference, credentials: tuple[str, str], mirrors: Mapping[str, str]
    ) -> None:
        self._reference = reference
        self._credentials = credentials
        self._authorization: str | None = None
        self._query = ""
        host = reference.host
        if host in mirrors:
            self._base = mirrors[host].rstrip("/")
            self._query = f"?ns={host}"
        elif host.split(":")[0] in ("127.0.0.1", "localhost"):
            self._base = f"http://{host}"
        else:
            self._base = ""
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def run(self) -> Pulled:
        named = self._reference
        tag = named.digest or named.tag
        resolving = f'failed to resolve reference "{named}": '
        if not self._base:
            url = f"https://{named.host}/v2/{named.path}/manifests/{tag}"
            raise self._error(
                f'{resolving}failed to do request: Head "{url}": '
                f"dial tcp: lookup {named.host}: no such host"
            )
        headers, content = self._get("HEAD", f"manifests/{tag}", resolving)
        digest = headers.get("Docker-Content-Digest")
        if not digest:
            _, content = self._get("GET", f"manifests/{tag}", resolving)
            digest = digest_of(content)
        headers, content = self._get("GET", f"manifests/{digest}", "")
        size = len(content)
        manifest = json.loads(content)
        if manifest.get("mediaType", headers.get("Content-Type")) in INDEXES:
            wanted = [
                entry["digest"]
                for entry in manifest["manifests"]
                if entry["platform"]["architecture"] == host_architecture()
            ]
            if not wanted:
                raise self._error("no match for platform in manifest: not found", absent=True)
            _, content = self._get("GET", f"manifests/{wanted[0]}", "")
            size += len(content)
            manifest = json.loads(content)
        _, config = self._get("GET", f"blobs/{manifest['config']['digest']}", "")
        size += len(config) + sum(layer["size"] for layer in manifest["layers"])
        info = json.dumps({"imageSpec": json.loads(config)})
        return Pulled(digest, Held(manifest["config"]["digest"], size, info))

    def _get(self, method: str, what: str, doing: str) -> tuple[Mapping[str, str], bytes]:
        """Make one request, again with credentials when the registry asks for them."""
        url = f"{self._base}/v2/{self._reference.path}/{what}{self._query}"
        try:
            try:
                return self._request(method, url, self._authorization)
            except urllib.error.HTTPError as error:
                with error:
                    challenge = error.headers.get("WWW-Authenticate", "")
                if error.code != 401 or self._authorization:
                    raise
                self._authorization = self._answer(challenge)
                if not self._authorization:
                    raise
                return self._request(method, url, self._authorization)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                raise self._error(f"{doing}{self._reference}: not found", absent=True) from None
            host = urllib.parse.urlsplit(url).netloc
            kind, _, rest = what.partition("/")
            raise self._error(
                f"{doing}pulling from host {host} failed with status code [{kind} {rest}]: "
                f"{error.code} {error.reason}"
            ) from None
        except OSError as error:
            host = urllib.parse.urlsplit(url).netloc
            reason = getattr(error, "reason", error)
            text = "connect: connection refused" if "refused" in str(reason) else str(reason)
            raise self._error(
                f'{doing}failed to do request: {method.title()} "{url}": dial tcp {host}: {text}'
            ) from None

    def _request(
        self, method: str, url: str, authorization: str | None
    ) -> tuple[Mapping[str, str], bytes]:
        headers = {"Accept": ", ".join([*KINDS, "*/*"]), "User-Agent": "standin-runtime"}
        if authorization:
            headers["Authorization"] = authorization
        request = urllib.request.Request(url, method=method, headers=headers)
        with self._opener.open(request, timeout=TIMEOUT) as response:
            return response.headers, response.read()

    def _answer(self, challenge: str) -> str | None:
        """Return the Authorization value that answers a Basic or Bearer challenge."""
        scheme, _, rest = challenge.partition(" ")
        user, password = self._credentials
        basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        if scheme.lower() == "basic":
            return basic if user else None
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if scheme.lower() != "bearer" or "realm" not in fields:
            return None
        query = urllib.parse.urlencode({k: fields[k] for k in ("service", "scope") if k in fields})
        try:
            _, body = self._request("GET", f"{fields['realm']}?{query}", basic if user else None)
        except urllib.error.HTTPError as error:
            error.close()
            raise self._error(
                f'failed to resolve reference "{self._reference}": failed to authorize: failed to '
                f"fetch {'oauth' if user else 'anonymous'} token: unexpected status: "
                f"{error.code} {error.reason}"
            ) from None
        answer = json.loads(body)
        return f"Bearer {answer.get('token') or answer.get('access_token')}"

    def _error(self, message: str, *, absent: bool = False) -> PullError:
        return PullError(
            f'failed to pull and unpack image "{self._reference}": {message}', absent=absent
        )
