"""The directory of drop-ins: which files are read, and what is wrong with which."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from image_cri_shim.config import (
    NOTHING_SAID,
    Config,
    drop_in_directory,
    exposure,
    files,
    load,
)
from image_cri_shim.config.content import read_content
from image_cri_shim.config.drop_ins import FILES_LIMIT
from image_cri_shim.errors import ConfigError


class Files:
    """A configuration file and its drop-ins."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "shim.yaml"
        self.beside = directory / "shim.d"
        self.beside.mkdir()

    def write(self, itself: str | None, **drop_ins: str) -> None:
        """Write the file, unless it is None, and drop-ins by their names without the ending."""
        if itself is not None:
            self.path.write_text(itself)
        for name, text in drop_ins.items():
            (self.beside / f"{name}.yaml").write_text(text)

    def load(self) -> Config:
        return load(self.path)

    def problems(self) -> list[str]:
        """Return what is wrong, with names relative to the directory."""
        with pytest.raises(ConfigError) as caught:
            load(self.path)
        assert caught.value.__context__ is None
        return [str(one).replace(f"{self.path.parent}/", "") for one in caught.value.problems]


@pytest.fixture
def written(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("path", "directory"),
    [
        ("/etc/image-cri-shim.yaml", "/etc/image-cri-shim.d"),
        ("/etc/a.yml", "/etc/a.d"),
        ("a.yaml", "a.d"),
        ("/etc/a.conf", "/etc/a.conf.d"),
        ("/etc/a", "/etc/a.d"),
        ("/etc/a.yaml.yaml", "/etc/a.yaml.d"),
        ("/etc/.yaml", "/etc/.yaml.d"),
    ],
)
def test_the_directory_is_called_as_the_file(path: str, directory: str) -> None:
    assert drop_in_directory(path) == directory
    assert drop_in_directory(Path(path)) == directory


def test_files_are_read_in_the_order_of_the_bytes_of_their_names(written: Files) -> None:
    written.write("debug: true", **dict.fromkeys(("b", "a", "10-z", "9-a", "Z", "é"), ""))
    names = ["10-z.yaml", "9-a.yaml", "Z.yaml", "a.yaml", "b.yaml", "é.yaml"]
    expected = (str(written.path), *(str(written.beside / name) for name in names))
    assert files(written.path) == files(str(written.path)) == expected


def test_what_is_hidden_or_a_copy_or_something_else_is_not_read(written: Files) -> None:
    for name in (".a.yaml", "a.yaml~", "a.yml", "README", "a.yaml.dpkg-old", "..data", ".yaml"):
        (written.beside / name).write_text("no: such key")
    written.write("debug: true")
    assert written.load() == Config(debug=True)
    assert files(written.path) == (str(written.path),)


def test_a_drop_in_is_read_after_the_file(written: Files) -> None:
    written.write("debug: true\ntimeout: 1m", a="timeout: 2m\nforce: true", b="timeout: 3m")
    assert written.load() == Config(debug=True, force=True, timeout=180.0)


def test_drop_ins_alone_will_do_unless_the_file_is_required(written: Files) -> None:
    written.write(None, a="debug: true")
    assert written.load() == Config(debug=True)
    assert files(written.path) == (str(written.beside / "a.yaml"),)
    with pytest.raises(ConfigError, match=r"shim\.yaml: there is no such file"):
        load(written.path, required=True)


def test_without_file_and_drop_ins_there_is_nothing_to_read(written: Files) -> None:
    expected = ["shim.yaml: there is no such file: write it, or name another one"]
    assert written.problems() == expected
    written.beside.rmdir()
    assert written.problems() == expected
    assert files(written.path) == ()


def test_nothing_is_said_only_if_no_file_says_anything(written: Files) -> None:
    written.write("# nothing", a="", b="---\n")
    assert written.load() is NOTHING_SAID
    written.write("", b="timeout: 15m")
    assert written.load() == Config()
    assert written.load() is not NOTHING_SAID


def test_everything_that_is_wrong_is_told_with_its_file_and_line(written: Files) -> None:
    written.write(
        "debug: maybe",
        a="# fine\nforce: true\nforce: false",
        b="shim: [",
        c="\naddress: {{ .registryDomain }}",
        d="timeout: 0",
    )
    problems = written.problems()
    assert [one.split(": ")[0] for one in problems] == [
        "shim.yaml:1:8",
        "shim.d/a.yaml:3:1",
        "shim.d/b.yaml:1:8",
        "shim.d/c.yaml:2:10",
        "shim.d/d.yaml:1:10",
    ]
    assert problems[1] == "shim.d/a.yaml:3:1: force: given twice; the first is on line 2"
    assert "{{ .registryDomain }}: this file is a template" in problems[3]


def test_one_bad_drop_in_refuses_everything(written: Files) -> None:
    written.write("debug: true", a="force: true", b="\xff: x")
    (written.beside / "b.yaml").write_bytes(b"force: \xff")
    assert written.problems() == ["shim.d/b.yaml:1:8: found a byte that is not UTF-8"]


def test_what_cannot_be_read_together_is_not_judged_together(written: Files) -> None:
    # The registry that the rule names may be in the file that is broken.
    written.write("rules: [{match: a.io, registries: [b.corp]}]", a="registries: [")
    assert len(written.problems()) == 1


def test_a_link_that_leads_nowhere_is_named(written: Files) -> None:
    written.write("debug: true")
    (written.beside / "a.yaml").symlink_to("gone")
    assert written.problems() == [
        "shim.d/a.yaml: this is a symbolic link to a file that does not exist: mend it or remove it"
    ]


def test_a_drop_in_that_goes_while_others_are_read_is_gone(written: Files) -> None:
    assert read_content(str(written.beside / "a.yaml"), drop_in=True) is None
    with pytest.raises(ConfigError, match="there is no such file"):
        read_content(str(written.path))


def test_links_are_followed(written: Files, tmp_path: Path) -> None:
    # As a ConfigMap is mounted.
    data = written.beside / "..2026"
    data.mkdir()
    (data / "a.yaml").write_text("debug: true")
    (written.beside / "..data").symlink_to("..2026")
    (written.beside / "a.yaml").symlink_to("..data/a.yaml")
    assert written.load() == Config(debug=True)
    written.beside.rename(tmp_path / "elsewhere")
    written.beside.symlink_to("elsewhere")
    assert written.load() == Config(debug=True)


def test_what_is_no_file_is_named_and_not_waited_for(written: Files) -> None:
    written.write("debug: true")
    os.mkfifo(written.beside / "a.yaml")
    (written.beside / "b.yaml").mkdir()
    assert written.problems() == [
        "shim.d/a.yaml: this is no regular file: take it out of the directory",
        "shim.d/b.yaml: this is a directory: move it elsewhere",
    ]


def test_a_directory_that_cannot_be_read_is_named(written: Files, tmp_path: Path) -> None:
    written.write("debug: true")
    written.beside.rmdir()
    assert written.load() == Config(debug=True)
    written.beside.touch()
    assert written.problems() == ["shim.d: it cannot be read: Not a directory"]
    written.beside.unlink()
    written.beside.symlink_to("gone")
    assert written.problems() == [
        "shim.d: it cannot be read: a symbolic link to a directory that does not exist"
    ]
    # What only wants to know where to look is not stopped by that.
    assert files(written.path) == (str(written.path),)
    written.path.unlink()
    assert len(written.problems()) == 2


def test_a_forbidden_directory_is_named_with_who_must_be_allowed() -> None:
    user = os.geteuid()
    # Not pytest's directory, which only its owner may enter.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        written = Files(Path(name))
        written.write("debug: true")
        written.path.chmod(0o644)
        written.beside.chmod(0)
        if user == 0:
            # Nothing is forbidden to root.
            os.seteuid(65534)
        try:
            problems = written.problems()
        finally:
            os.seteuid(user)
    who = user or 65534
    expected = f"no permission: let user ID {who} read it, or be another"
    assert problems == [f"shim.d: it cannot be read: {expected}"]


def test_more_files_than_anybody_can_oversee_are_refused(written: Files) -> None:
    written.write("debug: true", **{f"f{number}": "" for number in range(FILES_LIMIT)})
    assert written.load() == Config(debug=True)
    written.write(None, another="")
    assert written.problems() == [
        f"shim.d: expected at most {FILES_LIMIT} files (*.yaml), found more"
    ]


def test_all_together_have_no_more_than_one_file_may_have(written: Files) -> None:
    half = "#" * (1 << 19)
    written.write(half, a=half)
    assert written.load() is NOTHING_SAID
    written.write(None, b="\n")
    assert written.problems() == [
        "shim.d/b.yaml: with the files before it, it is larger than 1024 KiB"
    ]
    written.write(None, a=half * 3)
    assert "shim.d/a.yaml: it is larger than 1024 KiB: this cannot be the configuration" in (
        written.problems()
    )


def test_the_file_that_everybody_can_read_is_warned_of_and_no_other(written: Files) -> None:
    written.write(
        "debug: true",
        a="auth: a:geheim",
        b="registries: [{address: b.corp, auth: 'b:geheim'}]",
        c="registries: [{address: c.corp, auth: ''}]",
    )
    paths = [Path(one) for one in files(written.path)]
    for path in paths:
        path.chmod(0o644)
    told = exposure(str(written.path), written.load())
    assert told.split("; ") == [
        f"{path} holds a password and everybody can read it: chmod 600 {path}"
        for path in paths[1:3]
    ]
    paths[1].chmod(0o600)
    assert "a.yaml" not in exposure(str(written.path), written.load())
    paths[2].chmod(0o600)
    assert exposure(str(written.path), written.load()) == ""
