"""`image-cri-shim resolve`: a program that explains, on real registries."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import CONSOLE, environment, run_program
from tests.support.faults import Drop, Redirect, Status, always
from tests.support.http_server import Tarpit
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import free_port, wait_until
from tests.support.registries import DockerRegistry
from tests.system.conftest import accidents
from tests.system.test_secrets import PASSWORDS, USER, betrayals
from tests.test_cli_streams import sleeps

MakeRegistry = Callable[..., DockerRegistry]
# Seconds that the program itself may take beside what it waits for, on a busy machine.
OVERHEAD = 4.0


class Resolve:
    """The command with a configuration file of its own."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "image-cri-shim.yaml"

    def arguments(self, *more: str) -> list[str]:
        return [*CONSOLE, "resolve", "--config", str(self.file), *more]

    def configure(self, *lines: str) -> None:
        self.file.write_text("\n".join(lines) + "\n")

    def run(self, *arguments: str) -> tuple[int, str, str]:
        ended = run_program(self.arguments(*arguments))
        assert accidents(ended.stdout + ended.stderr) == []
        return ended.returncode, ended.stdout, ended.stderr

    def told(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Return the status and what the command tells machines."""
        status, out, err = self.run("--json", *arguments)
        assert err == ""
        return status, json.loads(out)


@pytest.fixture
def resolve(tmp_path: Path) -> Resolve:
    return Resolve(tmp_path)


@pytest.fixture
def mirror() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        yield running


def rows(text: str) -> dict[str, str]:
    """Return the first line of each label."""
    found = re.findall(r"^  (\S(?:\S| (?! ))*)  +(.*)$", text, re.MULTILINE)
    return {label: value for label, value in reversed(found) if not label[0].isdigit()}


def outcomes(told: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(one["registry"], one["outcome"], one["detail"]) for one in told["candidates"]]


def attempts(told: dict[str, Any]) -> list[str]:
    return [one["name"] for one in told["decision"]["attempts"]]


def test_an_image_that_a_registry_has_is_found_there(
    make_registry: MakeRegistry, mirror: MemoryRegistry, resolve: Resolve
) -> None:
    image = build_image("resolve found")
    offline = make_registry(htpasswd=(USER, "geheim"))
    basic = "Basic " + base64.b64encode(f"{USER}:geheim".encode()).decode()
    push(offline.url, "library/found", "1", image, authorization=basic)
    resolve.configure(
        f"address: {offline.url}",
        f"auth: {USER}:geheim",
        f"registries: [{{address: '{mirror.url}'}}]",
        "rules: [{match: quay.io}, {match: 'docker.io/library/*'}]",
    )
    status, out, err = resolve.run("found:1")
    assert (status, err) == (0, "")
    assert out.startswith("found:1\n")
    told = rows(out)
    assert told["registry"] == "docker.io"
    assert told["repository"] == "library/found"
    assert told["rule"] == "rule 2 (docker.io/library/*)"
    assert told["found"] == "yes"
    name = f"{offline.host}/library/found:1"
    assert re.fullmatch(rf"1  {name}  present +\d+ ms  with credentials", told["candidates"])
    assert re.search(rf"^ +{image.manifest_digest}$", out, re.MULTILINE)
    # The one behind it was waited for, too.
    assert re.search(rf"2  {mirror.host}/library/found:1 +absent \(404\) +\d+ ms +without", out)
    pattern = rf"{name} \(offline, present, \d+ ms, by rule 2 \(docker.io/library/\*\)\)"
    assert re.fullmatch(pattern, told["decision"])


def test_an_image_that_no_registry_has_is_1_and_the_origin_is_not_asked(
    resolve: Resolve, offline: MemoryRegistry, mirror: MemoryRegistry, origin: MemoryRegistry
) -> None:
    push(origin.url, "resolve/absent", "1", build_image("resolve absent"))
    origin.forget_requests()
    resolve.configure(f"address: {offline.url}", f"registries: [{{address: '{mirror.url}'}}]")
    name = f"{origin.host}/resolve/absent:1"
    status, out, err = resolve.run(name)
    assert (status, err) == (1, "")
    assert rows(out)["found"] == "no; the origin may have it"
    assert rows(out)["decision"].startswith(f"{name} (origin, {offline.host}: absent (404), ")
    assert (origin.connections, origin.requests) == (0, [])


def test_a_registry_that_fails_is_unknown_and_says_how(
    resolve: Resolve, offline: MemoryRegistry, mirror: MemoryRegistry
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    with MemoryRegistry() as dropping:
        offline.faults = always(Status(503))
        dropping.faults = always(Drop())
        resolve.configure(
            f"address: {offline.url}",
            "registries:",
            f"- {{address: '{mirror.url}', auth: '{USER}:geheim', priority: 3}}",
            f"- {{address: 'http://{dead}', priority: 2}}",
            f"- {{address: '{dropping.url}', priority: 1}}",
        )
        mirror.basic = (USER, "right")
        status, (told,) = resolve.told("quay.io/a/b:1")
    assert status == 1
    assert outcomes(told) == [
        (offline.host, "unknown", "503"),
        (mirror.host, "unknown", "401 wrong credentials"),
        (dead, "unknown", "connection refused"),
        (dropping.host, "unknown", "connection lost"),
    ]
    assert told["found"] is False


def test_a_silent_registry_costs_its_time_out_and_not_the_decision(
    resolve: Resolve, mirror: MemoryRegistry
) -> None:
    push(mirror.url, "library/tarpit", "1", build_image("resolve tarpit"))
    images = [f"docker.io/library/tarpit:{number}" for number in (1, 2, 3)]
    with Tarpit() as silent:
        resolve.configure(
            f"address: {silent.url}",
            "offline: {timeout: 3s}",
            f"registries: [{{address: '{mirror.url}'}}]",
        )
        started = time.monotonic()
        status, told = resolve.told(*images)
        took = time.monotonic() - started
    assert status == 1
    assert [one["image"] for one in told] == images
    assert outcomes(told[0]) == [
        (silent.host, "unknown", "timed out after 3s"),
        (mirror.host, "present", None),
    ]
    # All at the same time, and a pull would have waited for the grace alone.
    assert took < 3 + OVERHEAD
    assert told[0]["candidates"][0]["seconds"] == pytest.approx(3, abs=0.5)
    assert told[0]["decision"]["seconds"] == pytest.approx(1, abs=0.5)
    assert attempts(told[0])[0] == f"{mirror.host}/library/tarpit:1"
    assert f"{silent.host}: slow" in told[0]["decision"]["reason"]


def test_what_is_said_of_an_image_does_not_depend_on_those_before_it(
    resolve: Resolve, offline: MemoryRegistry
) -> None:
    images = [f"docker.io/library/late:{number}" for number in range(60)]
    with Tarpit() as silent:
        resolve.configure(
            f"address: {offline.url}",
            f"registries: [{{address: '{silent.url}', timeout: 2s, connectTimeout: 1s}}]",
        )
        started = time.monotonic()
        _, told = resolve.told(*images)
        took = time.monotonic() - started
    expected = [(offline.host, "absent", "404"), (silent.host, "unknown", "timed out after 2s")]
    assert [outcomes(one) for one in told] == [expected] * len(images)
    assert all(one["asked"] and one["seconds"] > 0 for one in told[-1]["candidates"])
    # Those that are asked first, and then all the others at the same time.
    assert took < 2 * 2 + OVERHEAD


def test_a_registry_that_refuses_is_asked_for_hundreds_of_images(resolve: Resolve) -> None:
    dead = f"127.0.0.1:{free_port()}"
    resolve.configure(f"address: http://{dead}", "cache: {imageCacheSize: 0}")
    images = [f"docker.io/library/many:{number}" for number in range(300)]
    status, told = resolve.told(*images)
    assert status == 1
    refused = [(dead, "unknown", "connection refused")]
    assert [(one["image"], outcomes(one)) for one in told] == [(one, refused) for one in images]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_amid_hundreds_of_images(
    resolve: Resolve, number: signal.Signals, status: int
) -> None:
    with Tarpit() as silent:
        resolve.configure(
            f"address: {silent.url}",
            "offline: {timeout: 60s}",
            f"registries: [{{address: 'http://127.0.0.1:{free_port()}'}}]",
        )
        with subprocess.Popen(
            resolve.arguments(*(f"a/b:{one}" for one in range(300))),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        ) as command:
            assert wait_until(lambda: silent.connections > 0, 10)
            command.send_signal(number)
            out, err = command.communicate(timeout=OVERHEAD)
    assert (command.returncode, out, accidents(err)) == (status, "", [])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_a_signal_ends_it_while_nobody_reads_what_it_writes(
    resolve: Resolve, number: signal.Signals, status: int
) -> None:
    resolve.configure("address: ''")
    with subprocess.Popen(
        resolve.arguments(*(f"a/b:{one}" for one in range(1000))),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({"PYTHONUNBUFFERED": ""}),
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert os.read(command.stdout.fileno(), 1)
        # The rest is more than fits into the pipe.
        assert wait_until(lambda: sleeps(command.pid), 10)
        command.send_signal(number)
        assert command.wait(OVERHEAD) == status
        assert command.stderr.read() in ("", "image-cri-shim: interrupted\n")


def test_one_odd_credential_spoils_nothing_else(
    resolve: Resolve, offline: MemoryRegistry, mirror: MemoryRegistry, tmp_path: Path
) -> None:
    push(mirror.url, "library/odd", "1", build_image("resolve odd"))
    offline.basic = (USER, "right")
    file = tmp_path / "config.json"
    entry = {"username": USER, "password": "\ud800"}
    file.write_text(json.dumps({"auths": {offline.host: entry}}))
    resolve.configure(
        f"address: {offline.url}",
        f"offline: {{authFile: '{file}'}}",
        f"registries: [{{address: '{mirror.url}'}}]",
    )
    status, out, _ = resolve.run("--json", "odd:1")
    (told,) = json.loads(out)
    assert (status, told["found"]) == (0, True)
    assert [one["outcome"] for one in told["candidates"]] == ["unknown", "present"]


def test_strict_mode_without_the_image_pulls_nothing_and_asks_no_origin(
    resolve: Resolve, offline: MemoryRegistry, origin: MemoryRegistry
) -> None:
    origin.forget_requests()
    resolve.configure(
        f"address: {offline.url}", "rules: [{match: '127.0.0.1:*', originAllowed: false}]"
    )
    status, out, err = resolve.run(f"{origin.host}/a/b:1")
    assert (status, err) == (1, "")
    told = rows(out)
    assert told["origin"] == f"{origin.host}, not allowed"
    assert told["found"] == "no; the origin is not allowed"
    assert told["decision"].startswith(f"nothing ({offline.host}: absent (404), ")
    assert told["decision"].endswith("; origin not allowed by rule 1 (127.0.0.1:*))")
    assert origin.connections == 0


def test_what_a_rule_excludes_is_asked_for_nowhere(
    resolve: Resolve, offline: MemoryRegistry
) -> None:
    resolve.configure(f"address: {offline.url}", "rules: [{match: docker.io, exclude: '*:latest'}]")
    status, (told,) = resolve.told("nginx")
    assert (status, told["excluded"], told["candidates"]) == (1, "*:latest", [])
    assert attempts(told) == ["nginx"]
    assert offline.connections == 0


def test_a_configured_registrys_own_name_is_looked_up(
    resolve: Resolve, offline: MemoryRegistry, mirror: MemoryRegistry
) -> None:
    image = build_image("resolve own")
    push(offline.url, "a/own", "1", image)
    resolve.configure(f"address: {offline.url}", f"registries: [{{address: '{mirror.url}'}}]")
    status, (told,) = resolve.told(f"{offline.host}/a/own:1")
    assert (status, told["found"], told["candidates"]) == (0, True, [])
    answered = told["origin"]["answered"]
    assert (answered["outcome"], answered["digest"]) == ("present", image.manifest_digest)
    assert mirror.connections == 0
    status, out, _ = resolve.run(f"{offline.host}/a/own:2")
    assert (status, rows(out)["found"]) == (1, "no")
    assert "a configured registry: absent (404), " in rows(out)["origin"]


def test_several_images_are_told_in_the_order_given_and_nothing_is_asked_twice(
    resolve: Resolve, offline: MemoryRegistry
) -> None:
    push(offline.url, "library/many", "1", build_image("resolve many"))
    offline.forget_requests()
    resolve.configure(f"address: {offline.url}")
    names = [f"many:{number % 10}" for number in range(40)]
    status, told = resolve.told(*names)
    assert status == 1
    assert [one["image"] for one in told] == names
    assert [one["found"] for one in told] == [name == "many:1" for name in names]
    asked = [request.path for request in offline.requests]
    assert len(asked) == len(set(asked)) == 10
    # At the same time, as one after the other needs but one.
    assert offline.connections > 1
    assert resolve.told("many:1", "docker.io/library/many:1")[0] == 0


def test_what_is_no_reference_is_2_and_the_others_are_explained(
    resolve: Resolve, offline: MemoryRegistry
) -> None:
    push(offline.url, "library/good", "1", build_image("resolve good"))
    resolve.configure(f"address: {offline.url}")
    identifier = f"sha256:{'0' * 64}"
    status, out, err = resolve.run("Good:1", "good:1", identifier, "", "absent:1")
    assert status == 2
    assert [line for line in out.splitlines() if line and line[0] != " "] == ["good:1", "absent:1"]
    assert err.splitlines() == [
        "image-cri-shim: 'Good:1': the repository 'library/Good' must be lower case",
        f"image-cri-shim: '{identifier}' is an image ID, not an image reference",
        "image-cri-shim: an image reference is empty",
    ]
    status, told = resolve.told(identifier, "good:1")
    assert status == 2
    assert told[0]["image"] == identifier
    assert told[0]["found"] is False
    assert "is an image ID" in told[0]["error"]
    assert told[1]["found"] is True


def test_a_configuration_that_is_refused_is_2_with_everything_that_is_wrong(
    resolve: Resolve,
) -> None:
    resolve.configure("adress: x", "debug: maybe")
    status, out, err = resolve.run("nginx:1")
    first, *problems = err.splitlines()
    assert (status, out) == (2, "")
    assert first == "image-cri-shim: the configuration is refused:"
    assert [one.split(": ")[0] for one in problems] == [
        f"{resolve.file}:1:1",
        f"{resolve.file}:2:8",
    ]
    # Machines get it as check tells it.
    status, out, machines = resolve.run("--json", "nginx:1")
    places = [(one["line"], one["key"]) for one in json.loads(out)["problems"]]
    assert (status, machines, places) == (2, err, [(1, "adress"), (2, "debug")])
    resolve.file.unlink()
    status, out, err = resolve.run("nginx:1")
    assert (status, out) == (2, "")
    assert "there is no such file" in err


def test_the_configuration_may_come_from_standard_input(offline: MemoryRegistry) -> None:
    push(offline.url, "library/piped", "1", build_image("resolve piped"))
    arguments = ("resolve", "-c", "-", "piped:1")
    ended = run_program(CONSOLE, *arguments, text=f"address: {offline.url}\n")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_secret_and_no_control_character_is_written(
    resolve: Resolve, offline: MemoryRegistry, mirror: MemoryRegistry, tmp_path: Path
) -> None:
    auth = base64.b64encode(f"{USER}:{PASSWORDS['named']}".encode()).decode()
    file = tmp_path / "config.json"
    offline.basic = (USER, PASSWORDS["accepted"])
    mirror.basic = (USER, "another")
    with MemoryRegistry(basic=(USER, PASSWORDS["named"])) as third, MemoryRegistry() as fourth:
        file.write_text(json.dumps({"auths": {third.host: {"auth": auth}}}))
        hostile = f"http://\x1b{PASSWORDS['own']}.test/"
        fourth.faults = always(Redirect(hostile))
        resolve.configure(
            f"address: {offline.url}",
            f"auth: '{USER}:{PASSWORDS['accepted']}'",
            "registries:",
            f"- {{address: '{mirror.url}', auth: '{USER}:{PASSWORDS['refused']}'}}",
            f"- {{address: '{third.url}', authFile: '{file}'}}",
            f"- {{address: '{fourth.url}', auth: '{USER}:{PASSWORDS['own']}'}}",
            "debug: true",
        )
        images = ("nginx:1", f"{third.host}/a:1", "nginx:\x1b]0;owned\x07", "a\x9bb")
        for arguments in (images, ("--json", *images)):
            status, out, err = resolve.run(*arguments)
            assert status == 2
            assert betrayals(out + err) == []
            assert all(one.isprintable() for one in (out + err).split("\n"))
            assert '"present"' not in out
    assert len(third.requests) > 1


@pytest.fixture
def helper(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which a credential helper says who it is, and then nothing."""
    program = tmp_path / "docker-credential-silent"
    program.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nexec sleep 60\n")
    program.chmod(0o755)
    (tmp_path / "config.json").write_text('{"credsStore": "silent"}')
    return environment({"PATH": f"{tmp_path}:{os.environ['PATH']}"})


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [(signal.SIGINT, 130, "image-cri-shim: interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_a_signal_ends_it_at_once_with_all_that_it_has_started(
    resolve: Resolve,
    offline: MemoryRegistry,
    helper: dict[str, str],
    tmp_path: Path,
    number: signal.Signals,
    status: int,
    words: str,
) -> None:
    resolve.configure(
        f"address: {offline.url}", f"offline: {{authFile: {tmp_path}/config.json, timeout: 20s}}"
    )
    pids = tmp_path / "pids"
    with subprocess.Popen(
        resolve.arguments("nginx:1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=helper,
    ) as command:
        assert wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"), 10)
        command.send_signal(number)
        told = command.communicate(timeout=OVERHEAD)
    assert (command.returncode, told) == (status, ("", words))
    (pid,) = pids.read_text().split()
    assert wait_until(lambda: not Path(f"/proc/{pid}").exists(), 5)


def test_a_silent_name_server_does_not_keep_it_from_ending(
    resolve: Resolve, tmp_path: Path
) -> None:
    # As with a name server that drops packets: the system's function does not come back.
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\nsocket.getaddrinfo = lambda *_, **__: time.sleep(60)\n"
    )
    resolve.configure("address: http://nowhere.test:5000", "offline: {connectTimeout: 500ms}")
    extra = environment()
    extra["PYTHONPATH"] = f"{tmp_path}:{extra['PYTHONPATH']}"
    ended = subprocess.run(
        resolve.arguments("nginx:1"), capture_output=True, text=True, env=extra, timeout=20
    )
    assert ended.returncode == 1
    assert "unknown (finding the host timed out after 0.5s)" in ended.stdout


def test_a_reader_that_has_enough_is_no_accident(resolve: Resolve) -> None:
    resolve.configure("address: ''")
    with subprocess.Popen(
        resolve.arguments("nginx:1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == ""
