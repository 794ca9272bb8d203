"""Files that a template's renderer has not seen, and passwords that only look like it."""

from __future__ import annotations

import pytest

from image_cri_shim.config import Config, parse
from image_cri_shim.config.template import find_placeholders
from image_cri_shim.errors import ConfigError

TEMPLATE = (
    "this file is a template that nobody has filled in (put the value in its place, or render the "
    "template)"
)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return str(caught.value).split("\n")


@pytest.mark.parametrize(
    ("text", "place", "shown"),
    [
        ("force: 1\naddress: {{ .registryDomain }}\n", "2:10", "{{ .registryDomain }}"),
        ("address: http://{{ .registryDomain }}:5000", "1:17", "{{ .registryDomain }}"),
        ("shim: {{- $shim -}}", "1:7", "{{- $shim -}}"),
        ("shim: /a # {{ .a }}\ncri: /a#{{ .b }}", "2:9", "{{ .b }}"),
        ("image: it's # {{ .a }}\nshim: {{ .b }}", "2:7", "{{ .b }}"),
        ("auth: a:b\nshim: {{ .b }}", "2:7", "{{ .b }}"),
        ("auth: a:b\n{{ .b }}\n", "2:1", "{{ .b }}"),
        ("auth:\n  'a:b'\nshim:\n  {{ .b }}", "4:3", "{{ .b }}"),
        # In quotes it may be anything.
        ("shim: '{{ .a }}'", "1:8", "{{ ... }}"),
        ("image: '/a # {{ .b }}'", "1:14", "{{ ... }}"),
        ('image: "/a\\" # {{ .b }}"', "1:16", "{{ ... }}"),
        # It may be a password.
        ("auth: {{ .auth }}", "1:7", "{{ ... }}"),
        ("auth:\n  {{ .auth }}", "2:3", "{{ ... }}"),
        ("auth:\n\n  # b\n  {{ .auth }}", "4:3", "{{ ... }}"),
        ("auth: admin:{{secret}}", "1:13", "{{ ... }}"),
        ("auth: admin:{{ .secret }}", "1:13", "{{ ... }}"),
        ("auth: a: {{ .secret }}", "1:10", "{{ ... }}"),
        ("{auth: a, b: {{ .secret }}}", "1:14", "{{ ... }}"),
        ("Auth: {{ .auth }}", "1:7", "{{ ... }}"),
        ("registries: [{address: a.corp, auth: {{ .auth }}}]", "1:38", "{{ ... }}"),
        # A value that is nothing else is a template's in quotes, too.
        ("auth: '{{ .auth }}'", "1:8", "{{ ... }}"),
        ('auth: " {{ .auth }} "', "1:9", "{{ ... }}"),
        ("auth: '{{.user}}:{{.password}}'", "1:8", "{{ ... }}"),
        ("'auth': '{{ .auth }}'", "1:10", "{{ ... }}"),
        # Not a bare name: there may be a password in it.
        ('shim: {{ .shim | default "/secret" }}', "1:7", "{{ ... }}"),
    ],
)
def test_a_template_that_nobody_filled_in_is_called_one(text: str, place: str, shown: str) -> None:
    assert problems(text) == [f"f:{place}: found the placeholder {shown}: {TEMPLATE}"]


def test_all_lines_with_placeholders_are_told_at_once() -> None:
    text = """\
address: {{ .a }}:{{ .b }}
# {{ .c }}
auth: {{ .d }}
{{- if .e }}
offline: {{ .f }
force: {{}}
"""
    assert problems(text) == [
        f"f:1:10: found the placeholder {{{{ .a }}}}: {TEMPLATE}",
        f"f:3:7: found the placeholder {{{{ ... }}}}: {TEMPLATE}",
        f"f:4:1: found the placeholder {{{{ ... }}}}: {TEMPLATE}",
        f"f:6:8: found the placeholder {{{{ ... }}}}: {TEMPLATE}",
    ]


def test_of_a_line_the_first_placeholder_is_told() -> None:
    (found,) = problems("# {{ .a }}\n{{ .b }}: {{ .c }}")
    assert found.startswith("f:2:1: found the placeholder {{ .b }}: ")


@pytest.mark.parametrize("text", ["# {{ .a }}", "force: false # {{ .a }}", "cache: {\n} #{{.a}}"])
def test_a_placeholder_in_a_comment_is_none(text: str) -> None:
    assert parse(text, "f") == Config()


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("auth: 'u:a{{b}}c'", "a{{b}}c"),
        ("auth: 'u:{{.Hunter2}}'", "{{.Hunter2}}"),
        ("auth: 'u:a # {{.Hunter2}}'", "a # {{.Hunter2}}"),
        ("auth: 'u:it''s{{b}}'", "it's{{b}}"),
        ("auth: 'u: {{b}}'", " {{b}}"),
        ("auth: 'u:x: {{b}}'", "x: {{b}}"),
        ('auth: "u:\\"{{b}}"', '"{{b}}'),
        ("auth:\n  'u:{{b}}'", "{{b}}"),
        ("'auth': 'u:{{b}}{{c}}'", "{{b}}{{c}}"),
        ("{auth: 'u:{{b}}', shim: '/a'}", "{{b}}"),
    ],
)
def test_a_password_in_quotes_may_look_like_a_placeholder(text: str, password: str) -> None:
    offline = parse(text, "f").offline
    assert offline is not None
    assert offline.credentials is not None
    assert offline.credentials.password == password


def test_a_placeholder_behind_such_a_password_is_seen() -> None:
    (found,) = problems("{auth: 'u:a{{b}}', shim: {{ .c }}}")
    assert found.startswith("f:1:26: found the placeholder {{ ... }}: ")


@pytest.mark.parametrize(
    "piece", ["{{x}}", "auth: '{{x}}y' ", "{auth: 'y{{x}}'", "a" * 50 + "{{", "auth:{{", "'\"#{{x"]
)
def test_a_long_line_is_one_problem_at_most(piece: str) -> None:
    # And it does not take steps by the square of its length: that would be minutes.
    many = piece * (400_000 // len(piece))
    assert len(find_placeholders(many, "f")) == (piece == "{{x}}")
    assert len(find_placeholders(f"auth: '{many}'", "f")) <= 1


BLOCKS = [
    "auth: |-\n  admin:{}\ndebug: true",
    "auth: >-\n  admin:{}\n",
    "'auth': |2-\n  admin:{}\n\ndebug: true",
    "registries:\n- address: a.corp\n  auth: |-\n    admin:{}\n  priority: 7\n",
    "registries:\n- auth: |\n   admin:{}\n  address: a.corp\n",
]


@pytest.mark.parametrize("text", BLOCKS)
def test_a_password_in_a_block_of_text_may_have_braces(text: str) -> None:
    assert find_placeholders(text.format("a{{ .b }}c"), "f") == []


@pytest.mark.parametrize("text", BLOCKS)
def test_placeholders_alone_in_a_block_of_text_are_found(text: str) -> None:
    text = text.replace("admin:{}", "{{{{ .user }}}}:{{{{ .password }}}}").format()
    (problem,) = find_placeholders(text, "f")
    assert text.split("\n")[problem.line - 1].strip().startswith("{{")
    assert ".user" not in problem.message


@pytest.mark.parametrize("text", BLOCKS)
def test_what_comes_after_a_block_of_text_is_no_part_of_it(text: str) -> None:
    text = text.format("secret") + "\nimage: {{ .image }}"
    (problem,) = find_placeholders(text, "f")
    assert problem.line == text.count("\n") + 1


def test_a_key_beside_a_block_of_text_is_no_part_of_it() -> None:
    text = "registries:\n- auth: |-\n    a:b\n  caFile: /{{ .ca }}/x\n"
    (problem,) = find_placeholders(text, "f")
    assert problem.line == 4
