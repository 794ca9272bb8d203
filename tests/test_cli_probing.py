"""All registries tried at the same time, whatever one of them does."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, FirstError

from image_cri_shim.cli.probing import probe_all
from image_cri_shim.config import Config
from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Registry
from image_cri_shim.registry.probe import Probe
from tests.registry.network import Network


def test_one_that_breaks_everything_is_not_usable_and_the_others_are_what_they_are() -> None:
    network = Network()
    odd = Registry("odd.corp", credentials=Credentials("u", "\ud800"), plain_http=True)
    nonsense = Registry("", plain_http=True)
    broken: Any = Registry("broken.corp", timeout="soon")  # type: ignore[arg-type]
    dead = Registry("dead.corp:1", plain_http=True)
    registries = (odd, nonsense, broken, dead)
    results: list[list[Probe]] = []
    config = Config(offline=None, registries=registries)
    probe_all(registries, config, network.reactor).addCallback(results.append)
    network.reactor.pump([1] * 30)
    (probes,) = results
    assert [one.registry for one in probes] == list(registries)
    assert not any(one.usable for one in probes)
    assert probes[2].detail == "failed: TypeError"
    assert probes[3].detail == "no such host"


def test_when_nobody_waits_any_more_everything_ends() -> None:
    network = Network()
    network.swallow("a.corp")
    registries = (Registry("a.corp", plain_http=True),)
    probing = probe_all(registries, Config(offline=None, registries=registries), network.reactor)
    failures: list[Any] = []
    probing.addErrback(failures.append)
    probing.cancel()
    assert failures[0].check(FirstError, CancelledError)
    assert network.reactor.getDelayedCalls() == []
