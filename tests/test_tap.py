"""``twistd image-cri-shim``: its options, and the clear ends of a start that cannot be."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from image_cri_shim import __version__
from image_cri_shim.config import Config
from image_cri_shim.errors import ConfigError
from image_cri_shim.tap import Options, _check_runtime, reader

ROOT = Path(__file__).parent.parent
NOBODY = 65534
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


def twistd_command(*arguments: str | Path, before: tuple[str, ...] = ()) -> list[str]:
    # A process of its own, because a reactor is for life.
    start = [sys.executable, "-c", TWISTD, "--nodaemon", "--pidfile=", *before]
    return [*start, "image-cri-shim", *map(str, arguments)]


def twistd(
    *arguments: str | Path, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the daemon until it ends by itself."""
    return subprocess.run(
        twistd_command(*arguments, before=before),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def options(**given: object) -> Options:
    """Return options as they are after parsing, without the reactor that parsing installs."""
    made = Options()
    for name in given:
        assert name in made
    made.update(given)
    return made


def leave_stale(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A runtime's socket; that nobody serves it is no reason not to start."""
    return leave_stale(tmp_path / "runtime.sock")


@contextmanager
def without_privileges() -> Iterator[None]:
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


# Options

PARSE = """
import json, sys
from image_cri_shim.tap import Options
for line in json.loads(sys.argv[1]):
    options = Options()
    options.parseOptions(line)
    print(json.dumps([options[name] for name in ("config", "shim", "cri", "debug")]))
from twisted.internet import reactor
print(type(reactor).__name__)
"""


def test_options_are_read_and_the_reactor_is_installed() -> None:
    lines = [
        [],
        ["--config", "c.yaml", "--shim", "/s", "--cri", "/r", "--debug"],
        ["-c", "c.yaml"],
        ["--config=c.yaml", "--shim=/s"],
    ]
    ended = subprocess.run(
        [sys.executable, "-c", PARSE, json.dumps(lines)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    *parsed, reactor = ended.stdout.splitlines()
    assert [json.loads(line) for line in parsed] == [
        [None, None, None, 0],
        ["c.yaml", "/s", "/r", 1],
        ["c.yaml", None, None, 0],
        ["c.yaml", "/s", None, 0],
    ]
    assert reactor == "AsyncioSelectorReactor"


def test_the_version_is_that_of_the_shim() -> None:
    ended = twistd("--version")
    assert (ended.returncode, ended.stdout) == (0, f"image-cri-shim {__version__}\n")


def test_help_names_every_option() -> None:
    ended = twistd("--help")
    assert ended.returncode == 0
    for option in ("-c, --config=", "--shim=", "--cri=", "--debug", "--version", "--help"):
        assert option in ended.stdout
    assert "/etc/image-cri-shim.yaml" in ended.stdout


def test_another_reactor_is_refused_with_what_to_do() -> None:
    ended = twistd(before=("--reactor=epoll",))
    assert ended.returncode == 1
    assert ended.stderr == (
        "image-cri-shim needs the asyncio reactor, but EPollReactor is installed; "
        "leave out --reactor, or use --reactor=asyncio\n"
    )


# The configuration


def test_without_a_file_the_defaults_apply(tmp_path: Path) -> None:
    assert reader(options(), default=str(tmp_path / "absent.yaml"))() == Config()


def test_the_default_file_is_read_if_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "default.yaml"
    path.write_text("force: true\n")
    assert reader(options(), default=str(path))() == Config(force=True)


@pytest.mark.parametrize("text", ["", "# all of it\n", "---\n", "null"])
def test_a_file_that_is_empty_at_a_reload_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "image-cri-shim.yaml"
    file.write_text("debug: true")
    read = reader(options(config=str(file)))
    read()
    file.write_text(text)
    with pytest.raises(ConfigError, match="it is empty now"):
        read()


@pytest.mark.parametrize("text", ["address: http://sealos.hub:5000", "debug: false", "cache: {}"])
def test_a_file_that_says_what_the_defaults_say_is_taken_at_a_reload(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "image-cri-shim.yaml"
    file.write_text("debug: true")
    read = reader(options(config=str(file)))
    read()
    file.write_text(text)
    assert read() == Config()


def test_a_default_file_that_is_gone_at_a_reload_does_not_bring_the_defaults_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "default.yaml"
    read = reader(options(), default=str(path))
    assert read() == Config()
    path.write_text("force: true\n")
    assert read() == Config(force=True)
    path.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        read()
    path.write_text("debug: true\n")
    assert read() == Config(debug=True)


def test_a_default_file_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="no such file"):
        reader(options(), default=str(tmp_path / "default.yaml"))()


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "absent.yaml"
    with pytest.raises(ConfigError) as caught:
        reader(options(config=str(path)))()
    assert str(caught.value).startswith(f"{path}: there is no such file")


def test_a_relative_file_is_the_same_one_after_the_directory_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text("force: true\n")
    monkeypatch.chdir(tmp_path)
    read = reader(options(config="c.yaml"))
    monkeypatch.chdir("/")
    assert read() == Config(force=True)


def test_the_command_line_overrides_the_file_at_every_reload(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("shim: /run/a.sock\ncri: /run/b.sock\n")
    read = reader(options(config=str(path), shim="unix:///run/c.sock", cri="/run/d.sock", debug=1))
    expected = Config(shim="/run/c.sock", cri="/run/d.sock", debug=True)
    assert read() == expected
    path.write_text("shim: /run/e.sock\ndebug: false\n")
    assert read() == expected


def test_debug_in_the_file_holds_without_the_option(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("debug: true\n")
    assert reader(options(config=str(path), debug=0))().debug is True


def test_a_bad_configuration_ends_in_78_with_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("force: 1\ntimeout: soon\nauth: s3cret\n")
    ended = twistd("--config", path)
    assert ended.returncode == 78
    first, *problems = ended.stderr.splitlines()
    assert first == "image-cri-shim: the configuration is refused:"
    assert [line.split(": ")[:2] for line in problems] == [
        [f"{path}:1:8", "force"],
        [f"{path}:2:10", "timeout"],
        [f"{path}:3:7", "auth"],
    ]
    assert "s3cret" not in ended.stdout + ended.stderr


def test_a_missing_configuration_ends_in_78(tmp_path: Path) -> None:
    ended = twistd("-c", tmp_path / "absent.yaml")
    assert ended.returncode == 78
    assert f"{tmp_path}/absent.yaml: there is no such file" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_bad_option_ends_in_78(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.touch()
    ended = twistd("-c", path, "--shim", "relative.sock")
    assert ended.returncode == 78
    assert "\n--shim: expected " in ended.stderr


# The runtime


def test_a_runtime_that_is_absent_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"cri: {tmp_path}/runtime.sock\nshim: {tmp_path}/shim.sock\n")
    ended = twistd("-c", path)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"image-cri-shim: the runtime's socket {tmp_path}/runtime.sock does not exist; "
        "start the runtime, correct `cri`, or set `force: true` to wait for it\n"
    )
    assert not (tmp_path / "shim.sock").exists()


def test_a_runtime_may_be_absent_by_force(tmp_path: Path, runtime: Path) -> None:
    _check_runtime(Config(cri=f"{tmp_path}/absent.sock", force=True))
    _check_runtime(Config(cri=str(runtime)))


def test_a_runtime_that_may_not_be_reached_is_no_crash() -> None:
    with tempfile.TemporaryDirectory() as directory:
        runtime = leave_stale(Path(directory) / "runtime.sock")
        os.chmod(directory, 0)
        try:
            with without_privileges(), pytest.raises(SystemExit) as caught:
                _check_runtime(Config(cri=str(runtime)))
        finally:
            os.chmod(directory, 0o700)
    assert "does not exist" in str(caught.value)


# The socket


def test_a_live_socket_is_not_stolen(tmp_path: Path, runtime: Path) -> None:
    path = tmp_path / "c.yaml"
    path.touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "shim.sock"))
        server.listen()
        ended = twistd("-c", path, "--shim", tmp_path / "shim.sock", "--cri", runtime)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "shim.sock"))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"image-cri-shim: cannot serve {tmp_path}/shim.sock: another program serves it already; "
        "stop that first, or set `shim` to another path\n"
    )


def test_a_daemon_serves_from_its_start_to_its_end(tmp_path: Path, runtime: Path) -> None:
    path, shim = tmp_path / "c.yaml", tmp_path / "run" / "shim.sock"
    path.write_text("address: http://127.0.0.1:1\nauth: admin:s3cret-passw0rd\n")
    lines: list[str] = []
    with subprocess.Popen(
        twistd_command("-c", path, "--shim", shim, "--cri", runtime, "--debug"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as daemon:
        assert daemon.stdout is not None
        for line in daemon.stdout:
            lines.append(line)
            if "serving on" in line:
                break
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(shim))
        daemon.send_signal(signal.SIGTERM)
        lines += daemon.stdout
        status = daemon.wait()
    log = "".join(lines)
    assert status == 0, log
    assert f"serving on {shim}" in log
    assert f"cri-socket: {runtime}" in log
    assert "Username: admin" in log
    assert "Password: set" in log
    assert "s3cret-passw0rd" not in log
    assert "Traceback" not in log
    assert list(shim.parent.iterdir()) == []
