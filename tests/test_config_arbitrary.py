"""Whatever a file says, the answer is a configuration or a ConfigError."""

from __future__ import annotations

import contextlib
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_cri_shim.config import (
    CACHE_KEYS,
    KEYS,
    LOG_KEYS,
    REGISTRY_KEYS,
    REWRITE_KEYS,
    RULE_KEYS,
    Config,
    Key,
    describe,
    load,
    override,
    parse,
    warnings,
)
from image_cri_shim.errors import ConfigError

BOUNDED = settings(
    derandomize=True,
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

ALL_KEYS = KEYS + CACHE_KEYS + LOG_KEYS + REGISTRY_KEYS + RULE_KEYS + REWRITE_KEYS
KEY_NAMES = st.sampled_from(sorted({key.name for key in ALL_KEYS}))
VALUES = st.sampled_from(
    [
        "/run/a.sock",
        "a.corp",
        "http://a.corp:5000",
        "a.corp/x/*",
        "docker.io",
        "*",
        "*:latest",
        "*.corp/*",
        "team/x",
        "sealos.hub:5000",
        "admin:secret",
        "digest",
        "15m",
        "v1",
        "[::1]:1",
        "127.0.0.1:9317",
        "debug",
        "",
    ]
)
SCALARS = (
    VALUES
    | st.text()
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.dates()
    | st.binary(max_size=8)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY_NAMES, inner, max_size=4),
    max_leaves=20,
)


def shaped(keys: tuple[Key, ...]) -> st.SearchStrategy[dict[str, object]]:
    """Return mappings that are nearly right: their keys are known and their nesting is right."""

    def value(key: Key) -> st.SearchStrategy[object]:
        one: st.SearchStrategy[object] = shaped(key.keys) if key.keys else SCALARS
        if not key.many:
            return one
        listed = st.lists(one, max_size=3)
        return listed | one if key.or_one else listed

    required = {key.name: value(key) for key in keys if key.required}
    others = {key.name: value(key) for key in keys if not key.required}
    return st.fixed_dictionaries(required, optional=others)


# Pieces that YAML's own rules turn on, so that a random text gets past the first character.
PIECES = (
    KEY_NAMES
    | VALUES
    | st.sampled_from(
        [
            ": ",
            "- ",
            "? ",
            "\n",
            "\n  ",
            "<<",
            "---",
            "...",
            "!!",
            "!<",
            "{{",
            "}}",
            "\\x",
            "\\U",
            "%YAML 1.",
            "%TAG ! ",
            *"[]{},:'\"\\#&*!|>%@`~09 \t\r\ufeff\u2028\x85",
        ]
    )
    | st.characters()
)


def answer(text: str) -> Config | ConfigError:
    try:
        return parse(text, "f")
    except ConfigError as error:
        return error


def check(text: str) -> None:
    result = answer(text)
    if isinstance(result, Config):
        for line in (*(": ".join(pair) for pair in describe(result)), *warnings(result)):
            assert line
            assert line.isprintable()
        assert override(result, debug=result.debug) == result
        return
    assert result.problems
    assert str(result).splitlines() == [str(problem) for problem in result.problems]
    last = 1 + sum(text.count(end) for end in "\n\r\x85\u2028\u2029")
    for problem in result.problems:
        assert 1 <= problem.line <= last
        assert problem.column >= 1
        assert problem.message


@BOUNDED
@given(st.text())
def test_any_text_is_a_configuration_or_refused(text: str) -> None:
    check(text)


@BOUNDED
@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_jumble_of_yaml_is_a_configuration_or_refused(text: str) -> None:
    check(text)


@BOUNDED
@given(st.dictionaries(KEY_NAMES, TREES, max_size=8), st.booleans())
def test_any_mapping_over_the_known_keys_is_a_configuration_or_refused(
    tree: dict[str, object], flow: bool
) -> None:
    check(yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True))


@BOUNDED
@given(shaped(KEYS), st.booleans())
def test_any_values_at_their_places_are_a_configuration_or_refused(
    tree: dict[str, object], flow: bool
) -> None:
    check(yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True))


HOSTS = st.sampled_from(["a.corp", "b.corp:5000", "docker.io", "*", "*.corp", "[::1]:1", "A.corp"])
PATHS = st.sampled_from(["", "/*", "/x", "/x/*", "/x/y", "/library/nginx"])
PATTERNS = st.tuples(HOSTS, PATHS).map("".join)
NAMES = st.sampled_from(["a.corp", "a.corp/x", "b.corp:5000/x/y", "sealos.hub:5000", "docker.io"])
RULES = st.fixed_dictionaries(
    {"match": PATTERNS | st.lists(PATTERNS, min_size=1, max_size=3)},
    optional={
        "tags": st.lists(st.sampled_from(["latest", "v*", "1.20"]), max_size=2),
        "registries": st.lists(NAMES, max_size=3, unique=True),
        "exclude": st.lists(st.tuples(PATTERNS, st.sampled_from(["", ":v*"])).map("".join)),
        "rewrite": st.lists(
            st.fixed_dictionaries(
                {"from": PATTERNS, "to": st.sampled_from(["", "*", "y", "y/*", "/y/z/"])}
            ),
            max_size=2,
        ),
        "originAllowed": st.booleans(),
    },
)
REGISTRIES = st.fixed_dictionaries(
    {"address": st.sampled_from(["a.corp", "http://a.corp", "b.corp:5000", "docker.io", "A.corp"])},
    optional={
        "prefix": st.sampled_from(["", "x", "x/y"]),
        "auth": st.sampled_from(["", "admin:secret"]),
        "authFile": st.sampled_from(["", "/a.json"]),
        "caFile": st.sampled_from(["", "/ca.pem"]),
        "insecureSkipVerify": st.booleans(),
        "trustFor": st.sampled_from(["all", "tag", "digest"]),
    },
)


@BOUNDED
@given(st.lists(REGISTRIES, max_size=3), st.lists(RULES, max_size=4))
def test_any_registries_and_rules_are_a_configuration_or_refused(
    registries: list[object], rules: list[object]
) -> None:
    check(yaml.safe_dump({"registries": registries, "rules": rules}))


@BOUNDED
@given(st.binary())
def test_any_file_is_a_configuration_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "shim.yaml"
    path.write_bytes(data)
    with contextlib.suppress(ConfigError):
        load(path)


@BOUNDED
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "registries": st.lists(REGISTRIES, max_size=2),
                "rules": st.lists(RULES, max_size=2),
                "address": st.sampled_from(["", "a.corp", "http://a.corp", "sealos.hub:5000"]),
                "auth": st.sampled_from(["", "admin:secret", "secret"]),
                "offline": st.sampled_from(
                    [{}, {"authFile": "/f"}, {"caFile": "/c"}, {"timeout": "1s"}, {"prefix": "x"}]
                ),
                "cri": st.sampled_from(["", "/run/a", "/run/b"]),
                "shim": st.sampled_from(["/run/a", "/run/b"]),
                "adminSocket": st.sampled_from(["", "/run/a", "/run/b"]),
                "logLevels": st.sampled_from([{}, {"cri": "warn"}, {"cri": "", "pull": "error"}]),
            },
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_files_together_are_a_configuration_or_refused_with_the_place(
    tmp_path: Path, contents: list[dict[str, object]]
) -> None:
    path = tmp_path / "f.yaml"
    (tmp_path / "f.d").mkdir(exist_ok=True)
    names = [path, *(tmp_path / "f.d" / f"{index}.yaml" for index in (1, 2))]
    texts = [yaml.safe_dump(content) for content in contents] + ["", ""]
    for name, text in zip(names, texts, strict=False):
        name.write_text(text)
    try:
        load(path)
    except ConfigError as error:
        lines = {str(name): text.split("\n") for name, text in zip(names, texts, strict=False)}
        for problem in error.problems:
            line = lines[problem.file][problem.line - 1]
            # The place is that of a key's value, in the file that is named.
            assert 1 <= problem.column <= len(line)
            assert "secret" not in problem.message
        order = [names.index(Path(one.file)) for one in error.problems]
        assert order == sorted(order)


@BOUNDED
@given(st.text(alphabet=st.characters(blacklist_characters="{}"), min_size=1, max_size=20), PIECES)
def test_a_password_after_any_beginning_is_repeated_by_no_error(noise: str, piece: str) -> None:
    secret = "Xq7zKw"
    for text in (
        f"auth: {piece}{noise}{secret}",
        f"auth:{piece}{secret}{noise}",
        f"auth: admin:{secret}{piece}{noise}\nforce: 1\n",
        f"address: {piece}{noise}:{secret}@a.corp",
        f"adminListen: {piece}{noise}:{secret}@127.0.0.1:9317",
        f"registries: [{{address: a.corp, authFile: {piece}{noise}{secret}}}]",
        f"registries:\n- address: {piece}{noise}:{secret}@a.corp",
        f"registries:\n- address: a.corp\n  auth: {piece}{noise}{secret}\n  authFile: /a\n",
        f"offline:\n  authFile: {piece}{noise}{secret}\n",
        f"offline:\n  keyFile: {piece}{noise}{secret}\n  caFile: {secret}{noise}",
        f"rules:\n- match: a.io\n  registries: [{piece}{noise}:{secret}@a.corp]\n",
    ):
        result = answer(text)
        if isinstance(result, ConfigError):
            assert secret not in str(result) + repr(result)
