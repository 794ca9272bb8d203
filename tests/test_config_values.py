"""What a correct file means."""

from __future__ import annotations

import attrs
import pytest

from image_cri_shim.config import (
    CACHE_KEYS,
    KEYS,
    LOG_KEYS,
    OFFLINE_KEYS,
    REGISTRY_KEYS,
    REWRITE_KEYS,
    RULE_KEYS,
    CacheConfig,
    Config,
    Key,
    LogLevels,
    parse,
)
from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Registry
from image_cri_shim.pattern import parse_pattern, parse_tagged_pattern
from image_cri_shim.rules import Rewrite, Rule

FULL = """\
# Everything.
shim: unix:///run/shim.sock
shimMode: 0660
shimOwner: 0
shimGroup: kube
cri: unix:///run/containerd/containerd.sock
address: https://hub.corp:5000/
auth: admin:pass:word
force: true
debug: on
image: /srv/state
version: v1alpha2
timeout: 20m0s
shutdownGrace: 1m
reloadInterval: 1m
offlinePriority: 9000
offline:
  caFile: /etc/hub.pem
  maxConnections: 4
registries:
  - address: http://harbor.corp
    auth: robot:secret
    priority: 10000
  - address: mirror.corp:8443
    authFile: /root/.docker/config.json
    prefix: team/proxy
    keepHost: true
    trustFor: digest
    certFile: /etc/client.pem
    keyFile: /etc/client.key
    insecureSkipVerify: true
    connectTimeout: 500ms
    timeout: 2s
    maxConnections: 1000
rules:
  - match: [quay.io/*, "*.corp"]
    tags: [v1.*]
    registries: [mirror.corp:8443/team/proxy, hub.corp:5000]
    exclude: ["*:latest"]
    rewrite:
      - from: quay.io/a/*
        to: b/*
    originAllowed: false
lookupGrace: 2s
originalNames: add
cache:
  imageCacheSize: 10
  imageCacheTTL: 1h30m
  absentTTL: 5s
  domainCacheTTL: 0
  statsLogInterval: 90s
  disableStats: true
adminSocket: unix:///run/admin.sock
adminListen: "[::1]:9317"
logFormat: json
logLevels:
  daemon: debug
  cri: info
  pull: warn
  runtime: error
  registry: debug
  config: warn
  admin: error
historySize: 12
historyAge: 24h
"""


def test_every_key_arrives_where_the_program_reads_it() -> None:
    assert parse(FULL, "f") == Config(
        shim="/run/shim.sock",
        shim_mode=0o660,
        shim_owner="0",
        shim_group="kube",
        cri="/run/containerd/containerd.sock",
        offline=Registry(
            "hub.corp:5000",
            credentials=Credentials("admin", "pass:word"),
            priority=9000,
            offline=True,
            ca_file="/etc/hub.pem",
            max_connections=4,
        ),
        registries=(
            Registry(
                "harbor.corp",
                plain_http=True,
                credentials=Credentials("robot", "secret"),
                priority=10000,
            ),
            Registry(
                "mirror.corp:8443",
                priority=500,
                auth_file="/root/.docker/config.json",
                prefix="team/proxy",
                keep_host=True,
                trust_for="digest",
                cert_file="/etc/client.pem",
                key_file="/etc/client.key",
                insecure_skip_verify=True,
                connect_timeout=0.5,
                timeout=2.0,
                max_connections=1000,
            ),
        ),
        rules=(
            Rule(
                1,
                (parse_pattern("quay.io/*"), parse_pattern("*.corp")),
                tags=("v1.*",),
                registries=("mirror.corp:8443/team/proxy", "hub.corp:5000"),
                exclude=(parse_tagged_pattern("*:latest"),),
                rewrite=(Rewrite(parse_pattern("quay.io/a/*"), "b"),),
                origin_allowed=False,
            ),
        ),
        lookup_grace=2.0,
        original_names="add",
        force=True,
        debug=True,
        image="/srv/state",
        version="v1alpha2",
        timeout=1200.0,
        shutdown_grace=60.0,
        reload_interval=60.0,
        cache=CacheConfig(
            image_cache_size=10,
            image_cache_ttl=5400.0,
            absent_ttl=5.0,
            domain_cache_ttl=0.0,
            stats_log_interval=90.0,
            disable_stats=True,
        ),
        admin_socket="/run/admin.sock",
        admin_listen="[::1]:9317",
        log_format="json",
        log_levels=LogLevels(
            daemon="debug",
            cri="info",
            pull="warn",
            runtime="error",
            registry="debug",
            config="warn",
            admin="error",
        ),
        history_size=12,
        history_age=86400.0,
    )


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert parse("", "f") == Config(
        shim="/var/run/image-cri-shim.sock",
        shim_mode=None,
        shim_owner=None,
        shim_group=None,
        cri=None,
        offline=Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True),
        registries=(),
        force=False,
        debug=False,
        image="/var/lib/image-cri-shim",
        version="auto",
        timeout=900.0,
        shutdown_grace=30.0,
        reload_interval=15.0,
        rules=(),
        lookup_grace=1.0,
        cache=CacheConfig(1024, 1800.0, 30.0, 600.0, 60.0, False),
        admin_socket="/run/image-cri-shim/admin.sock",
        admin_listen=None,
        log_format="auto",
        log_levels=LogLevels(None, None, None, None, None, None, None),
        history_size=10_000,
        history_age=2160 * 3600.0,
    )


def written(keys: tuple[Key, ...], indent: str = "") -> str:
    lines = []
    for key in keys:
        if key.keys and not key.many:
            lines.append(f"{indent}{key.name}:\n{written(key.keys, indent + '  ')}")
        else:
            lines.append(f"{indent}{key.name}: {key.default}\n")
    return "".join(lines)


def test_the_defaults_in_the_table_of_keys_written_out_mean_what_an_empty_file_means() -> None:
    assert parse(written(KEYS), "f") == Config()
    assert all(key.default for key in KEYS + CACHE_KEYS + LOG_KEYS)


def test_the_defaults_of_a_registrys_keys_written_out_mean_the_same_as_its_address_alone() -> None:
    keys = "".join(f"    {key.name}: {key.default or 'a.corp'}\n" for key in REGISTRY_KEYS)
    full = parse("registries:\n  -\n" + keys, "f")
    assert full.registries == (Registry("a.corp"),)
    assert full == parse("registries: [{address: a.corp}]", "f")


def test_the_defaults_of_a_rules_keys_written_out_mean_the_same_as_its_pattern_alone() -> None:
    written_out = "".join(f"    {key.name}: {key.default}\n" for key in RULE_KEYS if key.default)
    full = parse("rules:\n  - match: a.corp\n" + written_out, "f")
    assert full.rules == (Rule(1, (parse_pattern("a.corp"),)),)
    assert full == parse("rules: [{match: a.corp}]", "f")
    assert [key.name for key in RULE_KEYS if not key.default] == ["match", "registries"]
    assert all(key.required and not key.default for key in REWRITE_KEYS)


def test_the_table_of_keys_has_an_attribute_for_each() -> None:
    fields = {field.name for field in attrs.fields(Config)}
    assert {key.attribute for key in KEYS} - fields == {"address", "auth", "offline_priority"}
    assert fields <= {key.attribute for key in KEYS}
    assert [key.attribute for key in CACHE_KEYS] == [
        field.name for field in attrs.fields(CacheConfig)
    ]
    assert [key.attribute for key in LOG_KEYS] == [field.name for field in attrs.fields(LogLevels)]
    registry = {field.name for field in attrs.fields(Registry)}
    assert {key.attribute for key in OFFLINE_KEYS} <= registry
    assert {key.attribute for key in REGISTRY_KEYS} - registry == {"address", "auth"}
    rule = {field.name for field in attrs.fields(Rule)}
    assert {key.attribute for key in RULE_KEYS} == rule - {"number"}
    for key in KEYS + CACHE_KEYS + LOG_KEYS + REGISTRY_KEYS + RULE_KEYS + REWRITE_KEYS:
        assert key.doc.endswith(".")
        assert "\n" not in key.doc
        assert (key.parser is None) == bool(key.keys)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "# nothing here\n",
        "# a template was {{ .registryDomain }}\n",
        "---\n",
        "---\n...\n",
        "null\n",
        "{}\n",
        "\ufeff",
        "shim:\ncri: ~\naddress: null\nauth:\nregistries:\ncache:\ntimeout:\n",
        "cache: {imageCacheSize: }\n",
        "%YAML 1.2\n---\n{}\n",
        "# CR LF\r\nforce: false\r\n",
    ],
)
def test_a_file_that_says_nothing_means_the_defaults(text: str) -> None:
    assert parse(text, "f") == Config()


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert parse("\ufeffforce: true\n", "f").force


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "yes", "Yes", "on", "ON"])
def test_every_yaml_word_for_true_is_true(word: str) -> None:
    assert parse(f"force: {word}", "f").force


@pytest.mark.parametrize("word", ["false", "False", "no", "NO", "off", "Off"])
def test_every_yaml_word_for_false_is_false(word: str) -> None:
    assert not parse(f"debug: {word}", "f").debug


@pytest.mark.parametrize(
    ("auth", "credentials"),
    [
        ("admin:secret", Credentials("admin", "secret")),
        ("admin:a:b:c", Credentials("admin", "a:b:c")),
        ("'admin:'", Credentials("admin", "")),
        # All of these are numbers, dates or booleans for YAML 1.1.
        ("123:456", Credentials("123", "456")),
        ("12:30:45", Credentials("12", "30:45")),
        ("12345:6789", Credentials("12345", "6789")),
        ("001:002.5", Credentials("001", "002.5")),
        ("2001-12-14 21:59:43", Credentials("2001-12-14 21", "59:43")),
        ("'a: b'", Credentials("a", " b")),
        ('"admin:p\\u00e4ss"', Credentials("admin", "p\u00e4ss")),
        ("admin:a#b", Credentials("admin", "a#b")),
        ("'*admin:!&'", Credentials("*admin", "!&")),
        ("a@corp.example:b@c", Credentials("a@corp.example", "b@c")),
        ('"admin:\\x7b{x}}"', Credentials("admin", "{{x}}")),
        ("", None),
        ("~", None),
        ("''", None),
    ],
)
def test_auth_is_the_text_as_written(auth: str, credentials: Credentials | None) -> None:
    offline = parse(f"auth: {auth}\n", "f").offline
    assert offline is not None
    assert offline.credentials == credentials
    registry = parse(f"registries:\n- address: a.corp\n  auth: {auth}\n", "f").registries[0]
    assert registry.credentials == credentials


@pytest.mark.parametrize(
    ("address", "domain", "plain_http"),
    [
        ("http://sealos.hub:5000", "sealos.hub:5000", True),
        ("http://sealos.hub:5000/", "sealos.hub:5000", True),
        ("https://hub.corp", "hub.corp", False),
        ("HTTPS://hub.corp", "hub.corp", False),
        ("hub.corp", "hub.corp", False),
        ("hub.corp:5000/", "hub.corp:5000", False),
        ("localhost", "localhost", False),
        ("Hub", "Hub", False),
        ("10.0.0.1:5000", "10.0.0.1:5000", False),
        ("http://[::1]:5000", "[::1]:5000", True),
        ("'[fd00::a]'", "[fd00::a]", False),
        ("hub:1", "hub:1", False),
        ("hub:65535", "hub:65535", False),
        # A number in base 60 for YAML 1.1.
        ("10:20", "10:20", False),
    ],
)
def test_an_address_becomes_a_domain_and_a_scheme(
    address: str, domain: str, plain_http: bool
) -> None:
    offline = parse(f"address: {address}", "f").offline
    assert offline == Registry(domain, plain_http=plain_http, priority=1000, offline=True)


def test_an_empty_address_means_no_offline_registry() -> None:
    assert parse('address: ""\n', "f").offline is None
    assert parse('address: ""\nauth: ""\nofflinePriority:\n', "f").offline is None


def test_without_an_address_auth_and_priority_belong_to_the_default_one() -> None:
    offline = parse("auth: admin:secret\nofflinePriority: 5\n", "f").offline
    assert offline == Registry(
        "sealos.hub:5000",
        plain_http=True,
        credentials=Credentials("admin", "secret"),
        priority=5,
        offline=True,
    )


def test_without_an_offline_registry_its_default_domain_is_free_for_another() -> None:
    text = "address: ''\nregistries: [{address: 'http://sealos.hub:5000', priority: 0}]\n"
    registry = parse(text, "f").registries[0]
    assert registry == Registry("sealos.hub:5000", plain_http=True, priority=0)
    assert not registry.offline


def test_an_empty_cri_means_to_detect_it() -> None:
    assert parse("cri: ''", "f").cri is None


def test_the_longest_socket_path_is_accepted() -> None:
    path = "/" + "x" * 106
    assert parse(f"shim: {path}", "f").shim == path
    assert parse(f"shim: unix://{path}", "f").shim == path


@pytest.mark.parametrize(
    ("text", "seconds"), [("15m", 900.0), ("'1h30m'", 5400.0), ("87600h", 315360000.0)]
)
def test_a_timeout_is_a_go_duration(text: str, seconds: float) -> None:
    assert parse(f"timeout: {text}", "f").timeout == seconds


@pytest.mark.parametrize("text", ["0", "0s", "'0'"])
def test_polling_can_be_turned_off(text: str) -> None:
    assert parse(f"reloadInterval: {text}", "f").reload_interval == 0.0


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Config().debug = True  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        CacheConfig().image_cache_size = 1  # type: ignore[misc]
