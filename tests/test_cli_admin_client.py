"""Asking the daemon: what is answered, and what an operator hears where nobody does."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import pytest

from image_cri_shim.cli.admin_client import AdminClient, Refused, Unreachable
from image_cri_shim.cli.main import main
from tests.support.admin_standin import AdminStandIn, Reply

# Each asks the daemon.
COMMANDS = ("status", "decisions", "decisions --follow", "reload", "flush", "log-level")
commands = pytest.mark.parametrize("command", COMMANDS)


def ended(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Return the status of a command line, and what it has written."""
    with pytest.raises(SystemExit) as end:
        main(line.split())
    return end.value.code, *capsys.readouterr()


def test_documents_come_and_go(admin: AdminStandIn) -> None:
    admin.answers("GET /status", {"schema": 1})
    admin.answers("POST /flush", {"answers": 3})
    client = AdminClient(admin.path)
    assert client.get("/status") == {"schema": 1}
    assert client.get("/status", image="a b/*", limit=3) == {"schema": 1}
    assert client.post("/flush", {"image": "nginx"}) == {"answers": 3}
    first, second, third = admin.requests
    assert (first.what, first.query) == ("GET /status", {})
    assert second.query == {"image": "a b/*", "limit": "3"}
    assert (third.what, third.body) == ("POST /flush", {"image": "nginx"})


def test_what_is_followed_comes_line_by_line_with_signs_of_life(admin: AdminStandIn) -> None:
    admin.replies["GET /decisions"] = Reply(lines=[{"number": 1}, None, {"number": 2}], open=True)
    client = AdminClient(admin.path)
    followed = client.follow("/decisions", follow=1)
    assert [next(followed) for _ in range(3)] == [{"number": 1}, None, {"number": 2}]
    client.close()
    # What has come already may still be told.
    with pytest.raises(Unreachable):
        assert {*followed} == {None}


def test_the_end_of_what_is_followed_is_the_daemons(admin: AdminStandIn) -> None:
    admin.replies["GET /decisions"] = Reply(lines=[{"number": 1}])
    followed = AdminClient(admin.path).follow("/decisions", follow=1)
    assert next(followed) == {"number": 1}
    with pytest.raises(Unreachable, match="has ended"):
        next(followed)


@pytest.mark.parametrize("cut", [b"", b'40\r\n{"numb', b"4"])
def test_who_is_cut_off_hears_that_it_may_have_been_too_slow(directory: Path, cut: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def serve() -> None:
        connection = listening.accept()[0]
        connection.recv(1000)
        connection.sendall(head + b'd\r\n{"number": 1}\r\n1\r\n\n\r\n' + cut)
        connection.close()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{directory}/other.sock")
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        followed = AdminClient(f"{directory}/other.sock").follow("/decisions", follow=1)
        assert next(followed) == {"number": 1}
        with pytest.raises(Unreachable, match="or this command was too slow to read"):
            next(followed)
        thread.join()


def test_a_refusal_says_why_in_the_daemons_words(admin: AdminStandIn) -> None:
    admin.answers("POST /flush", {"error": "there is no registry x"}, 404)
    with pytest.raises(Refused, match=r"^there is no registry x$") as refused:
        AdminClient(admin.path).post("/flush", {"registry": "x"})
    assert refused.value.code == 404


def test_a_question_that_the_daemon_does_not_know_means_that_it_is_older(
    admin: AdminStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = ended(f"status --socket {admin.path}", capsys)
    assert (status, out) == (3, "")
    assert "the daemon does not know /status: it is older than this command; restart it" in err
    status, _, err = ended(f"decisions --limit 1 --socket {admin.path}", capsys)
    assert (status, "the daemon does not know /decisions: it is older" in err) == (3, True)
    admin.replies["POST /reload"] = Reply(b"<html>", 404)
    status, _, err = ended(f"reload --socket {admin.path}", capsys)
    assert (status, "the daemon does not know /reload: it is older" in err) == (3, True)


@commands
def test_nobody_there_is_3_and_said(
    command: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{directory}/none.sock"
    expected = (
        f"nobody answers on {path}: there is no such socket; is the daemon running? "
        "(another socket: --socket SOCKET)"
    )
    line = f"{command} --socket unix://{path}"
    assert ended(line, capsys) == (3, "", f"image-cri-shim: {expected}\n")
    status, out, _ = ended(f"{line} --json", capsys)
    assert (status, json.loads(out)) == (3, {"error": expected})


@commands
def test_the_socket_of_a_dead_daemon_is_3(
    command: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{directory}/dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    status, out, err = ended(f"{command} --socket {path}", capsys)
    assert (status, out) == (3, "")
    assert f"nobody answers on {path}: nobody listens; is the daemon running" in err


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"\0\0\0"]
)
def test_what_answers_and_is_no_admin_interface_is_said_so(said: bytes, directory: Path) -> None:
    path = f"{directory}/other.sock"

    def serve() -> None:
        connection, _ = other.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(said)

    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Unreachable, match=r"no admin interface|without an answer"):
            AdminClient(path, 5).get("/status")
        thread.join(10)


def test_a_silent_daemon_is_not_waited_for(directory: Path) -> None:
    path = f"{directory}/silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        with pytest.raises(Unreachable, match=r"there was silence for 0\.05 s; does the daemon"):
            AdminClient(path, 0.05).get("/status")


def test_somebody_who_is_not_root_hears_that(directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    path = directory / "admin.sock"
    with socket.socket(socket.AF_UNIX) as private:
        private.bind(str(path))
        private.listen()
        path.chmod(0o600)
        directory.chmod(0o755)
        os.seteuid(65534)
        try:
            with pytest.raises(Unreachable, match="permission denied; it is for root alone"):
                AdminClient(str(path)).get("/status")
        finally:
            os.seteuid(0)


@commands
def test_the_socket_is_the_configurations(
    command: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = directory / "file.yaml"
    file.write_text(f"adminSocket: {directory}/here.sock\n")
    status, _, err = ended(f"{command} -c {file}", capsys)
    assert (status, f"nobody answers on {directory}/here.sock" in err) == (3, True)


@commands
def test_an_admin_interface_that_is_turned_off_is_3_and_said(
    command: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = directory / "file.yaml"
    file.write_text("adminSocket: ''\n")
    status, out, err = ended(f"{command} --config {file}", capsys)
    assert (status, out) == (3, "")
    assert "the configuration turns the admin interface off (adminSocket is empty)" in err


def test_a_refused_configuration_does_not_hide_the_daemon(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs under the one before, and is asked most when somebody has made a mistake."""
    file = directory / "file.yaml"
    file.write_text("adress: x\n")
    status, _, err = ended(f"status --config {file}", capsys)
    first, second = err.splitlines()
    assert status == 3
    assert f"the configuration is refused ({file}:1:1: adress: unknown key" in first
    assert first.endswith("; asking /run/image-cri-shim/admin.sock")
    assert "nobody answers on /run/image-cri-shim/admin.sock" in second


@pytest.mark.parametrize("scheme", ["", "unix://"])
def test_a_refused_configuration_still_says_where_the_daemon_is(
    directory: Path, capsys: pytest.CaptureFixture[str], scheme: str
) -> None:
    file = directory / "file.yaml"
    file.write_text("adress: x\nadminSocket: /run/elsewhere.sock\n")
    drop_in = directory / "file.d"
    drop_in.mkdir()
    place = directory / "mine.sock"
    (drop_in / "50.yaml").write_text(f"adminSocket: {scheme}{place}\n")
    status, _, err = ended(f"status --config {file}", capsys)
    assert status == 3
    assert f"nobody answers on {place}" in err.splitlines()[1]


@commands
def test_the_daemons_options_lead_to_the_commands_own(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = command.split(maxsplit=1)[0]
    status, _, err = ended(f"--config x {command}", capsys)
    assert status == 2
    assert f"`{name}` has its own: image-cri-shim {name} --config FILE" in err
    status, _, err = ended(f"--shim x {command}", capsys)
    assert (status, f"`{name}` asks the admin socket: see --socket" in err) == (2, True)


def test_a_socket_without_a_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["status", "--socket", ""], ["pull", "--admin-socket", "", "a"]):
        with pytest.raises(SystemExit) as end:
            main(line)
        assert end.value.code == 2
        assert "expected the path of a socket, found nothing" in capsys.readouterr().err


def test_an_answer_of_another_version_is_3_and_no_accident(
    admin: AdminStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    for what in ("GET /status", "GET /decisions", "POST /reload", "POST /flush"):
        admin.answers(what, {"schema": 2})
    admin.replies["GET /decisions follow"] = Reply(lines=[{"number": 1}])
    for command in COMMANDS:
        status, out, err = ended(f"{command} --socket {admin.path}", capsys)
        assert (status, out) == (3, ""), command
        assert "are they of the same version? Restart the daemon" in err
