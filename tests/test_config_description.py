from __future__ import annotations

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
        ("ReloadInterval", "off"),
        ("OfflinePriority", "7"),
        ("Registries", "b.corp (priority 10), a.corp:5000 (priority 500)"),
        ("ImageCacheSize", "5"),
        ("ImageCacheTTL", "500ms"),
        ("DomainCacheTTL", "10m0s"),
        ("StatsLogInterval", "off"),
        ("DisableStats", "true"),
    )


def test_what_is_not_given_is_said_to_be_so() -> None:
    lines = dict(describe(Config()))
    assert lines["cri-socket"] == "detected"
    assert lines["hub-address"] == "http://sealos.hub:5000"
    assert lines["Username"] == "not set"
    assert lines["Password"] == "not set"
    assert lines["Registries"] == "none"
    lines = dict(describe(Config(offline=None)))
    assert lines["hub-address"] == lines["RegistryDomain"] == lines["OfflinePriority"] == "none"
    assert lines["Username"] == "not set"


def test_an_empty_password_is_not_set() -> None:
    lines = dict(describe(parse("auth: 'admin:'", "f")))
    assert lines["Username"] == "admin"
    assert lines["Password"] == "not set"


def test_options_override_the_file() -> None:
    config = Config(shim="/a", cri="/b")
    assert override(config) == config
    assert override(config, shim="unix:///c", cri="/d", debug=True) == Config(
        shim="/c", cri="/d", debug=True
    )
    assert not override(Config(debug=True), debug=False).debug
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
        ("/b", None, "--shim: expected another file than that of `cri`, found /b for both"),
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
