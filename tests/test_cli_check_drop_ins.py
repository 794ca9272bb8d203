"""What `check` says of drop-ins and of systemd's credentials."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from image_cri_shim.cli.configuration import read_configuration
from image_cri_shim.cli.main import main
from image_cri_shim.config import Config
from image_cri_shim.errors import ConfigError

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Check:
    """Return a function that checks a file with drop-ins: status, standard output and error."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "c.d").mkdir()

    def run(*texts: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        names = ["c.yaml", *(f"c.d/{index}.yaml" for index in range(1, len(texts)))]
        for name, text in zip(names, texts, strict=True):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o600)
        with pytest.raises(SystemExit) as ended:
            main(["check", *options, str(tmp_path / "c.yaml")])
        told = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, *(one.replace(f"{tmp_path}/", "") for one in told)

    return run


def test_all_files_that_were_read_are_named(check: Check) -> None:
    assert check("address: ''", "debug: true", "registries: [{address: a.corp}]") == (
        0,
        "c.yaml: ok, 1 registry, 0 rules\n"
        "  read: c.yaml, c.d/1.yaml, c.d/2.yaml\n"
        "  1  a.corp  priority 500\n",
        "",
    )


def test_a_problem_is_told_with_the_file_that_it_is_in(check: Check, tmp_path: Path) -> None:
    status, out, err = check("debug: true", "\nforce: maybe")
    assert (status, out) == (1, "")
    assert err.startswith("c.d/1.yaml:2:8: force: expected true or false")
    told = json.loads(check("debug: true", "\nforce: maybe", options=("--json",))[1])
    assert (told["file"], told["files"]) == ("c.yaml", ["c.yaml", "c.d/1.yaml"])
    (problem,) = told["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("c.d/1.yaml", 2, 8)


def test_a_registry_of_several_files_is_called_by_its_name(check: Check) -> None:
    status, _, err = check("debug: true", "registries: [{address: a.corp, caFile: /none/ca}]")
    assert (status, err) == (
        1,
        "c.yaml: registries[a.corp].caFile: cannot use /none/ca: no such file\n",
    )


def test_a_password_that_everybody_can_read_is_warned_of(check: Check, tmp_path: Path) -> None:
    texts = ("address: https://a.corp", "auth: a:geheim")
    assert check(*texts)[2] == ""
    (tmp_path / "c.d" / "z.yaml").write_text("auth: a:geheim")
    (tmp_path / "c.d" / "z.yaml").chmod(0o644)
    assert check(*texts)[2] == (
        "c.yaml: warning: c.d/z.yaml holds a password and everybody can read it: "
        "chmod 600 c.d/z.yaml\n"
    )


def test_drop_ins_beside_a_default_file_that_is_absent_are_read(tmp_path: Path) -> None:
    default = tmp_path / "c.yaml"
    (tmp_path / "c.d").mkdir()
    assert "the defaults apply" in read_configuration(None, default=str(default)).note
    (tmp_path / "c.d" / "a.yaml").write_text("debug: true")
    source = read_configuration(None, default=str(default))
    assert (source.config, source.note) == (Config(debug=True), "")
    assert source.files == (str(tmp_path / "c.d" / "a.yaml"),)
    (tmp_path / "c.d" / "a.yaml").unlink()
    (tmp_path / "c.d").rmdir()
    (tmp_path / "c.d").touch()
    with pytest.raises(ConfigError, match="Not a directory"):
        read_configuration(None, default=str(default))


NAMED = "address: https://a.corp\noffline: {authCredential: hub}"


def test_a_credential_that_cannot_be_seen_here_is_said_to_be_so(check: Check) -> None:
    status, _, err = check(NAMED)
    assert (status, err) == (
        0,
        "c.yaml: warning: registry a.corp: whether the credential hub can be used shows only in "
        "the service, to which systemd hands it\n",
    )


@pytest.mark.parametrize("text", [NAMED, "address: https://a.corp"])
def test_a_credential_is_looked_at_where_it_is(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    name = "hub" if text is NAMED else "image-cri-shim.auth"
    # The one that nobody has named need not be there.
    missing = f"c.yaml: offline.authCredential: cannot use {name}: no such file\n"
    assert check(text)[2] == (missing if text is NAMED else "")
    (tmp_path / name).write_text("geheim")
    assert check(text)[::2] == (
        1,
        f"c.yaml: offline.authCredential: cannot use {name}: "
        "expected user:password, but there is no colon in it\n",
    )
    (tmp_path / name).write_text("admin:")
    assert check(text)[2] == (
        f"c.yaml: warning: registry a.corp: {name} has a user name for it, but no password\n"
    )
    (tmp_path / name).write_text("admin:geheim\n")
    assert check(text)[::2] == (0, "")


def test_an_owner_that_nobody_knows_here_is_warned_of(check: Check) -> None:
    text = "address: ''\nshimOwner: {}\nshimGroup: {}"
    assert check(text.format("root", "root"))[::2] == (0, "")
    assert check(text.format("4294967294", "77777"))[::2] == (0, "")
    assert check(text.format("no-such-user", "no-such-group"))[::2] == (
        0,
        "c.yaml: warning: shimOwner: there is no user no-such-user on this machine; "
        "create it, or correct shimOwner\n"
        "c.yaml: warning: shimGroup: there is no group no-such-group on this machine; "
        "create it, or correct shimGroup\n",
    )
