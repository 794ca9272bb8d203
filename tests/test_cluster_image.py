"""The template for cluster images: refused as it is, right once it is rendered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_cri_shim.config import KEYS, parse
from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Registry
from image_cri_shim.errors import ConfigError

ROOT = Path(__file__).parent.parent
TEMPLATE = (ROOT / "examples" / "cluster-image" / "image-cri-shim.yaml.tmpl").read_text()
MANUAL = (ROOT / "docs" / "cluster-images.md").read_text()
NAMES = ("registryDomain", "registryPort", "registryUsername", "registryPassword")


def render(**values: str) -> str:
    """Put values in the places of their names, as a Go template does: as they are."""
    return re.sub(r"\{\{ *\.(\w+) *\}\}", lambda found: values[found[1]], TEMPLATE)


def rendered(password: str, username: str = "admin") -> str:
    return render(
        registryDomain="sealos.hub",
        registryPort="5000",
        registryUsername=username,
        registryPassword=password,
    )


def test_the_template_has_the_names_that_are_filled_in() -> None:
    assert set(re.findall(r"\{\{ \.(\w+) \}\}", TEMPLATE)) == set(NAMES)
    assert all(f"{{{{ .{name} }}}}" in MANUAL for name in NAMES)


def test_the_manual_names_the_template_and_what_it_becomes() -> None:
    assert "examples/cluster-image/image-cri-shim.yaml.tmpl" in MANUAL
    words = set(re.findall(r"`([a-z]+(?:[A-Z][A-Za-z]*)*)`", MANUAL))
    assert {"force", "auth"} <= words & {key.name for key in KEYS}


def test_as_it_is_it_is_recognised_with_every_line_that_waits() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(TEMPLATE, "f")
    lines = [number for number, line in enumerate(TEMPLATE.split("\n"), 1) if "{{" in line]
    assert [one.line for one in caught.value.problems] == lines
    assert all(
        "a template that nobody has filled in" in one.message for one in caught.value.problems
    )


def test_a_template_that_is_filled_in_by_half_is_recognised() -> None:
    with pytest.raises(ConfigError, match="template"):
        parse(TEMPLATE.replace("{{ .registryDomain }}:{{ .registryPort }}", "a.corp"), "f")


def test_rendered_it_is_a_configuration() -> None:
    config = parse(rendered("passw0rd"), "f")
    assert config.force
    assert config.offline == Registry(
        "sealos.hub:5000",
        plain_http=True,
        credentials=Credentials("admin", "passw0rd"),
        priority=1000,
        offline=True,
    )


def password_of(text: str) -> str:
    offline = parse(text, "f").offline
    assert offline is not None
    assert offline.credentials is not None
    assert offline.credentials.username == "admin"
    return offline.credentials.password


@pytest.mark.parametrize(
    "password",
    [
        *"'\"\\#:{}[]&*!|>%@`,?-~ ",
        "a'b''c\"d\\e\\n",
        "a #b: c - d",
        "{a: b}",
        "%YAML",
        "---",
        "a{{b}}c",
        "x{{ .y }}",
        " leading and trailing ",
        "ü\u00a0€",
        "auth: |",
        "",
    ],
)
def test_a_password_is_what_was_filled_in(password: str) -> None:
    assert password_of(rendered(password)) == password


# What the manual says a password must not have: line breaks and control characters.
# And a byte order mark, which is no character of a file for PyYAML.
PRINTABLE = st.characters(
    blacklist_categories=("Cc", "Cs", "Zl", "Zp", "Cn", "Co"), blacklist_characters="\ufeff"
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text(PRINTABLE, max_size=20) | st.text("{}. $'\"\\#:ab", max_size=12))
def test_a_password_of_printable_characters_is_what_was_filled_in(password: str) -> None:
    assert password_of(rendered(password)) == password


@pytest.mark.parametrize("password", ["a\nb", "a\tb", "a\rb", "a\x07b"])
def test_a_password_with_a_control_character_is_refused_and_not_cut(password: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(rendered(password), "f")
    assert password not in str(caught.value)
