from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from tests.registry.authority import Authority
from tests.registry.network import Network
from tests.registry.token_server import TokenServer


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def server(network: Network) -> TokenServer:
    return TokenServer(network)


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def nothing_goes_wrong_unseen() -> Iterator[None]:
    """Fail a test that leaves a Deferred's failure to nobody, or makes Twisted log a traceback."""
    failures: list[Any] = []

    def observe(event: Any) -> None:
        if event.get("log_failure") is not None:
            failures.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    yield
    gc.collect()
    globalLogPublisher.removeObserver(observe)
    assert not failures, "\n".join(failures)
