"""``image-cri-shim cleanup-sockets`` as the kubelet's unit runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from image_cri_shim.cli.cleanup_sockets import default_sockets
from image_cri_shim.cli.main import main
from tests.support.commands import subcommands
from tests.test_cli_main import HEAVY, refused
from tests.unix_socket.sockets import ROOT, accepts, child, leave_stale, names, serve


def cleanup(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> tuple[int, list[str]]:
    with pytest.raises(SystemExit) as ended:
        main(["cleanup-sockets", *map(str, arguments)])
    told = capsys.readouterr()
    assert told.err == ""
    assert isinstance(ended.value.code, int)
    return ended.value.code, told.out.splitlines()


def test_there_is_a_line_for_each_socket(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    leave_stale(tmp_path / "dead")
    with ExitStack() as stack:
        serve(tmp_path / "live", stack)
        assert cleanup(capsys, *(tmp_path / name for name in ("dead", "live", "none"))) == (
            0,
            [
                f"{tmp_path}/dead: stale, removed",
                f"{tmp_path}/live: live, left alone",
                f"{tmp_path}/none: absent",
            ],
        )
        assert accepts(tmp_path / "live")
    assert names(tmp_path) == ["live"]


def test_without_arguments_it_is_the_runtimes_places_and_the_shims() -> None:
    assert default_sockets() == (
        "/run/containerd/containerd.sock",
        "/var/run/crio/crio.sock",
        "/var/run/cri-dockerd.sock",
        "/var/run/dockershim.sock",
        "/var/run/image-cri-shim.sock",
    )


def test_without_arguments_all_places_are_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    # What may be examined there depends on who asks, and so does the status.
    _, told = cleanup(capsys, "--dry-run")
    assert [line.partition(":")[0].partition(" ->")[0] for line in told] == list(default_sockets())


@pytest.mark.parametrize("option", ["-n", "--dry-run"])
def test_a_dry_run_removes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str
) -> None:
    leave_stale(tmp_path / "s")
    for arguments in ([option, tmp_path / "s"], [tmp_path / "s", option]):
        assert cleanup(capsys, *arguments) == (0, [f"{tmp_path}/s: stale, would be removed"])
    assert names(tmp_path) == ["s"]


def test_a_socket_may_be_written_as_the_kubelet_writes_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    leave_stale(tmp_path / "s")
    assert cleanup(capsys, f"unix://{tmp_path}/s") == (0, [f"{tmp_path}/s: stale, removed"])


READ_ONLY = """
import socket, subprocess, sys
from image_cri_shim.cli.main import main

directory = sys.argv[1]
with socket.socket(socket.AF_UNIX) as dead:
    dead.bind(directory + "/s")
subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
main(["cleanup-sockets", directory + "/s"])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_what_cannot_be_removed_is_1(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "none", str(tmp_path)]
    if subprocess.run(["unshare", "--mount", *mount], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    ended = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c", f'{" ".join(mount)} && exec "$@"', "sh"),
            *(sys.executable, "-c", READ_ONLY, str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stderr == ""
    assert ended.stdout == f"{tmp_path}/s: stale, cannot be removed: read-only file system\n"
    assert ended.returncode == 1


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("", "expected the path of a socket, found nothing"),
        ("unix://", "expected the path of a socket, found nothing"),
        ("tcp://127.0.0.1:2375", "expected the path of a unix socket, found 'tcp://"),
        ("/run/containerd/", "found a directory: '/run/containerd/'"),
        ("--force", "unrecognized arguments: --force"),
    ],
)
def test_what_names_no_socket_is_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argument: str, reason: str
) -> None:
    leave_stale(tmp_path / "s")
    # Nothing is done by half.
    assert reason in refused(capsys, "cleanup-sockets", str(tmp_path / "s"), argument)
    assert names(tmp_path) == ["s"]


@pytest.mark.parametrize("option", ["--config", "--shim", "--cri"])
def test_the_daemons_options_are_not_silently_ignored(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    told = refused(capsys, option, "/x", "cleanup-sockets")
    assert f"{option} is an option of the daemon; " in told


# Tells what is opened or listed by a command.
WATCHED = """
import json, sys
from image_cri_shim.cli.main import main

opened = []

def watch(event, arguments):
    if event in ("open", "os.listdir", "os.scandir"):
        opened.append(str(arguments[0]))

sys.addaudithook(watch)
try:
    main(sys.argv[1:])
except SystemExit:
    print("\\n" + json.dumps(opened))
"""


def opened(*arguments: Path | str) -> list[str]:
    """Return the files and directories that a command looks into."""
    found: list[str] = json.loads(child(WATCHED, *arguments).splitlines()[-1])
    return found


def test_no_configuration_is_read(tmp_path: Path) -> None:
    seen = opened("cleanup-sockets", tmp_path / "s")
    assert not [path for path in seen if path.startswith("/etc/image-cri-shim")]
    # What is read is seen here.
    file = tmp_path / "a.yaml"
    file.write_text("debug: true\n")
    assert str(file) in opened("check", file)


def test_it_is_quick_to_begin(tmp_path: Path) -> None:
    script = f"""
import json, sys
from image_cri_shim.cli.main import main
try:
    main(["cleanup-sockets", {str(tmp_path / "s")!r}])
except SystemExit:
    pass
print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert json.loads(ended.stdout.splitlines()[-1]) == []


def test_help_has_the_places() -> None:
    text = " ".join(subcommands()["cleanup-sockets"].format_help().split())
    assert all(place in text for place in default_sockets())
