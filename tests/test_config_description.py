from __future__ import annotations

import attrs
import pytest

from image_cri_shim.config import (
    KNOWN_SOCKETS,
    Config,
    describe,
    detect_runtime_socket,
    override,
    parse,
)
from image_cri_shim.errors import ConfigError


def test_the_start_up_lines_have_their_order_and_words() -> None:
    config = parse(
        """\
shim: /run/shim.sock
shimMode: 600
shimGroup: kube
shutdownGrace: 45s
cri: /run/containerd/containerd.sock
address: https://hub.corp
auth: admin:secret
force: true
debug: true
version: v1
timeout: 1m30s
reloadInterval: 0
offlinePriority: 7
registries: [{address: b.corp, priority: 10}, {address: "a.corp:5000"}]
cache: {imageCacheSize: 5, imageCacheTTL: 500ms, statsLogInterval: 0, disableStats: true}
adminListen: localhost:9317
logFormat: journal
logLevels: {admin: error, registry: debug, cri: ""}
historySize: 5
""",
        "f",
    )
    assert describe(config) == (
        ("shim-socket", "/run/shim.sock"),
        ("cri-socket", "/run/containerd/containerd.sock"),
        ("hub-address", "https://hub.corp"),
        ("RegistryDomain", "hub.corp"),
        ("Force", "true"),
        ("Debug", "true"),
        ("ImageDir", "/var/lib/image-cri-shim"),
        ("Timeout", "1m30s"),
        ("CRIVersion", "v1"),
        ("Username", "admin"),
        ("Password", "set"),
        ("ShimMode", "0600"),
        ("ShimOwner", "as the runtime's socket"),
        ("ShimGroup", "kube"),
        ("ShutdownGrace", "45s"),
        ("ReloadInterval", "off"),
        ("OfflinePriority", "7"),
        ("Registries", "b.corp (priority 10), a.corp:5000 (priority 500)"),
        ("Rules", "none"),
        ("LookupGrace", "1s"),
        ("OriginalNames", "keep"),
        ("ImageCacheSize", "5"),
        ("ImageCacheTTL", "500ms"),
        ("AbsentTTL", "30s"),
        ("DomainCacheTTL", "10m0s"),
        ("StatsLogInterval", "off"),
        ("DisableStats", "true"),
        ("AdminSocket", "/run/image-cri-shim/admin.sock"),
        ("AdminListen", "127.0.0.1:9317"),
        ("LogFormat", "journal"),
        ("LogLevels", "registry debug, admin error"),
        ("HistorySize", "5"),
        ("HistoryAge", "2160h0m0s"),
    )


def test_what_is_not_given_is_said_to_be_so() -> None:
    lines = dict(describe(Config()))
    assert lines["cri-socket"] == "detected"
    assert lines["hub-address"] == "http://sealos.hub:5000"
    assert lines["Username"] == "not set"
    assert lines["Password"] == "not set"
    assert lines["Registries"] == "none"
    assert lines["AdminListen"] == "none"
    assert lines["LogLevels"] == "as Debug says"
    lines = dict(describe(Config(admin_socket=None, history_size=0, history_age=0.0)))
    assert lines["AdminSocket"] == "none"
    assert lines["HistorySize"] == "0 (no history)"
    assert lines["HistoryAge"] == "no limit"
    lines = dict(describe(Config(offline=None)))
    assert lines["hub-address"] == lines["RegistryDomain"] == lines["OfflinePriority"] == "none"
    assert lines["Username"] == "not set"


def test_an_empty_password_is_not_set() -> None:
    lines = dict(describe(parse("auth: 'admin:'", "f")))
    assert lines["Username"] == "admin"
    assert lines["Password"] == "not set"


def after(name: str, text: str) -> list[str]:
    """Return the lines that are said of a file, from one with a name on."""
    lines = [f"{key}: {value}" for key, value in describe(parse(text, "f"))]
    first = next(index for index, line in enumerate(lines) if line.startswith(f"{name}: "))
    return lines[first:]


def test_each_registry_with_settings_has_a_line_that_shows_what_is_not_the_default() -> None:
    text = """\
address: https://hub.corp
auth: admin:secret
offline: {prefix: a, keepHost: true}
registries:
  - address: plain.corp
    priority: 7
  - address: harbor.corp
    prefix: dockerhub
    auth: "robot$x:secret"
    trustFor: digest
    connectTimeout: 500ms
    timeout: 1m
    maxConnections: 4
  - address: harbor.corp
    prefix: quay
    authFile: /root/.docker/config.json
    caFile: /ca.pem
    certFile: /c.pem
    keyFile: /k.pem
  - {address: loose.corp, auth: "nobody:", insecureSkipVerify: true}
  - {address: "http://[::1]:5000", timeout: 10s, trustFor: all, keepHost: false}
"""
    assert after("Registries", text)[:7] == [
        (
            "Registries: plain.corp (priority 7), harbor.corp/dockerhub (priority 500), "
            "harbor.corp/quay (priority 500), loose.corp (priority 500), [::1]:5000 (priority 500)"
        ),
        "Registry hub.corp/a: prefix a, keepHost true",
        (
            "Registry harbor.corp/dockerhub: user robot$x (password set), prefix dockerhub, "
            "trustFor digest, connectTimeout 500ms, timeout 1m0s, maxConnections 4"
        ),
        (
            "Registry harbor.corp/quay: authFile /root/.docker/config.json, prefix quay, "
            "caFile /ca.pem, certFile /c.pem, keyFile /k.pem"
        ),
        "Registry loose.corp: user nobody (password not set), insecureSkipVerify true",
        "Registry [::1]:5000: http",
        "Rules: none",
    ]


def test_each_rule_has_a_line() -> None:
    text = """\
registries: [{address: harbor.corp, prefix: dh}]
lookupGrace: 0
cache: {absentTTL: 0}
rules:
  - match: docker.io
    registries: [harbor.corp/dh, "sealos.hub:5000"]
    exclude: ["*:latest", docker.io/library/*]
    originAllowed: false
  - match: [quay.io/a/*, "*.corp"]
    tags: [v1.*, latest]
    registries: []
  - match: registry.k8s.io
    rewrite:
      - {from: registry.k8s.io/pause, to: /google_containers/pause/}
      - {from: registry.k8s.io/a/*, to: "*"}
      - {from: registry.k8s.io, to: google_containers}
"""
    lines = after("Rules", text)
    assert lines[:8] == [
        "Rules: 3",
        (
            "Rule 1: docker.io -> harbor.corp/dh, sealos.hub:5000; exclude *:latest, "
            "docker.io/library/*; origin not allowed"
        ),
        "Rule 2: quay.io/a/*, *.corp (tags v1.*, latest) -> none",
        (
            "Rule 3: registry.k8s.io -> all registries; rewrite registry.k8s.io/pause -> "
            "google_containers/pause, registry.k8s.io/a/* -> *, "
            "registry.k8s.io -> google_containers/*"
        ),
        "LookupGrace: 0s (strict order)",
        "OriginalNames: keep",
        "ImageCacheSize: 1024",
        "ImageCacheTTL: 30m0s",
    ]
    assert "AbsentTTL: off" in lines


def test_what_would_not_be_seen_or_turn_a_line_around_is_escaped() -> None:
    text = """\
shim: "/a\\u202eb"
image: "/\u00e4\\u200b{x}"
auth: "us\\u2066er:p"
address: https://hub.corp
offline: {caFile: "/c\\u200ed"}
"""
    lines = dict(describe(parse(text, "f")))
    assert lines["shim-socket"] == "/a\\u202eb"
    assert lines["ImageDir"] == "/\u00e4\\u200b{x}"
    assert lines["Username"] == "us\\u2066er"
    assert lines["Registry hub.corp"] == "caFile /c\\u200ed"


def test_options_override_the_file() -> None:
    config = Config(shim="/a", cri="/b")
    assert override(config) == config
    assert override(config, shim="unix:///c", cri="/d", debug=True) == Config(
        shim="/c", cri="/d", debug=True
    )
    assert not override(Config(debug=True), debug=False).debug
    config = Config(admin_socket="/e")
    assert override(config, shim="/c", debug=True) == attrs.evolve(config, shim="/c", debug=True)
    config = Config(shim="/a", cri="/b")
    # Each of the two would be wrong with what the file says about the other.
    assert override(config, shim="/b", cri="/a") == Config(shim="/b", cri="/a")


@pytest.mark.parametrize(
    ("shim", "cri", "message"),
    [
        (
            "x",
            "unix://y",
            (
                "--shim: expected the absolute path of a socket, of at most 107 bytes, found x\n"
                "--cri: expected the absolute path of a socket, of at most 107 bytes, found unix://y"
            ),
        ),
        (
            "",
            None,
            (
                "--shim: expected the absolute path of a socket, of at most 107 bytes, "
                "found an empty text"
            ),
        ),
        (
            None,
            "/" + "x" * 200,
            (
                "--cri: expected the absolute path of a socket, of at most 107 bytes, "
                "found one of 201 bytes"
            ),
        ),
        (
            "/a\udcff",
            None,
            (
                "--shim: expected the absolute path of a socket, of at most 107 bytes, "
                "found characters in it that UTF-8 cannot hold"
            ),
        ),
        (
            "/b/",
            None,
            (
                "--shim: expected the absolute path of a socket, of at most 107 bytes, "
                "found /b/, a directory"
            ),
        ),
        (
            "x" * 500,
            None,
            (
                "--shim: expected the absolute path of a socket, of at most 107 bytes, "
                f"found {'x' * 60}..."
            ),
        ),
        (
            "/a\u202e",
            "/a\u202e",
            "--cri: expected another file than that of `shim`, found /a\\u202e for both",
        ),
        ("/b", None, "--shim: expected another file than that of `cri`, found /b for both"),
        (
            "/run/image-cri-shim/admin.sock",
            None,
            (
                "--shim: expected another file than that of `adminSocket`, "
                "found /run/image-cri-shim/admin.sock for both"
            ),
        ),
        (
            None,
            "/var/run/image-cri-shim/admin.sock",
            (
                "--cri: expected another file than that of `adminSocket`, "
                "found /var/run/image-cri-shim/admin.sock for both"
            ),
        ),
        (None, "//a", "--cri: expected another file than that of `shim`, found //a for both"),
    ],
)
def test_a_wrong_option_is_named(shim: str | None, cri: str | None, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(Config(shim="/a", cri="/b"), shim=shim, cri=cri)
    assert str(caught.value) == message


def test_the_first_known_socket_that_exists_is_the_runtimes() -> None:
    assert KNOWN_SOCKETS == (
        "/run/containerd/containerd.sock",
        "/var/run/crio/crio.sock",
        "/var/run/cri-dockerd.sock",
        "/var/run/dockershim.sock",
    )
    assert detect_runtime_socket(lambda _: True) == KNOWN_SOCKETS[0]
    assert detect_runtime_socket(KNOWN_SOCKETS[2:].__contains__) == KNOWN_SOCKETS[2]
    assert detect_runtime_socket(lambda _: False) is None


def test_the_shim_at_a_runtimes_place_is_not_taken_for_the_runtime() -> None:
    dockershim = KNOWN_SOCKETS[3]
    assert detect_runtime_socket([dockershim].__contains__, dockershim) is None
    assert detect_runtime_socket([dockershim].__contains__, "/run/dockershim.sock") is None
    found = detect_runtime_socket(lambda _: True, "/run/./containerd/containerd.sock")
    assert found == KNOWN_SOCKETS[1]
