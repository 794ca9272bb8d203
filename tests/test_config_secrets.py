"""A password in the file is in nothing that is printed, however the file is broken."""

from __future__ import annotations

import traceback

import pytest

from image_cri_shim.config import describe, override, parse, warnings
from image_cri_shim.errors import ConfigError

SECRET = "hunter2"

BROKEN = [
    "auth: hunter2",
    "auth: :hunter2",
    "auth:hunter2",
    "auth:admin:hunter2",
    "shim: /a\nauth:admin:hunter2\n",
    "shim: /a\nauth=admin:hunter2\n",
    "{auth:admin:hunter2}",
    "{shim: /a, auth:admin:hunter2}",
    "auth: admin: hunter2",
    "auth:\n  admin: hunter2",
    "auth:\n  admin:hunter2: x",
    "auth: {admin: hunter2}",
    "auth: {admin:hunter2}",
    "auth: [admin, hunter2]",
    "auth: 'admin:hunter2",
    'auth: "admin:hunter2',
    'auth: "admin:\\hunter2"',
    "auth: 'admin:hunter2' x",
    "auth: 'x' hunter2",
    "auth: *hunter2",
    "auth: &hunter2",
    "auth: &hunter2 x",
    "auth: !hunter2",
    "auth: !hunter2 x:y",
    "auth: !hunter2!x y",
    "auth: !!hunter2 x:y",
    "auth: !<hunter2 x",
    "auth: @hunter2",
    "auth: `hunter2`",
    "auth: %hunter2",
    "auth: |hunter2",
    "auth: |\n  admin:hunter2\n",
    "auth: >2\n hunter2:\n",
    "auth:\tadmin:hunter2",
    "auth: admin:hunter2\n\tdebug: true",
    "auth: admin:hunter2\nauth: admin:hunter2",
    "auth: admin:hunter2\n  debug: true",
    'auth: "admin:hunter2\\0"',
    'auth: "admin:hunter2\\ud800"',
    "auth: admin:hunter2\x07",
    "Auth: admin:hunter2",
    "auht: admin:hunter2",
    "password: hunter2",
    "authFile: {a: hunter2}",
    "cache: {auth: 'admin:hunter2'}",
    "registries: {a.corp: 'admin:hunter2'}",
    "registries: ['admin:hunter2']",
    "registries: hunter2",
    "registries: [{address: a.corp, Auth: 'admin:hunter2'}]",
    "registries: [{address: a.corp, auth: hunter2}]",
    "registries: [{auth: 'admin:hunter2'}]",
    "registries: [{address: a.corp, auth: admin:pass,hunter2}]",
    "registries: [{address: a.corp, auth: admin:pass, hunter2}]",
    "{auth: admin:pass,hunter2, debug: true}",
    "registries: [{address: a.corp, authFile: hunter2}]",
    "registries: [{address: a.corp, authFile: 'admin:hunter2'}]",
    "registries: [{address: a.corp, auth: 'admin:hunter2', authFile: /a}]",
    "registries: [{address: a.corp, auth: 'admin:hunter2', keyFile: /a}]",
    "registries: [{address: a.corp, auth: 'admin:hunter2'}, {address: http://a.corp, prefix: x}]",
    "registries: [{address: a.corp/hunter2:x}]",
    "registries: [{address: a.corp, keyFile: '-----BEGIN PRIVATE KEY----- hunter2'}]",
    "offline: {authFile: hunter2}",
    "offline: {auth: 'admin:hunter2'}",
    "address: ''\nauth: admin:hunter2\noffline: {keepHost: true}",
    "auth: admin:hunter2\noffline: {authFile: /a}",
    "rules: [{match: a.io, registries: ['https://admin:hunter2@a.corp']}]",
    "rules: [{match: a.io, registries: ['admin:hunter2']}]",
    "rules: [{match: a.io, auth: 'admin:hunter2'}]",
    "rules: [{match: {auth: 'admin:hunter2'}}]",
    "rules: [{match: a.io, registries: *hunter2}]",
    "address: http://admin:hunter2@a.corp",
    "address: admin:hunter2@a.corp",
    "address: http://admin:hun/ter2@a.corp/hunter2",
    "address: http://a.corp?auth=hunter2",
    "address: http://a.corp admin:hunter2",
    "address: a.corp:hunter2",
    "address: admin:hunter2",
    "address: http://hunter2@",
    "address: 'http://a.corp\nauth: admin:hunter2",
    "cache: hunter2",
    "hunter2",
    "- hunter2",
    "--- hunter2",
    "{}\n--- hunter2",
    "%hunter2\n{}\nx",
    "%TAG !hunter2! x\n%TAG !hunter2! x\n---\n",
    '? "admin:hunter2"',
    '"admin:hunter2": x',
    "auth: admin:{{hunter2}}",
    "auth: admin:{{ .hunter2 }}",
    "auth: '{{ .hunter2 }}'",
    'auth: "{{.user}}:{{.hunter2}}"',
    "{shim: /a, auth: a:{{.hunter2}}}",
    "address: 'http://{{.hunter2}}'",
    "address: ''\nauth: admin:hunter2",
    "offline: {password: hunter2}",
    "offline: {username: x, password: 'hunter2'}",
    "address: http:/admin:hunter2",
    "address: //admin:hunter2",
    'auth: {{ .auth | default "hunter2" }}',
    "auth: admin:hunter2\nshim: {{ .a }}",
    "auth: admin:hunter2\nforce: 1",
]


@pytest.mark.parametrize("text", BROKEN)
def test_no_error_repeats_a_password(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    error = caught.value
    told = [str(error), repr(error), repr(error.problems), *traceback.format_exception(error)]
    # The arguments of this test's own frame are not part of what is told.
    assert SECRET not in "".join(told)
    assert error.__context__ is None
    assert error.__cause__ is None


def test_no_repr_and_no_description_has_a_password() -> None:
    config = parse(
        "auth: admin:hunter2\nregistries: [{address: http://a.corp, auth: 'robot:hunter2'}]\n", "f"
    )
    assert len(warnings(config)) == 2
    assert SECRET not in repr(warnings(config))
    assert config.offline is not None
    assert config.offline.credentials is not None
    assert config.offline.credentials.password == SECRET
    for told in (repr(config), str(config), repr(describe(config)), repr(config.registries)):
        assert SECRET not in told
        assert "robot" in told or "admin" in told or told == repr(config.registries)


def test_overriding_with_a_mistake_repeats_no_password() -> None:
    config = parse("auth: admin:hunter2", "f")
    with pytest.raises(ConfigError) as caught:
        override(config, shim="x")
    assert SECRET not in repr(caught.value) + str(caught.value)
