"""Which failed pulls another source may cure.

What is marked as containerd's was said by containerd 1.6 (with other names for hosts and files);
CRI-O's and cri-dockerd's messages are from their users' reports.
"""

from __future__ import annotations

import pytest

from image_cri_shim.cri.pull_failure import is_final
from image_cri_shim.cri.status import Code
from tests.cri.test_pull_failure import answer

LONG = 600.0
FAILED_PRECONDITION = 9
# How containerd begins.
PULLING = 'failed to pull and unpack image "hub/a/b:1": '
RESOLVING = f'{PULLING}failed to resolve reference "hub/a/b:1": '
STORE = "/var/lib/containerd/io.containerd.content.v1.content/ingest/5865"
STATUS = "pulling from host hub failed with status code [manifests 1]: "
# What a registry says whose own disk is full, or that would like to be the last one that is tried.
REGISTRYS_DISK = "filesystem: write /var/lib/registry/x: no space left on device"
BLOB = "httpReadSeeker: failed open: unexpected status code http://hub/v2/a/b/blobs/sha256:17ab: "

CURABLE = {
    # containerd, resolving the reference
    "no such manifest": (Code.NOT_FOUND, f"{RESOLVING}hub/a/b:1: not found"),
    "400": (Code.UNKNOWN, f"{RESOLVING}{STATUS}400 Bad Request"),
    "401": (Code.UNKNOWN, f"{RESOLVING}{STATUS}401 Unauthorized"),
    "403": (Code.UNKNOWN, f"{RESOLVING}{STATUS}403 Forbidden"),
    "429": (Code.UNKNOWN, f"{RESOLVING}{STATUS}429 Too Many Requests"),
    "500": (Code.UNKNOWN, f"{RESOLVING}{STATUS}500 Internal Server Error"),
    "503": (Code.UNKNOWN, f"{RESOLVING}{STATUS}503 Service Unavailable"),
    "no token": (
        Code.UNKNOWN,
        f"{RESOLVING}failed to authorize: failed to fetch oauth token: unexpected status: "
        "401 Unauthorized",
    ),
    "refused": (
        Code.UNKNOWN,
        f'{RESOLVING}failed to do request: Head "http://hub/v2/a/b/manifests/1": '
        "dial tcp 127.0.0.1:5: connect: connection refused",
    ),
    "no such host": (
        Code.UNKNOWN,
        f'{RESOLVING}failed to do request: Head "https://hub/v2/a/b/manifests/1": '
        "dial tcp: lookup hub on 127.0.0.1:53: no such host",
    ),
    "packets are dropped": (
        Code.DEADLINE_EXCEEDED,
        f'{RESOLVING}failed to do request: Head "http://hub/v2/a/b/manifests/1": '
        "dial tcp 127.0.0.1:5: i/o timeout",
    ),
    "plain http": (
        Code.UNKNOWN,
        f'{RESOLVING}failed to do request: Head "https://hub/v2/a/b/manifests/1": '
        "tls: first record does not look like a TLS handshake",
    ),
    "dropped in the head": (
        Code.UNKNOWN,
        f'{RESOLVING}failed to do request: Head "http://hub/v2/a/b/manifests/1": '
        "net/http: HTTP/1.x transport connection broken: malformed MIME header: missing colon",
    ),
    "a host that it cannot parse": (
        Code.UNKNOWN,
        'failed to parse image reference "[::1]:5000/a/b:1": invalid reference format',
    ),
    # containerd, with the manifest
    "corrupt manifest": (
        Code.UNKNOWN,
        f"{PULLING}children: invalid desc sha256:9207: invalid character 'n' looking for "
        "beginning of object key string",
    ),
    "empty manifest": (
        Code.INVALID_ARGUMENT,
        f"{PULLING}unable to fetch descriptor () which reports content size of zero: "
        "invalid argument",
    ),
    "a web page": (
        Code.NOT_FOUND,
        f"{PULLING}failed to copy: httpReadSeeker: failed open: could not fetch content "
        "descriptor sha256:b633 (text/html) from remote: not found",
    ),
    "another manifest": (
        FAILED_PRECONDITION,
        f'{PULLING}failed commit on ref "manifest-sha256:4f59": unexpected commit digest '
        "sha256:3b10, expected sha256:4f59: failed precondition",
    ),
    "no such platform": (
        Code.NOT_FOUND,
        f"{PULLING}no match for platform in manifest: not found",
    ),
    # containerd, with a layer
    "layer missing": (
        Code.NOT_FOUND,
        f"{PULLING}failed to copy: httpReadSeeker: failed open: could not fetch content "
        "descriptor sha256:218b (application/vnd.oci.image.layer.v1.tar+gzip) from remote: "
        "not found",
    ),
    "layer 401": (Code.UNKNOWN, f"{PULLING}failed to copy: {BLOB}401 Unauthorized"),
    "layer 500": (Code.UNKNOWN, f"{PULLING}failed to copy: {BLOB}500 Internal Server Error"),
    "another layer": (
        FAILED_PRECONDITION,
        f'{PULLING}failed commit on ref "layer-sha256:d4cf": unexpected commit digest '
        "sha256:07b1, expected sha256:d4cf: failed precondition",
    ),
    "half a layer": (
        Code.UNKNOWN,
        f"{PULLING}failed to read expected number of bytes: unexpected EOF",
    ),
    "dropped in a layer": (
        Code.UNKNOWN,
        f'{PULLING}failed to copy: httpReadSeeker: failed open: failed to do request: Get "http:'
        '//hub/v2/a/b/blobs/sha256:17ab": net/http: HTTP/1.x transport connection broken: '
        "unexpected EOF",
    ),
    "not a layer": (
        Code.UNKNOWN,
        f"{PULLING}failed to extract layer sha256:27d9: mount callback failed on "
        "/var/lib/containerd/tmpmounts/containerd-mount12: unexpected EOF: unknown",
    ),
    "no progress": (Code.CANCELLED, f"{PULLING}context canceled"),
    # CRI-O
    "CRI-O, no progress": (
        Code.CANCELLED,
        "copying system image from manifest list: copying config: context canceled",
    ),
    "CRI-O, refused": (
        Code.UNKNOWN,
        'pinging container registry hub: Get "https://hub/v2/": dial tcp 127.0.0.1:443: connect: '
        "connection refused",
    ),
    "CRI-O, 404": (
        Code.UNKNOWN,
        "reading manifest 1 in hub/a/b: manifest unknown",
    ),
    # cri-dockerd
    "docker, 404": (
        Code.UNKNOWN,
        "Error response from daemon: manifest for hub/a/b:1 not found: manifest unknown",
    ),
    "docker, out of time": (Code.UNKNOWN, "context deadline exceeded"),
    # a registry's words, in a runtime's message
    "containerd, a registry's disk": (
        Code.UNKNOWN,
        f"{PULLING}failed to copy: httpReadSeeker: failed open: unexpected status code "
        "http://hub/v2/a/b/manifests/1: 500 Internal Server Error - Server message: unknown: "
        f"{REGISTRYS_DISK}",
    ),
    "containerd 2, a registry's disk": (
        Code.UNKNOWN,
        f"{PULLING}unexpected status from GET request to http://hub/v2/a/b/manifests/1: "
        f"500 Internal Server Error: {REGISTRYS_DISK}",
    ),
    "containerd, a reason for a status": (
        Code.UNKNOWN,
        f"{RESOLVING}{STATUS}500 {REGISTRYS_DISK}",
    ),
    "containerd, a token server's status": (
        Code.UNKNOWN,
        f"{RESOLVING}failed to authorize: failed to fetch oauth token: unexpected status: "
        f"403 {REGISTRYS_DISK}",
    ),
    "containerd, a message about authorization": (
        Code.UNKNOWN,
        f"{RESOLVING}pull access denied, repository does not exist or may require "
        f"authorization: server message: {REGISTRYS_DISK}",
    ),
    "containerd, a redirect": (
        Code.UNKNOWN,
        f'{RESOLVING}failed to do request: Head "http://x/?a: no space left on device": '
        "dial tcp 127.0.0.1:5: connect: connection refused",
    ),
    "containerd, a header": (
        Code.UNKNOWN,
        f'{RESOLVING}failed to do request: Head "http://hub/v2/a/b/manifests/1": net/http: '
        f"HTTP/1.x transport connection broken: malformed MIME header line: {REGISTRYS_DISK}",
    ),
    "containerd, a trailer": (
        Code.UNKNOWN,
        f"{PULLING}failed to copy: malformed MIME header line: {REGISTRYS_DISK}",
    ),
    "containerd, a media type": (
        Code.NOT_FOUND,
        f"{PULLING}failed to copy: httpReadSeeker: failed open: could not fetch content "
        f"descriptor sha256:b633 ({REGISTRYS_DISK}) from remote: not found",
    ),
    "CRI-O, a registry's error": (
        Code.UNKNOWN,
        f"reading manifest 1 in hub/a/b: denied: {REGISTRYS_DISK}",
    ),
    "CRI-O, a registry's status": (
        Code.UNKNOWN,
        f"pinging container registry hub: StatusCode: 500, {REGISTRYS_DISK}",
    ),
    "CRI-O, a registry's body": (
        Code.UNKNOWN,
        "reading manifest 1 in hub/a/b: error parsing HTTP 400 response body: invalid "
        f'character: "{REGISTRYS_DISK}"',
    ),
    "docker, a registry's error": (
        Code.UNKNOWN,
        f"Error response from daemon: unknown: {REGISTRYS_DISK}",
    ),
    "docker, a newer registry's error": (
        Code.UNKNOWN,
        f"Error response from daemon: error from registry: {REGISTRYS_DISK}",
    ),
    "docker, a redirect": (
        Code.UNKNOWN,
        f'Error response from daemon: Get "https://hub/v2/": {REGISTRYS_DISK}',
    ),
    # whatever the runtime
    "unauthenticated": (Code.UNAUTHENTICATED, "who are you?"),
    "denied": (Code.PERMISSION_DENIED, "no"),
    "unavailable": (Code.UNAVAILABLE, "RegistryUnavailable: hub"),
    "nothing at all": (Code.UNKNOWN, ""),
}

FINAL = {
    # containerd
    "store full": (
        Code.UNKNOWN,
        f"{PULLING}failed to copy: write {STORE}/data: no space left on device",
    ),
    "snapshots full": (
        Code.UNKNOWN,
        f"{PULLING}failed to extract layer sha256:2c26: mount callback failed on /var/lib/"
        "containerd/tmpmounts/containerd-mount21: write /var/lib/containerd/tmpmounts/"
        "containerd-mount21/data: no space left on device: unknown",
    ),
    "store read-only": (Code.UNKNOWN, f"{PULLING}mkdir {STORE}: read-only file system"),
    "snapshots read-only": (
        Code.UNKNOWN,
        f'{PULLING}failed to prepare extraction snapshot "extract-17 sha256:3bfa": failed to '
        "create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.native/"
        "snapshots/new-4: read-only file system",
    ),
    "over its quota": (
        Code.UNKNOWN,
        f"{PULLING}failed to copy: write {STORE}/data: disk quota exceeded",
    ),
    # CRI-O and cri-dockerd
    "CRI-O, unpacking": (
        Code.UNKNOWN,
        'writing blob: adding layer with blob "sha256:17ab": processing tar file(write '
        "/usr/lib/x.so: no space left on device): exit status 1",
    ),
    "docker, unpacking": (
        Code.UNKNOWN,
        "failed to register layer: ApplyLayer exit status 1 stdout:  stderr: write "
        "/usr/lib/x.so: no space left on device\n",
    ),
    "CRI-O, full": (
        Code.UNKNOWN,
        'Error writing blob: error storing blob to file "/var/tmp/storage17/2": write '
        "/var/tmp/storage17/2: no space left on device",
    ),
    "docker, full": (
        Code.UNKNOWN,
        "failed to register layer: Error processing tar file(exit status 1): write "
        "/usr/lib/x.so: no space left on device",
    ),
    "a program's words": (Code.INTERNAL, "tar: /usr/lib/x.so: No space left on device"),
    "containerd, starting": (Code.UNKNOWN, "server is not initialized yet"),
    # whatever the runtime
    "invalid": (Code.INVALID_ARGUMENT, "invalid reference format"),
    "out of time": (Code.DEADLINE_EXCEEDED, "context deadline exceeded"),
    "given up": (Code.CANCELLED, "context canceled"),
    "out of time without a word": (Code.DEADLINE_EXCEEDED, ""),
}


@pytest.mark.parametrize("name", CURABLE)
def test_what_another_source_may_cure_is_not_final(name: str) -> None:
    assert not is_final(answer(*CURABLE[name]), LONG)
    assert not is_final(answer(*CURABLE[name]), None)


@pytest.mark.parametrize("name", FINAL)
def test_what_no_other_source_cures_is_final(name: str) -> None:
    assert is_final(answer(*FINAL[name]), LONG)
    assert is_final(answer(*FINAL[name]), None)


@pytest.mark.parametrize(
    "name", ["packets are dropped", "no progress", "CRI-O, no progress", "docker, out of time"]
)
def test_without_time_left_it_was_the_clients_deadline(name: str) -> None:
    assert is_final(answer(*CURABLE[name]), 0.5)
    assert is_final(answer(*CURABLE[name]), -1.0)


def test_little_time_left_makes_no_other_failure_final() -> None:
    assert not is_final(answer(*CURABLE["no such manifest"]), 0.5)
