"""Who may connect, how long a stop may take, and where systemd's credentials are named."""

from __future__ import annotations

import pytest

from image_cri_shim.config import Config, parse, warnings
from image_cri_shim.errors import ConfigError

MODE = "expected three or four octal digits such as 0660,"
USER = "expected the name or number of a user,"
GROUP = "expected the name or number of a group,"
CREDENTIAL = "expected the name of a systemd credential,"


@pytest.mark.parametrize("text", ["0660", "660", "'0660'", '"660"'])
def test_the_digits_of_a_mode_count_whatever_yaml_takes_them_for(text: str) -> None:
    assert parse(f"shimMode: {text}", "f").shim_mode == 0o660


@pytest.mark.parametrize(("text", "mode"), [("0600", 0o600), ("777", 0o777), ("''", None)])
def test_a_mode_lets_the_owner_read_and_write(text: str, mode: int | None) -> None:
    assert parse(f"shimMode: {text}", "f").shim_mode == mode


@pytest.mark.parametrize(
    ("text", "owner"),
    [("root", "root"), ("0", "0"), ("007", "7"), ("'1000'", "1000"), ("''", None)],
)
def test_an_account_has_a_name_or_a_number(text: str, owner: str | None) -> None:
    config = parse(f"shimOwner: {text}\nshimGroup: {text}", "f")
    assert config.shim_owner == config.shim_group == owner


@pytest.mark.parametrize("name", ["systemd-network", "_apt", "svc.shim$", "CORP\\joe", "a@corp"])
def test_names_of_all_kinds_of_systems_are_names(name: str) -> None:
    assert parse(f"shimGroup: '{name}'", "f").shim_group == name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("shimMode: 0o660", f"1:11: shimMode: {MODE} found 0o660"),
        ("shimMode: 0x1b0", f"1:11: shimMode: {MODE} found 0x1b0"),
        ("shimMode: 66", f"1:11: shimMode: {MODE} found 66"),
        ("shimMode: '00660'", f'1:11: shimMode: {MODE} found the text "00660"'),
        ("shimMode: 0680", f"1:11: shimMode: {MODE} found 0680"),
        ("shimMode: rw-rw----", f"1:11: shimMode: {MODE} found rw-rw----"),
        ("shimMode: true", f"1:11: shimMode: {MODE} found true"),
        (
            "shimMode: 1660",
            f"1:11: shimMode: {MODE} found 1660: the first of four digits is 0 for a socket",
        ),
        (
            "shimMode: 0440",
            f"1:11: shimMode: {MODE} found 0440, which keeps the owner from reading or writing",
        ),
        ("shimOwner: -1", f"1:12: shimOwner: {USER} found -1"),
        ("shimOwner: root:kube", f"1:12: shimOwner: {USER} found root:kube"),
        ("shimOwner: a b", f"1:12: shimOwner: {USER} found a b"),
        (
            "shimGroup: 4294967295",
            f"1:12: shimGroup: {GROUP} found 4294967295, more than 4294967294",
        ),
        ("shutdownGrace: -1s", None),
        (
            "offline: {authCredential: 'admin:geheim'}",
            (
                f"1:27: offline.authCredential: {CREDENTIAL} found a colon in it: "
                "write user:password into that credential"
            ),
        ),
        (
            "offline: {authCredential: /run/geheim}",
            (
                f"1:27: offline.authCredential: {CREDENTIAL} found a slash in it: "
                "write the credential's name alone, not its path"
            ),
        ),
        (
            "offline: {authCredential: ..}",
            (
                f"1:27: offline.authCredential: {CREDENTIAL} "
                "found something that is no file's name in ASCII"
            ),
        ),
        (
            "offline: {authFile: /a, authCredential: b}",
            (
                "1:41: offline.authCredential: expected `authFile` or `authCredential`, found both "
                "(`authFile` on line 1): leave one out"
            ),
        ),
        (
            "auth: a:b\noffline: {authCredential: b}",
            (
                "2:27: offline.authCredential: expected `auth` or `authCredential`, found both "
                "(`auth` on line 1): leave one out"
            ),
        ),
    ],
)
def test_a_wrong_value_is_one_problem_at_its_place(text: str, problem: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    assert len(caught.value.problems) == 1
    assert "geheim" not in str(caught.value)
    if problem is not None:
        assert str(caught.value) == f"f:{problem}"


def test_calls_get_half_a_minute_to_end_or_what_is_said() -> None:
    assert Config().shutdown_grace == 30.0
    assert parse("shutdownGrace: 0", "f").shutdown_grace == 0.0
    assert parse("shutdownGrace: 2m", "f").shutdown_grace == 120.0


@pytest.mark.parametrize(("mode", "warned"), [("0666", 1), ("602", 1), ("0664", 0), ("0660", 0)])
def test_a_socket_that_everybody_may_connect_to_is_warned_of(mode: str, warned: int) -> None:
    found = warnings(parse(f"shim: /run/s.sock\nshimMode: {mode}", "f"))
    assert len(found) == warned
    for one in found:
        assert "everybody on this machine" in one
        assert "/run/s.sock" in one
        assert "as root" in one


def test_a_credential_of_systemds_is_one_to_be_careful_with() -> None:
    text = "registries: [{address: 'http://a.corp', authCredential: hub}]"
    (found,) = warnings(parse(text, "f"))
    assert "in clear text" in found
    # And it makes Docker Hub be of use.
    assert warnings(parse("registries: [{address: docker.io, authCredential: hub}]", "f")) == ()
