"""How hosts' names are found: in threads that nobody has to wait for."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver
from zope.interface.verify import verifyObject

from image_cri_shim.registry.names import NameResolver

ROOT = Path(__file__).parent.parent.parent
V4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))
V6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::7", 0, 0, 0))
OTHER = (socket.AF_PACKET, socket.SOCK_STREAM, 6, "", ("lo",))


class Threads:
    """Threads that run when the test says so."""

    def __init__(self) -> None:
        self.begun: list[tuple[Any, Any, tuple[Any, ...]]] = []

    def callInThreadWithCallback(self, told: Any, function: Any, *arguments: Any) -> None:
        self.begun.append((told, function, arguments))

    def run(self) -> None:
        begun, self.begun = self.begun, []
        for told, function, arguments in begun:
            try:
                told(True, function(*arguments))
            except Exception as problem:
                told(False, problem)


class Reactor:
    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        function(*arguments)


class Desk:
    """A resolver, and who asks it."""

    def __init__(self) -> None:
        self.threads: Any = Threads()
        self.system: Any = lambda *_: [V4, OTHER, V6]
        self.asked: list[tuple[Any, ...]] = []
        self.resolver = NameResolver(Reactor(), self.threads, self.ask)

    def ask(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        return self.system(*arguments)

    def look_for(self, host: str, port: int = 5000, **how: Any) -> Receiver:
        receiver = Receiver()
        self.resolver.resolveHostName(receiver, host, port, **how)
        return receiver


class Receiver:
    def __init__(self) -> None:
        self.found: list[Any] = []
        self.begun: Any = None
        self.complete = False

    def resolutionBegan(self, resolution: Any) -> None:
        self.begun = resolution

    def addressResolved(self, address: Any) -> None:
        assert not self.complete
        self.found.append(address)

    def resolutionComplete(self) -> None:
        assert not self.complete
        self.complete = True


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_it_is_what_twisted_wants(desk: Desk) -> None:
    assert verifyObject(IHostnameResolver, desk.resolver)


def test_a_host_has_the_addresses_that_the_system_says(desk: Desk) -> None:
    receiver = desk.look_for("sealos.hub")
    assert receiver.begun.name == "sealos.hub"
    assert not receiver.complete
    desk.threads.run()
    assert receiver.found == [
        IPv4Address("TCP", "192.0.2.7", 5000),
        IPv6Address("TCP", "2001:db8::7", 5000),
    ]
    assert receiver.complete
    assert desk.asked == [("sealos.hub", 0, socket.AF_UNSPEC, socket.SOCK_STREAM)]


def test_who_wants_one_kind_of_address_gets_no_other(desk: Desk) -> None:
    receiver = desk.look_for("sealos.hub", addressTypes=[IPv6Address], transportSemantics="UDP")
    desk.threads.run()
    assert receiver.found == [IPv6Address("UDP", "2001:db8::7", 5000)]
    assert desk.asked[0][3] == socket.SOCK_DGRAM


def test_a_name_that_is_being_asked_for_needs_no_second_thread(desk: Desk) -> None:
    first, second = desk.look_for("sealos.hub", 80), desk.look_for("Sealos.HUB", 443)
    other = desk.look_for("harbor.corp")
    assert len(desk.threads.begun) == 2
    desk.threads.run()
    assert [one.found[0].port for one in (first, second, other)] == [80, 443, 5000]
    desk.look_for("sealos.hub")
    assert len(desk.threads.begun) == 1, "nothing is remembered"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.9", IPv4Address("TCP", "192.0.2.9", 5000)),
        ("2001:db8::9", IPv6Address("TCP", "2001:db8::9", 5000)),
    ],
)
def test_an_address_needs_no_thread(desk: Desk, host: str, address: Any) -> None:
    receiver = desk.look_for(host)
    assert (receiver.found, receiver.complete) == ([address], True)
    assert desk.threads.begun == []


@pytest.mark.parametrize("host", ["127.1", "fe80::1%lo"])
def test_what_only_the_system_understands_is_left_to_it(desk: Desk, host: str) -> None:
    desk.look_for(host)
    assert len(desk.threads.begun) == 1


@pytest.mark.parametrize(
    "problem", [socket.gaierror(-2, "unknown"), UnicodeError("too long"), ValueError("null")]
)
def test_a_host_that_cannot_be_found_has_no_addresses_and_may_be_asked_for_again(
    desk: Desk, problem: Exception
) -> None:
    def fail(*_: object) -> None:
        raise problem

    system, desk.system = desk.system, fail
    receiver = desk.look_for("missing.corp")
    desk.threads.run()
    assert (receiver.found, receiver.complete) == ([], True)
    desk.system = system
    receiver = desk.look_for("missing.corp")
    desk.threads.run()
    assert len(receiver.found) == 2


def test_a_thread_that_cannot_be_had_is_a_host_that_cannot_be_found(desk: Desk) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    desk.threads.callInThreadWithCallback = refuse
    receiver = desk.look_for("sealos.hub")
    assert (receiver.found, receiver.complete) == ([], True)


# Real threads

RUN = """
import json, socket, sys, threading
from image_cri_shim.bridge import install_reactor
install_reactor()
from twisted.internet import reactor

system = socket.getaddrinfo
def getaddrinfo(host, *rest, **more):
    if host.endswith(".dead"):
        threading.Event().wait()
    return system(host, *rest, **more)
socket.getaddrinfo = getaddrinfo

{install}

class Receiver:
    def resolutionBegan(self, resolution): pass
    def addressResolved(self, address): self.host = address.host
    def resolutionComplete(self):
        print(json.dumps(self.host))
        reactor.stop()

def ask():
    for n in range(31):
        for _ in range(3):
            reactor.nameResolver.resolveHostName(Receiver(), f"{{n}}.dead", 80)
    reactor.nameResolver.resolveHostName(Receiver(), "127.1", 80)

reactor.callWhenRunning(ask)
reactor.run()
"""
NAMES = "from image_cri_shim.registry.names import install_names; install_names(reactor)"
DAEMON = """
from image_cri_shim.config import Config
from image_cri_shim.fingerprint import Files
from image_cri_shim.service import make_shim_service
make_shim_service(Config(), Config, Files(tuple), reactor, seen=b"")
"""


@pytest.mark.parametrize("install", [NAMES, DAEMON], ids=["alone", "daemon"])
def test_dead_names_neither_starve_others_nor_keep_the_program_from_ending(install: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RUN.format(install=install)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout) == "127.0.0.1"


COMMAND = """
import socket, threading
socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
from image_cri_shim.cli.reactor import run_reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

def begin(reactor):
    HostnameEndpoint(reactor, "harbor.dead", 80).connect(Factory())
    return deferLater(reactor, 0.1, str, "done")

print(run_reactor(begin))
"""


def test_a_command_ends_although_a_name_is_still_looked_for() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert (ended.stdout, ended.returncode, ended.stderr) == ("done\n", 0, "")
