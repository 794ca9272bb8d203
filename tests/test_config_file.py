"""Files that cannot be read, and texts that are no YAML."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from image_cri_shim.config import Config, load, parse
from image_cri_shim.errors import ConfigError

ROOT = Path(__file__).parent.parent


def refusal(path: str | os.PathLike[str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    # A cause would hold a piece of the file, or all of it.
    assert caught.value.__context__ is None
    return str(caught.value)


def test_a_file_is_loaded_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "shim.yaml"
    path.write_bytes(b"\xef\xbb\xbfdebug: true\nimage: /\xc3\xa4\n")
    assert load(path) == load(str(path)) == Config(debug=True, image="/\u00e4")


def test_a_problem_names_the_loaded_file(tmp_path: Path) -> None:
    path = tmp_path / "shim.yaml"
    path.write_text("debug: true\nforce: 1\n")
    message = "force: expected true or false, found 1 (did you mean true?)"
    assert refusal(path) == f"{path}:2:8: {message}"


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "absent.yaml"
    expected = "there is no such file: write it, or name another one"
    assert refusal(path) == f"{path}: {expected}"


def test_a_directory_is_named_with_what_to_do(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: this is a directory: name the file in it"


NOT_REGULAR = "this is no regular file: name one that is"
LOAD = """
import os, sys
from image_cri_shim.config import load
from image_cri_shim.errors import ConfigError

before = os.listdir("/proc/self/fd")
try:
    print(load(sys.argv[1]))
except ConfigError as error:
    print(error)
assert os.listdir("/proc/self/fd") == before, "a descriptor stays open"
"""


def printed_by_loading(path: str) -> str:
    """Load in a child, which is ended if it waits for something."""
    ended = subprocess.run(
        [sys.executable, "-c", LOAD, path],
        cwd=ROOT,
        input="debug: true\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stderr == ""
    return ended.stdout.removesuffix("\n")


def test_a_fifo_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "shim.yaml"
    os.mkfifo(path)
    assert printed_by_loading(str(path)) == f"{path}: {NOT_REGULAR}"


def test_standard_input_is_no_file_to_load_again() -> None:
    assert printed_by_loading("/dev/stdin") == f"/dev/stdin: {NOT_REGULAR}"


def test_a_socket_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shim.yaml"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert refusal(path) == f"{path}: {NOT_REGULAR}"


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero"])
def test_a_device_is_refused(path: str) -> None:
    assert refusal(path) == f"{path}: {NOT_REGULAR}"


def test_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("debug: true\n")
    (tmp_path / "shim.yaml").symlink_to("file")
    assert load(tmp_path / "shim.yaml") == Config(debug=True)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, Path.touch])
def test_no_descriptor_stays_open_whatever_is_loaded(tmp_path: Path, make: object) -> None:
    path = tmp_path / "shim.yaml"
    make(path)  # type: ignore[operator]
    assert printed_by_loading(str(path))


def test_a_file_below_a_file_is_named_with_the_systems_reason(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert refusal(path / "shim.yaml") == f"{path}/shim.yaml: it cannot be read: Not a directory"


def test_a_forbidden_file_is_named_with_who_must_be_allowed(tmp_path: Path) -> None:
    path = tmp_path / "shim.yaml"
    path.touch(mode=0)
    user = os.geteuid()
    if user == 0:
        # Nothing is forbidden to root.
        os.seteuid(65534)
    try:
        message = refusal(path)
    finally:
        os.seteuid(user)
    who = user or 65534
    expected = f"no permission to read it: let user ID {who} read it, or be another"
    assert message == f"{path}: {expected}"


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_what_cannot_be_a_files_name_is_refused(name: str) -> None:
    assert refusal(name) == f"{name}: this cannot be the name of a file"


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"auth: admin:p\xe4ss\n", "1:14"),
        (b"# \xc3\xa4\nimage: /\xc3\xa4\xff\n", "2:10"),
        (b"\xef\xbb\xbfa: \xff", "1:4"),
        (b"\xff\xfea\0", "1:1"),
        (b"a: \xc3", "1:4"),
    ],
)
def test_bytes_that_are_not_utf_8_are_found(tmp_path: Path, data: bytes, place: str) -> None:
    path = tmp_path / "shim.yaml"
    path.write_bytes(data)
    assert refusal(path) == f"{path}:{place}: found a byte that is not UTF-8"


def test_a_file_of_more_than_a_mebibyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shim.yaml"
    path.write_bytes(b"#" * (1 << 20))
    assert load(path) == Config()
    path.write_bytes(b"#" * ((1 << 20) + 1))
    message = "it is larger than 1024 KiB: this cannot be the configuration"
    assert refusal(path) == f"{path}: {message}"
    with pytest.raises(ConfigError) as caught:
        parse("#" * ((1 << 20) + 1), "f")
    assert str(caught.value) == f"f: {message}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\tshim: /a", "1:1: found a tab: YAML is indented with spaces"),
        ("cache:\n\tforce: 1", "2:1: found a tab: YAML is indented with spaces"),
        ("shim: 'abc\n", "1:7: found a quote that is never closed"),
        (
            'shim: "/a\\q"',
            "1:11: found an unknown escape after \\: put the value in single quotes",
        ),
        (
            'shim: "\\xg0"',
            "1:10: found an incomplete escape after \\: put the value in single quotes",
        ),
        ('shim: "\\UFFFFFFFF"', "1:10: found something that is not YAML here"),
        (
            "auth: a: b",
            (
                "1:8: found a second colon in one line, or a line indented too far: put the value in "
                "single quotes if it has ': '"
            ),
        ),
        ("force: true\nshim=/a\n", "2:1: expected a key, a colon and a space, found no such"),
        (
            "force: true\n- a\n",
            "2:1: found wrong indentation, or something after a closing quote or bracket",
        ),
        ("shim: - a", "1:7: found a list's - where no list can begin"),
        (
            "auth: @a",
            "1:7: found a character with which no value can begin: put the value in single quotes",
        ),
        ("auth: * a", "1:7: found a value that begins with *: put the value in single quotes"),
        ("auth: &", "1:7: found a value that begins with &: put the value in single quotes"),
        ("auth: !a!b", "1:7: found a value that begins with !: put the value in single quotes"),
        ("auth: !<a", "1:7: found a value that begins with !: put the value in single quotes"),
        ("auth: |a", "1:7: found a value that begins with | or >: put the value in single quotes"),
        ("registries: [a, b", "1:13: found a list [ ] or a mapping { } that is not complete"),
        ("cache: {a: b", "1:8: found a list [ ] or a mapping { } that is not complete"),
        ("--- {}\n--- {}", "2:1: expected one document, found a second one (after a line ---)"),
        ("{}\nx", "2:1: found something after the end of the document"),
        ("%YAML 3.0\n--- {}", "1:1: expected YAML 1.1 or 1.2, found another version"),
        ("%YAML 1.1\n%YAML 1.1\n--- {}", "2:1: found a YAML directive (%) that is given twice"),
        ("%YAML x\n--- {}", "1:1: found a YAML directive (%) that is not understood"),
        (
            "shim: /a\n \x07",
            "2:2: found a control character: YAML allows none but tabs and line breaks",
        ),
        ("\ufeffa\0", "1:2: found a control character: YAML allows none but tabs and line breaks"),
        ("[" * 500_000, "1:17: expected at most 16 levels, found deeper nesting"),
        ("- " * 500_000, "1:33: expected at most 16 levels, found deeper nesting"),
        ("{a: " * 200_000, "1:62: expected at most 16 levels, found deeper nesting"),
        ("registries: [" + "a," * 200_000, "1:200008: expected at most 100000 values, found more"),
    ],
)
def test_what_is_no_yaml_is_one_problem_at_its_place(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    assert len(caught.value.problems) == 1
    assert str(caught.value) == f"f:{problem}"
    assert caught.value.__context__ is None
