"""What to do about an error: the words of registries, of runtimes and of the shim's look-ups.

Two programs talk to a registry: the shim, which has its settings in its configuration, and the
runtime, which has its own. So the same trouble has another cure depending on whose words it is in.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

# A pattern, for a text in lower case, and the advice; ``HOST`` in it is the registry's.
_Entry: TypeAlias = tuple[str, str]

# What only runtimes say: the code in front, as the shim writes it, and the texts of containerd,
# CRI-O and Docker.
_RUNTIMES = re.compile(
    r"^(?!TLS)[A-Z_]{2,}: |failed to (?:pull|resolve|do request|get sandbox|authorize)"
    r"|dial tcp|x509: |[Ee]rror response from daemon|pinging (?:container|docker) registry"
    r"|initializing source|rpc error: code"
)
# Where such texts name the host: in the image's name, or in an address.
_HOSTS = (
    re.compile(r"image \"([^\"/\s]+[.:][^\"/\s]*|localhost)/"),
    re.compile(r"registry ([^\s\"/,]+[^\s\"/,:]): "),
    re.compile(r"source docker://([^\s\"/]+)/"),
    re.compile(r"https?://([^\s\"/]+)/"),
)

_CA_OF_RUNTIME = (
    "containerd takes it from `ca` in certs.d/HOST/hosts.toml below its `config_path`, "
    "CRI-O from /etc/containers/certs.d/HOST/ca.crt, Docker from /etc/docker/certs.d/HOST/ca.crt"
)
_HTTP_OF_RUNTIME = (
    'containerd by `server = "http://HOST"` and the same [host] in certs.d/HOST/hosts.toml below '
    "its `config_path`, CRI-O by `insecure = true` for HOST in /etc/containers/registries.conf.d, "
    "Docker by `insecure-registries` in daemon.json"
)

# What only somebody else than the node can mend where the registry is none of the configuration's.
OF_ORIGIN = "Push the image to one of your registries, or let the node reach its origin."
_OUT_OF_TIME = (
    "The pull took all the time it had: the registry may be slow, or the runtime may hang (does "
    "`crictl info` answer? If not, restart it). If neither, raise `timeout` (15m by default) or "
    "the client's own limit."
)

_ONLY_RUNTIMES: tuple[_Entry, ...] = (
    (
        r"sandbox image|pod sandbox.*pinging|/pause[:@]",
        "The runtime pulls the pause image itself, past the shim: name one in your registry "
        "(containerd: `sandbox_image`, since version 2 `sandbox` under pinned_images; CRI-O: "
        "`pause_image`), or pull it beforehand through the shim.",
    ),
    (r"server is not initialized yet", "The runtime is starting; if it goes on, read its log."),
    (
        r"x509: .*(?:unknown authority|self[- ]signed|not trusted)",
        f"The runtime does not know this registry's CA: {_CA_OF_RUNTIME}.",
    ),
    (
        r"gave http response to https|first record does not look like a tls",
        f"This registry speaks plain http, which the runtime must be told: {_HTTP_OF_RUNTIME}.",
    ),
    (
        r"http request to an https|plain http request was sent to https|malformed http response"
        r"|\"http://.*connection reset by peer|request to http://.*\b400 bad request"
        r"|failed with status code.*\b400 bad request",
        "This registry may speak https, and the runtime asks it over plain http, as containerd "
        "does on the node itself: write https:// in the runtime's settings (containerd: `server = "
        '"https://HOST"` and the same [host] in certs.d/HOST/hosts.toml below its `config_path`).',
    ),
    (
        r"certificate required|bad certificate",
        "This registry wants a client certificate from the runtime too (containerd: `client` in "
        "certs.d/HOST/hosts.toml).",
    ),
    (
        r"signature|rejected by policy|policy\.json",
        "The runtime's own policy refuses the image (CRI-O: /etc/containers/policy.json).",
    ),
    (
        r"context deadline exceeded|deadline_exceeded",
        _OUT_OF_TIME,
    ),
)

_ONLY_LOOK_UPS: tuple[_Entry, ...] = (
    (
        r"no credentials are configured|anonymous access is refused",
        "It wants credentials: set `auth`, `authFile` or `authCredential` for this registry.",
    ),
    (
        r"wrong credentials|identity token|token is not accepted|wants a password",
        "Correct `auth` (or `authFile`, `authCredential`) of this registry; "
        "`image-cri-shim check --online` tries it.",
    ),
    (
        r"absent or private",
        "Either it is not there, or it is private: then set `auth`, `authFile` or "
        "`authCredential` for this registry.",
    ),
    (
        r"access denied or absent",
        "Either it is not there, or the configured user may not pull it: give that user the right.",
    ),
    (
        r"and asks for (?:no credentials|nothing)",
        "It refuses without asking who it is: look at its rules, and at a proxy in front of it.",
    ),
    (
        r"credential helper",
        "Run this program (docker-credential-...) as the daemon's user and see why it fails.",
    ),
    (
        r"cannot use |no credentials for ",
        "The configuration names this file or credential: make it one that the daemon can read.",
    ),
    (
        r"tls:.*(?:self[- ]signed|issuer|unable to verify|verify failed$)",
        "Name this registry's CA in its `caFile`; the runtime needs it as well.",
    ),
    (
        r"demands a client certificate",
        "Name a client certificate in `certFile` and `keyFile` of this registry.",
    ),
    (
        r"may speak plain http",
        "Write its `address` with http://; the runtime must be told as well.",
    ),
    (r"speak https only", "Write its `address` with https://."),
    (r"over plain http|https to http", "It leads from https to http: correct it at the registry."),
    (
        r"not a registry|not http$|no answer to a look-up|no valid address|redirects",
        "Is it a registry that is there, or a proxy or log-in page? Correct its `address`.",
    ),
    (
        r"which is not allowed",
        "This registry leads to the origin, which the rule forbids: keep the image in it.",
    ),
    (
        r"busy, no turn",
        "It is asked too much at a time for its speed: raise `maxConnections` of this registry.",
    ),
    (
        r"did not come to an end",
        "It has the image and does not hand it out in time: look after it, or raise `timeout`.",
    ),
    (
        r"another digest",
        "It serves another manifest under this digest: push the image to it again.",
    ),
    (
        r"^deadline exceeded",
        _OUT_OF_TIME,
    ),
)

# What is the node's own trouble, whoever else is named.
_OF_NODE: tuple[_Entry, ...] = (
    (
        r"no space left on device|disk quota exceeded",
        "The node's disk is full: make room where the runtime keeps images "
        "(`crictl rmi --prune`, `df`).",
    ),
    (r"read-only file system", "The node's disk is read-only: look at the kernel's log."),
    (r"input/output error", "The node's disk fails: look at the kernel's log."),
    (
        r"cni plugin not initialized|network plugin|plugin type=",
        "The pods' network (CNI) is not ready or fails: look at its pods, and at /etc/cni/net.d.",
    ),
)

# Nothing was heard from the other side.
_UNREACHED: tuple[_Entry, ...] = (
    (
        r"proxyconnect",
        "The proxy that stands between cannot be reached: correct HTTPS_PROXY and NO_PROXY of "
        "whoever asks, the runtime or the daemon.",
    ),
    (
        r"lookup [^ ]+.*(?:i/o timeout|timed out)",
        "The node's DNS does not answer: look at /etc/resolv.conf and at the servers in it.",
    ),
    (
        r"no such host|name resolution|name or service not known|server misbehaving"
        r"|no address associated",
        "The node finds no address for this name: correct it in `address`, or /etc/hosts or the "
        "node's DNS.",
    ),
    (
        r"connection refused",
        "Nobody listens there: start the registry, or correct host and port in `address`.",
    ),
    (
        r"no route to host|network is unreachable|cannot connect",
        "There is no way to it from this node: look at routes and firewalls.",
    ),
    (
        r"timed out|timeout",
        "It does not answer: is it up, and does a firewall drop what is sent to it? How long it "
        "is waited for is said by its `connectTimeout` and `timeout`.",
    ),
)

_ANYBODYS: tuple[_Entry, ...] = (
    (
        r"(?:status code|unexpected status|status:).*\b5\d\d\b|^(?:[^:]*: )*5\d\d(?: |$|,)",
        "The registry itself fails, or a proxy in front of it: read its log.",
    ),
    *_OF_NODE,
    (
        r"has expired|not yet valid",
        "Renew this registry's certificate; or the node's clock is wrong.",
    ),
    (
        r"certificate is (?:valid )?for|cannot validate certificate for|not valid for any names"
        r"|legacy common name|for another host",
        "Use the name in `address` that its certificate is for, or give it a certificate for "
        "this one.",
    ),
    (
        r"\b429\b|toomanyrequests|rate limit",
        "It limits how much is pulled: wait, give it credentials with a higher limit (`auth`), or "
        "put the image into a registry of your own.",
    ),
    *_UNREACHED,
    (
        r"no match(?:ing manifest)? for |no image found in .* for architecture",
        "The image has no variant for this node's platform: push one for it.",
    ),
    (
        r"\b401\b|\b403\b|unauthorized|access denied|denied:|insufficient_scope|no basic auth"
        r"|authentication required|failed to authorize",
        "It refuses who asks: correct `auth` (or `authFile`) of this registry and its user's "
        "rights. For an origin it is the pod's imagePullSecrets.",
    ),
    (
        r"unexpected commit digest|size validation|digest mismatch|invalid checksum",
        "What it sends is not what the digest promises: push the image to it again.",
    ),
    (
        r"no longer supported|unsupported manifest|schema ?1\b|schema version 1",
        "The image has an old format: push it again with a current tool.",
    ),
    (
        r"^(?!.*\bsnapshot\b).*not found|(?:^|: |\(|status |code[: ]+)404\b"
        r"|(?:manifest|name)[ _]unknown"
        r"|(?:repository|manifest|image|tag)\b.* does not exist|^absent",
        "Push the image there, or correct its name; "
        "`image-cri-shim resolve IMAGE` shows where it is looked for.",
    ),
    (
        r"invalid reference|could not parse|failed to parse image|couldn't parse",
        "This is no image's name: correct it in the pod.",
    ),
    (
        r"connection (?:lost|reset)|broken|\beof\b",
        "The connection breaks off: look into the registry's log and at proxies between.",
    ),
)

# Names say nothing about what is wrong with them.
_NAMES = re.compile(r"(image|reference) \"[^\"]*\"|[^\s\"]+(?=: not found$)")


def cure(text: str, *, configured: bool = True) -> str:
    """Say what to do about an error.

    :param text: the detail of a look-up, or what the runtime said of a pull or of another call.
    :param configured: whether the configuration has the registry; else it is an origin, which has
        no settings to correct.
    :returns: one or a few sentences; empty if nothing is known.
    """
    _, words = found = _entry(text)
    if not configured and (found in _UNREACHED or "`address`" in words):
        return OF_ORIGIN
    return words.replace("HOST", _host(text) if is_runtimes(text) else "HOST")


def of_node(text: str) -> str:
    """Say what to do about an error that is the node's own trouble; empty if it is none."""
    lower = text.lower()
    return next((words for pattern, words in _OF_NODE if re.search(pattern, lower)), "")


def is_unreached(text: str) -> bool:
    """Tell whether an error says that nothing was heard from the registry."""
    return _entry(text) in _UNREACHED


# The same few errors come again and again, and each is matched with all of these patterns.
@lru_cache(maxsize=256)
def _entry(text: str) -> _Entry:
    lower = _NAMES.sub(r"\1", text).lower()
    own = _ONLY_RUNTIMES if is_runtimes(text) else _ONLY_LOOK_UPS
    return next((one for one in (*own, *_ANYBODYS) if re.search(one[0], lower)), ("", ""))


def is_runtimes(text: str) -> bool:
    """Tell whether an error is in a runtime's words."""
    return _RUNTIMES.search(text) is not None


def needs_runtimes_settings(text: str) -> bool:
    """Tell whether an error is a runtime's that only the runtime's own settings cure."""
    lower = text.lower()
    return is_runtimes(text) and any(re.search(pattern, lower) for pattern, _ in _ONLY_RUNTIMES)


def _host(text: str) -> str:
    """Return the registry that a runtime's error is about; ``HOST`` if it does not say."""
    for pattern in _HOSTS:
        found = pattern.search(text)
        if found is not None:
            return found[1]
    return "HOST"
