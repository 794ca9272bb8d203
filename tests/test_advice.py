"""What an operator is advised to do about the words of registries and runtimes."""

from __future__ import annotations

import pytest

from image_cri_shim.advice import (
    OF_ORIGIN,
    cure,
    is_runtimes,
    is_unreached,
    needs_runtimes_settings,
    of_node,
)

HEAD = (
    'UNKNOWN: failed to pull and unpack image "harbor.corp:8443/lab/x:1": '
    'failed to resolve reference "harbor.corp:8443/lab/x:1": '
)
ASKED = f'{HEAD}failed to do request: Head "https://harbor.corp:8443/v2/lab/x/manifests/1": '
STATUS = f"{HEAD}pulling from host harbor.corp:8443 failed with status code [manifests 1]: "
CRIO = "UNKNOWN: initializing source docker://harbor.corp:8443/lab/x:1: "
DOCKER = "UNKNOWN: Error response from daemon: "

# As the shim's look-ups word it.
LOOK_UPS = {
    "401 wrong credentials": "Correct `auth`",
    "token server auth.corp: 401 wrong credentials": "Correct `auth`",
    "401 identity token refused": "Correct `auth`",
    "401, its token server's token is not accepted": "Correct `auth`",
    "401 and no credentials are configured": "set `auth`, `authFile` or `authCredential`",
    "401 anonymously: absent or private": "set `auth`, `authFile` or `authCredential`",
    "403, access denied or absent": "give that user the right",
    "403, and asks for no credentials": "without asking who it is",
    "TLS: certificate verify failed: self-signed certificate": "in its `caFile`",
    "TLS: certificate verify failed: self-signed certificate in certificate chain": "`caFile`",
    "TLS: certificate verify failed: unable to get local issuer certificate": "in its `caFile`",
    "TLS: certificate verify failed: certificate has expired": "Renew",
    "TLS: the certificate is for another host": "Use the name in `address`",
    "TLS: demands a client certificate (certFile, keyFile)": "`certFile` and `keyFile`",
    "TLS: wrong version number, it may speak plain http": "`address` with http://",
    "400, it seems to speak https only": "`address` with https://",
    "no such host": "DNS",
    "token server auth.corp: no such host": "DNS",
    "connection refused": "Nobody listens there",
    "no route to host": "firewalls",
    "connecting timed out after 3s": "does a firewall drop",
    "timed out after 10s": "does a firewall drop",
    "timed out after 10s, waiting for the token server auth.corp": "does a firewall drop",
    "not asked: timed out after 10s, next try in 4s": "does a firewall drop",
    "not asked: 429, next try in 60s": "limits how much",
    "429": "limits how much",
    "500": "The registry itself fails",
    "503": "The registry itself fails",
    "502 for /v2/": "The registry itself fails",
    "404": "Push the image there",
    "404 NAME_UNKNOWN": "Push the image there",
    "not a registry: answered with a web page": "proxy or log-in page",
    "answered with something that is not HTTP": "proxy or log-in page",
    "redirects to login.corp, which answers 401": "proxy or log-in page",
    "redirects from https to http, which is not followed": "from https to http",
    "leads to quay.io, which is not allowed": "leads to the origin",
    "cannot use /etc/harbor.json: no such file": "one that the daemon can read",
    "credential helper docker-credential-x: cannot be started": "Run this program",
    "busy, no turn within 10s (16 at a time)": "`maxConnections`",
    "the last pull from it did not come to an end": "`timeout`",
    "connection lost": "breaks off",
    "deadline exceeded": "raise `timeout`",
}

# As containerd, CRI-O and Docker word it.
RUNTIMES = {
    ASKED + "x509: certificate signed by unknown authority": (
        "`ca` in certs.d/harbor.corp:8443/hosts.toml"
    ),
    CRIO
    + "pinging container registry harbor.corp:8443: "
    + 'Get "https://harbor.corp:8443/v2/": tls: failed to verify certificate: '
    + "x509: certificate signed by unknown authority": (
        "/etc/containers/certs.d/harbor.corp:8443/ca.crt"
    ),
    DOCKER + 'Get "https://harbor.corp:8443/v2/": x509: certificate signed by unknown authority': (
        "/etc/docker/certs.d/harbor.corp:8443/ca.crt"
    ),
    ASKED + "x509: certificate has expired or is not yet valid: current time 2": "Renew",
    ASKED + "x509: certificate is valid for other.corp, not harbor.corp": "its certificate is for",
    ASKED
    + "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs": (
        "its certificate is for"
    ),
    ASKED + "http: server gave HTTP response to HTTPS client": 'server = "http://harbor.corp:8443"',
    ASKED + "tls: first record does not look like a TLS handshake": "speaks plain http",
    DOCKER
    + 'Get "https://harbor.corp:8443/v2/": http: server gave HTTP response to HTTPS client': (
        "`insecure-registries`"
    ),
    ASKED.replace("https://", "http://")
    + "read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer": "may speak https",
    ASKED + 'net/http: HTTP/1.x transport connection broken: malformed HTTP response "\\x15"': (
        "may speak https"
    ),
    HEAD + "unexpected status from HEAD request to "
    "http://harbor.corp:8443/v2/lab/x/manifests/1: 400 Bad Request": (
        '`server = "https://harbor.corp:8443"`'
    ),
    STATUS + "400 Bad Request": '`server = "https://harbor.corp:8443"`',
    ASKED + "remote error: tls: certificate required": "`client` in certs.d/harbor.corp:8443",
    ASKED + "dial tcp: lookup harbor.corp on 10.0.0.1:53: no such host": "DNS",
    ASKED + "dial tcp 10.0.0.1:8443: connect: connection refused": "Nobody listens",
    ASKED + "dial tcp 10.0.0.1:8443: i/o timeout": "does a firewall drop",
    STATUS + "401 Unauthorized": "correct `auth`",
    STATUS + "403 Forbidden": "correct `auth`",
    STATUS + "429 Too Many Requests": "limits how much",
    STATUS + "503 Service Unavailable": "The registry itself fails",
    CRIO + "reading manifest 1 in harbor.corp:8443/lab/x: toomanyrequests: rate limit": (
        "limits how much"
    ),
    CRIO + "reading manifest 1 in harbor.corp:8443/lab/x: manifest unknown": "Push the image",
    CRIO + "unable to retrieve auth token: invalid username/password: unauthorized": (
        "correct `auth`"
    ),
    DOCKER + "pull access denied for x, repository does not exist": "imagePullSecrets",
    HEAD + "harbor.corp:8443/lab/x:1: not found": "Push the image",
    "NOT_FOUND: no match for platform in manifest: not found": "this node's platform",
    CRIO + "no image found in image index for architecture arm64, OS linux": "node's platform",
    DOCKER + "no matching manifest for linux/arm64 in the manifest list": "node's platform",
    HEAD + "write /var/lib/containerd/x: no space left on device": "disk is full",
    HEAD + "mkdir /var/lib/containerd/x: read-only file system": "read-only",
    "UNKNOWN: server is not initialized yet": "is starting",
    "DEADLINE_EXCEEDED: context deadline exceeded": "the runtime may hang (does `crictl info`",
    'UNKNOWN: failed to get sandbox image "registry.k8s.io/pause:3.6": '
    "dial tcp: lookup registry.k8s.io: no such host": "`sandbox_image`",
}


@pytest.mark.parametrize("text", LOOK_UPS)
def test_what_a_look_up_found_wrong_is_cured_in_the_shims_configuration(text: str) -> None:
    assert LOOK_UPS[text] in cure(text)
    assert not is_runtimes(text)
    assert not needs_runtimes_settings(text)


@pytest.mark.parametrize("text", RUNTIMES)
def test_what_a_runtime_complains_of_is_cured_where_the_runtime_looks(text: str) -> None:
    assert RUNTIMES[text] in cure(text)
    assert is_runtimes(text)


def test_a_self_signed_certificate_concerns_the_shim_and_the_runtime_separately() -> None:
    by_shim = cure("TLS: certificate verify failed: self-signed certificate")
    by_runtime = cure(ASKED + "x509: certificate signed by unknown authority")
    assert "`caFile`" in by_shim
    assert "`caFile`" not in by_runtime
    assert needs_runtimes_settings(ASKED + "x509: certificate signed by unknown authority")
    assert not needs_runtimes_settings(STATUS + "401 Unauthorized")


def test_an_images_name_says_nothing_about_what_is_wrong_with_it() -> None:
    for name in ("lab/timeout:429", "lab/rate-limit-503", "lab/pause:3.9"):
        resolving = f'failed to resolve reference "harbor.corp/{name}": '
        text = f'UNKNOWN: failed to pull and unpack image "harbor.corp/{name}": {resolving}'
        assert "Push the image" in cure(f"{text}harbor.corp/{name}: not found")


def test_an_origin_has_no_settings_to_correct() -> None:
    texts = [text for text in (*LOOK_UPS, *RUNTIMES) if "`address`" in cure(text)]
    assert len(texts) > 5
    for text in texts:
        assert cure(text, configured=False) == OF_ORIGIN
    assert "CA" in cure(next(iter(RUNTIMES)), configured=False)


def test_what_was_not_reached_is_told_from_what_refused() -> None:
    assert is_unreached("no such host")
    assert is_unreached(ASKED + "dial tcp 10.0.0.1:8443: i/o timeout")
    assert not is_unreached(STATUS + "401 Unauthorized")
    assert not is_unreached("something new")


def test_a_registrys_own_full_disk_is_not_the_nodes() -> None:
    body = "500 Internal Server Error: write /var/lib/registry: no space left on device"
    assert "The registry itself" in cure(STATUS + body)


@pytest.mark.parametrize("text", ["", "slow, no answer after 1.0s", "something new"])
def test_nothing_is_advised_where_nothing_is_known(text: str) -> None:
    assert cure(text) == ""


@pytest.mark.parametrize("text", [*LOOK_UPS, *RUNTIMES])
def test_advice_is_short_and_names_no_placeholder_where_the_host_is_known(text: str) -> None:
    words = cure(text)
    assert words.endswith(".")
    assert len(words) < 420
    if "harbor.corp:8443/lab" in text:
        assert "HOST" not in words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("UNKNOWN: failed to pull: write /srv/404: input/output error", "disk fails"),
        ("UNKNOWN: no space left on device: toomanyrequests 429", "disk is full"),
        ("UNKNOWN: failed to do request: proxyconnect tcp: connection refused", "proxy"),
        ("UNKNOWN: dial tcp: lookup harbor.corp on 10.0.0.2:53: read udp: i/o timeout", "DNS"),
    ],
)
def test_the_nodes_own_trouble_is_told_from_the_registrys(text: str, words: str) -> None:
    assert words in cure(text)


def test_a_snapshot_that_is_missing_is_no_image_to_be_pushed() -> None:
    assert "Push" not in cure("UNKNOWN: failed to extract: snapshot does not exist: not found")


def test_what_is_wrong_with_a_pod_is_nothing_of_a_registry() -> None:
    assert of_node("UNKNOWN: exec /srv/404 401 denied") == ""
    assert "CNI" in of_node("UNAVAILABLE: cni plugin not initialized")
