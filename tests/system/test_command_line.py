"""What an operator types, and the exit status and the words that come back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from image_cri_shim import __version__
from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.daemon import CONSOLE, TWISTD, Daemon, environment, run_program
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon, accidents

NO_REGISTRY = 'address: ""'
EX_CONFIG = 78
BROKEN = "adress: http://sealos.hub:5000\ndebug: maybe\ntimeout: 15\nregistries:\n- auth: x"


@pytest.mark.parametrize("program", ["foreground", "background", "console"])
def test_a_bad_configuration_is_78_with_everything_that_is_wrong(
    make_daemon: StartDaemon, standin: StandinRuntime, tmp_path: Path, program: str
) -> None:
    shim = make_daemon(standin.socket, BROKEN)
    command = {
        "foreground": [*TWISTD, "-n", "--pidfile=", "image-cri-shim"],
        "background": [
            *TWISTD,
            f"--pidfile={tmp_path}/pid",
            f"--logfile={tmp_path}/log",
            "image-cri-shim",
        ],
        "console": CONSOLE,
    }[program]
    ended = run_program(command, "--config", str(shim.file), cwd=tmp_path)
    assert ended.returncode == EX_CONFIG
    first, *problems = ended.stderr.splitlines()
    assert first == "image-cri-shim: the configuration is refused:"
    places = [p.removeprefix(f"{shim.file}:").split(": ")[0] for p in problems]
    assert places == ["3:1", "4:8", "5:10", "7:3", "7:9"]
    for part in ("address", "debug", "timeout", "registries[0]"):
        assert any(part in problem for problem in problems), part
    assert accidents(ended.stderr) == []
    assert not os.path.lexists(shim.socket)
    assert not (tmp_path / "pid").exists()


def test_a_file_that_does_not_exist_is_78(tmp_path: Path) -> None:
    for program in ((*TWISTD, "-n", "--pidfile=", "image-cri-shim"), CONSOLE):
        ended = run_program(program, "-c", str(tmp_path / "absent.yaml"), cwd=tmp_path)
        assert ended.returncode == EX_CONFIG
        assert f"{tmp_path}/absent.yaml: there is no such file" in ended.stderr


def test_a_template_that_nobody_rendered_is_named_as_such(make_daemon: StartDaemon) -> None:
    ended = make_daemon("/run/x.sock", "address: {{ .registryDomain }}").run_once()
    assert ended.returncode == EX_CONFIG
    assert "template" in ended.stderr
    assert "{{ .registryDomain }}" in ended.stderr


@pytest.mark.parametrize("reactor", ["epoll", "select"])
def test_another_reactor_that_was_forced_is_refused(
    make_daemon: StartDaemon, standin: StandinRuntime, reactor: str
) -> None:
    shim = make_daemon(standin.socket, NO_REGISTRY)
    ended = run_program(
        TWISTD, "-n", f"--reactor={reactor}", "--pidfile=", "image-cri-shim", "-c", str(shim.file)
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "image-cri-shim needs the asyncio reactor" in line
    assert "--reactor" in line
    assert not os.path.lexists(shim.socket)


def test_the_asyncio_reactor_may_be_named(
    make_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    program = (*TWISTD, "-n", "--reactor=asyncio", "--pidfile=", "image-cri-shim")
    shim = make_daemon(standin.socket, NO_REGISTRY, program=program).start()
    assert "AsyncioSelectorReactor" in shim.text()


def test_help_and_version() -> None:
    for arguments in (("--version",), ("--help",)):
        ended = run_program(TWISTD, "image-cri-shim", *arguments)
        assert (ended.returncode, ended.stderr) == (0, "")
        expected = f"image-cri-shim {__version__}\n" if arguments == ("--version",) else "--config"
        assert expected in ended.stdout
    for option in ("--config", "-c", "--shim", "--cri", "--debug", "--version", "--help"):
        assert option in ended.stdout
    for option in ("-v", "--version"):
        ended = run_program(CONSOLE, option)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == f"image-cri-shim {__version__}\n"
    ended = run_program(CONSOLE, "--help")
    assert ended.returncode == 0
    for word in ("--config", "--file", "-f", "--shim", "--cri", "--debug", "--version", "pull"):
        assert word in ended.stdout
    ended = run_program(CONSOLE, "pull", "--help")
    assert ended.returncode == 0
    for word in ("IMAGE", "--socket", "--timeout", "--user", "--cri-version"):
        assert word in ended.stdout


def test_twistd_lists_it() -> None:
    ended = run_program(TWISTD, "--help")
    (line,) = [line for line in ended.stdout.splitlines() if line.split()[:1] == ["image-cri-shim"]]
    assert "Pull Kubernetes images" in line


@pytest.mark.parametrize(
    "option", [("--shim", "/x.sock"), ("--cri", "/x.sock"), ("-f", "/x.yaml"), ("--debug",)]
)
def test_an_option_of_the_daemon_is_not_silently_ignored_by_a_command(
    option: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = (*option, "pull", "--socket", str(tmp_path / "none.sock"), "nginx:1.25")
    ended = run_program(CONSOLE, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    hints = {
        "--shim": "has its own: image-cri-shim pull --shim SOCKET IMAGE",
        "-f": "has its own: image-cri-shim pull --config FILE IMAGE",
    }
    hint = hints.get(option[0], "does not take it")
    assert f"is an option of the daemon; `pull` {hint}" in ended.stderr


def test_an_option_that_does_not_exist_is_an_error_that_names_it() -> None:
    ended = run_program(CONSOLE, "--nonsense")
    assert ended.returncode == 2
    assert "--nonsense" in ended.stderr
    ended = run_program(TWISTD, "-n", "--pidfile=", "image-cri-shim", "--nonsense")
    assert "option --nonsense not recognized" in ended.stdout + ended.stderr


@pytest.mark.parametrize("option", ["-f", "--file", "-c", "--config"])
def test_the_console_script_serves_in_the_foreground(
    make_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    option: str,
) -> None:
    shim = make_daemon(standin.socket, NO_REGISTRY, program=CONSOLE, option=option)
    shim.start()
    assert connect(shim.socket).image_status("nginx:1.25") is None
    assert shim.end() == 0
    assert {entry.name for entry in shim.directory.iterdir()} == {
        "shim.log",
        "state",
        shim.file.name,
    }


def test_options_outrank_the_file(
    make_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    shim = make_daemon("/run/nowhere.sock", NO_REGISTRY)
    other = shim.directory / "other.sock"
    shim.program = (*shim.program, f"--shim={other}", "--cri", standin.socket, "--debug")
    shim.socket = str(other)
    shim.start()
    assert connect(str(other)).image_status("nginx:1.25") is None
    assert "Debug: true" in shim.text()
    # Also after a reload.
    log = shim.reload()
    for line in (f"shim-socket: {other}", f"cri-socket: {standin.socket}", "Debug: true"):
        assert line in log


def test_unix_in_front_of_a_socket_is_understood_everywhere(
    make_daemon: StartDaemon,
    connect: Callable[..., CRI],
    standin: StandinRuntime,
    origin: MemoryRegistry,
) -> None:
    push(origin.url, "command/prefix", "1", build_image("command prefix"))
    shim = make_daemon(standin.socket, NO_REGISTRY)
    shim.file.write_text(
        f"shim: unix://{shim.socket}\ncri: unix://{standin.socket}\naddress: ''\nadminSocket: ''\n"
    )
    shim.start()
    assert connect(shim.socket).image_status("nginx:1.25") is None
    shim.stop()
    shim.program = (*shim.program, f"--cri=unix://{standin.socket}")
    shim.start()
    name = "origin.test/command/prefix:1"
    ended = run_program(CONSOLE, "pull", name, "--socket", f"unix://{shim.socket}")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_start_up_lines_tell_the_effective_configuration(
    start_daemon: StartDaemon, standin: StandinRuntime, offline: MemoryRegistry
) -> None:
    config = f"address: {offline.url}\nauth: robot:passw0rd\ntimeout: 20m\nversion: v1"
    shim = start_daemon(standin.socket, config)
    log = shim.text()
    for line in (
        f"shim-socket: {shim.socket}",
        f"cri-socket: {standin.socket}",
        f"hub-address: {offline.url}",
        f"RegistryDomain: {offline.host}",
        "Force: false",
        "Debug: false",
        f"ImageDir: {shim.directory / 'state'}",
        "Timeout: 20m0s",
        "CRIVersion: v1",
        "Username: robot",
        "Password: set",
    ):
        assert f"] {line}\n" in log
    assert "passw0rd" not in log


def test_the_pull_command_shows_what_the_node_then_has(
    start_daemon: StartDaemon, runtime: Containerd, offline: MemoryRegistry
) -> None:
    image = build_image("pull command")
    push(offline.url, "command/app", "1", image)
    shim = start_daemon(runtime.socket, f"address: {offline.url}")
    for version in ("v1", "v1alpha2"):
        arguments = ("--socket", shim.socket, "--cri-version", version, "--timeout", "30")
        ended = run_program(CONSOLE, "pull", *arguments, "origin.test/command/app:1")
        assert (ended.returncode, ended.stderr) == (0, "")
        first, *rest = ended.stdout.splitlines()
        assert first.startswith("pulled origin.test/command/app:1 in ")
        assert [line.split() for line in rest] == [
            ["image", "ref", image.config_digest],
            ["image", "ID", image.config_digest],
            ["listed", "as", f"{offline.host}/command/app:1"],
            ["digest", f"{offline.host}/command/app@{image.manifest_digest}"],
        ]


def test_the_pull_command_is_1_when_the_pull_is_refused(
    start_daemon: StartDaemon, runtime: Containerd
) -> None:
    shim = start_daemon(runtime.socket, NO_REGISTRY)
    ended = run_program(CONSOLE, "pull", "--socket", shim.socket, "origin.test/command/no:1")
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("image-cri-shim: origin.test/command/no:1: NOT_FOUND: ")


def test_the_pull_command_is_1_when_it_gives_up(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    arguments = ("--socket", shim.socket, "--timeout", "0.5", "fault.test/hang:1")
    ended = run_program(CONSOLE, "pull", *arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("image-cri-shim: fault.test/hang:1: ")
    assert "gave up after 500ms" in line or "DEADLINE_EXCEEDED" in line


def test_the_pull_command_is_3_when_nobody_answers(
    start_daemon: StartDaemon, standin: StandinRuntime, tmp_path: Path
) -> None:
    absent = str(tmp_path / "absent.sock")
    shim = start_daemon(standin.socket, NO_REGISTRY)
    shim.kill()
    for path in (absent, shim.socket):
        ended = run_program(CONSOLE, "pull", "--socket", path, "nginx:1.25")
        assert (ended.returncode, ended.stdout) == (3, "")
        (line,) = ended.stderr.splitlines()
        assert line.startswith(f"image-cri-shim: nobody answers on {path}: ")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_the_pull_command_is_3_when_somebody_else_answers(tmp_path: Path, answer: bytes) -> None:
    path = str(tmp_path / "other.sock")

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        other = threading.Thread(target=serve, daemon=True)
        other.start()
        ended = run_program(CONSOLE, "pull", "--socket", path, "nginx:1.25")
        other.join(10)
    assert (ended.returncode, ended.stdout) == (3, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"image-cri-shim: nobody answers on {path}: ")


def pulling(shim: Daemon, image: str) -> subprocess.Popen[str]:
    """Start the pull command."""
    return subprocess.Popen(
        [*CONSOLE, "pull", "--socket", shim.socket, image],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def test_the_pull_command_that_is_interrupted_gives_the_pull_up(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    standin.forget_journal()
    with pulling(shim, "fault.test/hang:1") as command:
        standin.wait_for("PullImage")
        command.send_signal(signal.SIGINT)
        told = command.communicate(timeout=20)
    assert command.returncode == 130
    assert told == ("", "image-cri-shim: interrupted\n")
    standin.wait_for("PullImage", "cancelled")


def test_the_pull_command_is_1_when_the_daemon_dies(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    standin.forget_journal()
    with pulling(shim, "fault.test/hang:1") as command:
        standin.wait_for("PullImage")
        shim.kill()
        out, err = command.communicate(timeout=20)
    assert (command.returncode, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith(f"image-cri-shim: fault.test/hang:1: lost the shim on {shim.socket} ")


def test_a_daemon_that_stops_lets_the_pull_command_finish(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    standin.forget_journal()
    with pulling(shim, "fault.test/slow-1500:1") as command:
        standin.wait_for("PullImage")
        shim.send(signal.SIGTERM)
        out, err = command.communicate(timeout=20)
    assert command.returncode == 0, err
    assert out.startswith("pulled fault.test/slow-1500:1 in ")
    # It takes no more calls, not even the question for what the node then has.
    (line,) = err.splitlines()
    assert "what the runtime now has cannot be shown" in line
    assert standin.journal("PullImage", event="cancelled") == []
    assert shim.wait() == 0


def test_the_pull_command_finds_the_socket_in_the_configuration(
    start_daemon: StartDaemon, standin: StandinRuntime, tmp_path: Path
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    image = "fault.test/code-13:1"
    for arguments in (("-c", str(shim.file)), ("--shim", shim.socket)):
        ended = run_program(CONSOLE, "pull", *arguments, image)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.endswith(f"image-cri-shim: {image}: INTERNAL: fault 13\n")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("shim: relative.sock\n")
    ended = run_program(CONSOLE, "pull", "-c", str(wrong), image)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{wrong}:1:7: shim: " in ended.stderr


def test_credentials_of_the_pull_command_reach_the_origin(
    start_daemon: StartDaemon, runtime: Containerd
) -> None:
    image = build_image("pull command auth")
    authorization = "Basic dmlzaXRvcjphOmIgYw=="  # visitor:a:b c
    with MemoryRegistry(basic=("visitor", "a:b c")) as private:
        push(private.url, "command/auth", "1", image, authorization=authorization)
        runtime.set_mirror("private-command.test", private.url)
        shim = start_daemon(runtime.socket, NO_REGISTRY)
        arguments = ("--socket", shim.socket, "private-command.test/command/auth:1")
        assert run_program(CONSOLE, "pull", *arguments).returncode == 1
        ended = run_program(CONSOLE, "pull", *arguments, "--user", "visitor", text="a:b c\n")
        assert (ended.returncode, ended.stderr) == (0, "")


def test_a_method_that_nobody_knows_gets_the_runtimes_own_answer(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_REGISTRY)
    client = connect(shim.socket)
    with CRI(standin.socket) as direct:
        expected = direct.raw("/runtime.v1.ImageService/NoSuchMethod")
    answer = client.raw("/runtime.v1.ImageService/NoSuchMethod")
    assert answer.code == expected.code == grpc.StatusCode.UNIMPLEMENTED
    assert answer.details == expected.details


def test_a_password_that_everybody_can_read_is_warned_of(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    config = "address: http://127.0.0.1:1\nauth: admin:passw0rd"
    shim = start_daemon(standin.socket, config)
    shim.file.chmod(0o644)
    assert f"{shim.file} holds a password and everybody can read it" in shim.reload(config)
    shim.file.chmod(0o600)
    assert "everybody can read it" not in shim.reload(config)
