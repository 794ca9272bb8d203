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
    REGISTRY_KEYS,
    Config,
    describe,
    load,
    override,
    parse,
)
from image_cri_shim.errors import ConfigError

BOUNDED = settings(
    derandomize=True,
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

KEY_NAMES = st.sampled_from([key.name for key in KEYS + CACHE_KEYS + REGISTRY_KEYS])
VALUES = st.sampled_from(
    ["/run/a.sock", "a.corp", "http://a.corp:5000", "admin:secret", "15m", "v1", "[::1]:1", ""]
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
        assert describe(result)
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
@given(st.binary())
def test_any_file_is_a_configuration_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "shim.yaml"
    path.write_bytes(data)
    with contextlib.suppress(ConfigError):
        load(path)


@BOUNDED
@given(st.text(alphabet=st.characters(blacklist_characters="{}"), min_size=1, max_size=20), PIECES)
def test_a_password_after_any_beginning_is_repeated_by_no_error(noise: str, piece: str) -> None:
    secret = "Xq7zKw"
    for text in (
        f"auth: {piece}{noise}{secret}",
        f"auth:{piece}{secret}{noise}",
        f"auth: admin:{secret}{piece}{noise}\nforce: 1\n",
        f"address: {piece}{noise}:{secret}@a.corp",
    ):
        result = answer(text)
        if isinstance(result, ConfigError):
            assert secret not in str(result) + repr(result)
