"""A password is written nowhere, whatever happens with it."""

from __future__ import annotations

import base64
import contextlib
import subprocess
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs
import grpc
import pytest

from image_cri_shim.config import Config, load, override
from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Attempt, Decision, LookUp, Outcome, Pull, Registry
from image_cri_shim.errors import ConfigError
from image_cri_shim.policy import Policy
from tests.support.containerd import Containerd
from tests.support.cri_client import CRI
from tests.support.daemon import CONSOLE, environment
from tests.support.faults import Drop, Redirect, Status, always
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.support.processes import free_port, wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.support.token_server import TokenServer
from tests.system.conftest import StartDaemon

USER = "robot"
# One for each registry and one for the client, each good to be found in any encoding.
PASSWORDS = {
    name: f"{name}-{'X7qd' * 3}:geheim%{name}"
    for name in ("accepted", "refused", "tokens", "dead", "own", "named", "client")
}


def spellings(password: str) -> Iterator[str]:
    """Yield what the password looks like where somebody writes it or what it is sent as."""
    yield password
    yield repr(password)[1:-1]
    yield urllib.parse.quote(password)
    yield urllib.parse.quote_plus(password)
    # Wherever it stands in something that is encoded as a whole, these are in it.
    yield from (stem(password.encode(), offset) for offset in range(3))
    for user in (USER, "visitor"):
        yield base64.b64encode(f"{user}:{password}".encode()).decode().rstrip("=")[:-1]


def stem(secret: bytes, offset: int) -> str:
    """Return what base64 makes of a secret `offset` bytes after a multiple of three."""
    text = base64.b64encode(bytes(offset) + secret).decode().rstrip("=")
    return text[(0, 2, 3)[offset] : -2]


def betrayals(text: str, passwords: Iterable[str] = PASSWORDS.values()) -> list[str]:
    return [s for password in passwords for s in spellings(password) if s in text]


def test_a_planted_secret_would_be_found() -> None:
    password = PASSWORDS["accepted"]
    for text in (
        f"auth: {USER}:{password}",
        base64.b64encode(f"{USER}:{password}".encode()).decode(),
        base64.b64encode(f"some:{password} or other".encode()).decode(),
        urllib.parse.quote(password),
    ):
        assert betrayals(f"... {text} ...")
    assert not betrayals("nothing here")


def config_text(offline: str, others: Iterable[tuple[str, str]]) -> str:
    name, url = offline.split("=", 1)
    lines = [f"address: {url}", f"auth: '{USER}:{PASSWORDS[name]}'", "debug: true", "registries:"]
    for name, url in others:
        lines += [f"- address: {url}", f"  auth: '{USER}:{PASSWORDS[name]}'"]
    return "\n".join(lines)


def test_no_password_is_written_anywhere(
    make_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    tmp_path: Path,
) -> None:
    image = build_image("secrets")
    header = {
        name: "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()
        for name, password in PASSWORDS.items()
    }
    with contextlib.ExitStack() as stack:
        accepted = stack.enter_context(MemoryRegistry(basic=(USER, PASSWORDS["accepted"])))
        refused = stack.enter_context(MemoryRegistry(basic=(USER, "another")))
        users = {USER: PASSWORDS["tokens"]}
        tokens = stack.enter_context(TokenServer(tmp_path / "tokens", users=users))
        bearer = stack.enter_context(MemoryRegistry(bearer=tokens.bearer))
        push(accepted.url, "secrets/app", "1", image, authorization=header["accepted"])
        token = tokens.token(USER, ("repository:secrets/token:pull,push",))
        push(bearer.url, "secrets/token", "1", image, authorization=f"Bearer {token}")
        push(origin.url, "secrets/origin", "1", image)
        dead = f"http://127.0.0.1:{free_port()}"
        others = [("refused", refused.url), ("tokens", bearer.url), ("dead", dead)]
        config = config_text(f"accepted={accepted.url}", others)
        shim = make_daemon(runtime.socket, config)
        directory = shim.directory
        shim.start()
        cmdline = Path(f"/proc/{shim.pid}/cmdline").read_text()
        environ = Path(f"/proc/{shim.pid}/environ").read_text()
        told: list[str] = []

        def pull(name: str) -> None:
            for auth in (
                {"username": "visitor", "password": PASSWORDS["client"]},
                {"auth": base64.b64encode(f"visitor:{PASSWORDS['client']}".encode()).decode()},
                {"registry_token": PASSWORDS["client"]},
            ):
                client = connect(shim.socket)
                try:
                    client.pull(name, auth=auth)
                    told.append(str(client.image_status(name, True)))
                except grpc.RpcError as error:
                    told.append(f"{error.code()} {error.details()} {error}")

        def use() -> None:
            for name in (
                "app:1",
                "token:1",
                "origin:1",
                "nowhere:1",
                "app@" + "sha256:" + 64 * "0",
            ):
                pull(f"origin.test/secrets/{name}")
            pull(f"{refused.host}/secrets/app:1")
            pull(f"{accepted.host}/secrets/app:1")
            pull("origin.test/UPPER:1")
            told.append(str(connect(shim.socket).list_images()))

        use()
        for fault in (Status(500), Status(403), Drop(), Status(401, {"WWW-Authenticate": "Odd"})):
            accepted.faults = always(fault)
            shim.reload()
            use()
        accepted.faults = []
        # What a runtime answers is not in the shim's hands, but its log is.
        echo = f"wrong: {PASSWORDS['accepted']} and {header['accepted']}".encode()
        accepted.faults = always(Status(400, {"Content-Type": "text/plain"}, echo))
        shim.reload()
        use()
        # Files with mistakes, at and around the secrets.
        for broken in (
            config.replace("auth:", "auht:"),
            config.replace(f"{USER}:", f"{USER} "),
            config.replace(f"auth: '{USER}:", "auth: '"),
            config.replace("'", ""),
            config.replace("'", '"', 1),
            config + "\n  auth: [" + PASSWORDS["own"] + "]",
            f"address: http://{USER}:{PASSWORDS['own']}@127.0.0.1:1",
            f"auth: {{user: {USER}, password: '{PASSWORDS['own']}'}}",
            f"password: '{PASSWORDS['own']}'",
            f"'{USER}:{PASSWORDS['own']}'",
            f"auth: '{USER}:{PASSWORDS['own']}'\nauth: '{USER}:{PASSWORDS['named']}'",
        ):
            assert "reload: " in shim.reload(broken)
        shim.configure(config)
        shim.reload()
        runtime.kill()
        pull("origin.test/secrets/app:1")
        runtime.start()
        assert shim.end() == 0

    written = {
        str(path): path.read_bytes().decode(errors="replace")
        for path in directory.rglob("*")
        if path.is_file() and path != shim.file
    }
    assert str(shim.log) in written
    # It was a day of work indeed, and all of it at debug level.
    log = written[str(shim.log)]
    for happened in (
        "(offline, present, ",
        "401",
        "wrong credentials",
        "reload: refused",
        "Debug: true",
    ):
        assert happened in log
    for place, text in {**written, "cmdline": cmdline, "environ": environ}.items():
        assert betrayals(text) == [], place
    # Clients are told of their own at most.
    assert betrayals("\n".join(told), [p for n, p in PASSWORDS.items() if n != "client"]) == []


def test_what_others_say_is_cleaned_of_passwords(
    start_daemon: StartDaemon,
    connect: Callable[..., CRI],
    runtime: Containerd,
    origin: MemoryRegistry,
    offline: MemoryRegistry,
) -> None:
    image = build_image("secrets echo")
    push(origin.url, "secrets/echo", "1", image)
    password = PASSWORDS["accepted"]
    # The runtime's error message has the whole URL to which this registry sends it.
    shown = {
        "plain": password.replace("%", "-"),
        "quoted": urllib.parse.quote(password),
        "pair": base64.b64encode(f"{USER}:{password}".encode()).decode(),
    }
    for kind, text in shown.items():
        own = shown["plain"] if kind == "plain" else password
        offline.faults = always(Redirect(f"http://127.0.0.1:{free_port()}/echo/{text}"))
        config = f"address: {offline.url}\nauth: '{USER}:{own}'\ndebug: true"
        shim = start_daemon(runtime.socket, config)
        assert connect(shim.socket).pull("origin.test/secrets/echo:1") == image.config_digest
        assert "/echo/***" in shim.text()
        assert betrayals(shim.text(), [own]) == []


def test_a_file_with_mistakes_that_stops_the_start_does_not_show_its_secrets(
    make_daemon: StartDaemon, tmp_path: Path
) -> None:
    password = PASSWORDS["own"]
    for broken in (
        f"auth: '{password.replace(':', '')}'",
        f"auht: '{USER}:{password}'",
        f"auth: '{USER}:{password}",
        f"auth: [{USER}, '{password}']",
        f"address: 'http://{USER}:{password}@127.0.0.1:1'",
        f"registries:\n- auth: '{USER}:{password}'",
        f"registries: '{USER}:{password}'",
        f"auth: '{USER}:{password}'\n  bad: indentation",
    ):
        for program in ({}, {"program": CONSOLE}):
            ended = make_daemon(str(tmp_path / "none"), broken, **program).run_once()
            assert ended.returncode == 78, broken
            told = ended.stdout + ended.stderr
            assert betrayals(told, [password, password.replace(":", "")]) == [], broken


def test_the_pull_command_reads_its_password_from_where_nobody_sees_it(
    make_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = make_daemon(standin.socket, 'address: ""\ndebug: true').start()
    standin.forget_journal()
    password = PASSWORDS["client"]
    arguments = ("pull", "fault.test/slow-500:1", "--user", "visitor", "--socket", shim.socket)
    with subprocess.Popen(
        [*CONSOLE, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    ) as command:
        assert command.stdin is not None
        command.stdin.write(password + "\n")
        command.stdin.flush()
        assert wait_until(lambda: standin.journal("PullImage") != [], 10)
        cmdline = Path(f"/proc/{command.pid}/cmdline").read_text()
        told = command.communicate()[0]
    (entry,) = standin.journal("PullImage")
    sent = base64.b64encode(f"visitor:{password}".encode()).decode()
    assert entry["auth"] == {"auth": sent}
    shim.stop()
    assert betrayals(cmdline + told + shim.text()) == []


def everything(config: Config) -> Iterator[object]:
    """Yield one of every value that holds, or leads to, credentials."""
    yield config
    registries = config.all_registries
    yield from registries
    yield registries
    for registry in registries:
        assert registry.credentials is not None
        yield registry.credentials
    yield Policy(registries)
    candidates = Policy(registries).candidates("nginx:1.25")
    yield from candidates
    look_ups = tuple(LookUp(c, Outcome.UNKNOWN, "401", 0.1) for c in candidates)
    yield from look_ups
    decision = Decision(candidates, look_ups, 0.2)
    yield decision
    attempts = tuple(Attempt(c, "UNKNOWN: no", 0.1) for c in candidates)
    yield from attempts
    yield Pull("nginx:1.25", attempts, "UNKNOWN: no", 0.3)
    yield override(config, shim="/other.sock")
    yield attrs.evolve(config, debug=True)
    yield {registry.domain: registry for registry in registries}


def test_no_value_shows_its_password(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    others = [("refused", "http://127.0.0.1:2"), ("tokens", "https://harbor.test")]
    file.write_text(config_text("accepted=http://127.0.0.1:1", others))
    config = load(file)
    held = [r.credentials.password for r in config.all_registries if r.credentials]
    assert held == [PASSWORDS[name] for name in ("accepted", "refused", "tokens")]
    for value in everything(config):
        for text in (repr(value), str(value), f"{value!r:>1}", f"{value}"):
            assert betrayals(text) == [], type(value)
    text = repr(Registry("a.test", credentials=Credentials(USER, PASSWORDS["own"])))
    assert USER in text
    assert betrayals(text) == []


def test_no_exception_shows_a_password(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"auth: '{USER}:{PASSWORDS['own']}'\naddress: 5\nauht: x\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert betrayals(repr(caught.value) + str(caught.value)) == []
    # Nor does what it came from, which a traceback would show.
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert betrayals("".join(repr(link) for link in chain)) == []
