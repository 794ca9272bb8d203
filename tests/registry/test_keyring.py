from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from image_cri_shim.credentials import Credentials, identity
from image_cri_shim.decision import Registry
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.keyring import Keyring
from tests.registry.network import fired, result_of
from tests.registry.processes import Machine, install

USER = Credentials("robot", "s3cret")
ENTRY = {"username": "robot", "password": "s3cret"}


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def keyring(machine: Machine) -> Keyring:
    return Keyring(machine, 600.0)


@pytest.fixture
def registry(tmp_path: Path) -> Callable[..., Registry]:
    """Return what makes a registry whose credentials are in a file."""
    path = tmp_path / "config.json"

    def make(content: Any = None, domain: str = "harbor.corp", **settings: Any) -> Registry:
        if content is not None:
            path.write_text(json.dumps(content))
        return Registry(domain, auth_file=str(path), **settings)

    return make


@pytest.fixture(autouse=True)
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        install(tmp_path / "bin", name)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def failure_of(keyring: Keyring, registry: Registry) -> Unanswered:
    with pytest.raises(Unanswered) as caught:
        result_of(keyring.credentials(registry))
    return caught.value


# From the configuration and from files


def test_credentials_in_the_configuration_come_first(keyring: Keyring, tmp_path: Path) -> None:
    registry = Registry("h.corp", credentials=USER, auth_file=str(tmp_path / "missing.json"))
    assert result_of(keyring.credentials(registry)) == USER
    keyring.forget(registry)
    assert result_of(keyring.credentials(registry)) == USER


def test_a_registry_may_have_none(keyring: Keyring) -> None:
    assert result_of(keyring.credentials(Registry("harbor.corp"))) is None
    keyring.forget(Registry("harbor.corp"))


def test_the_entry_for_a_registry_and_its_prefix_is_taken(
    keyring: Keyring, registry: Callable[..., Registry]
) -> None:
    team = {"identitytoken": "ey.J"}
    plain = registry({"auths": {"harbor.corp": ENTRY, "https://harbor.corp/v2/team": team}})
    assert result_of(keyring.credentials(plain)) == USER
    assert result_of(keyring.credentials(registry(prefix="team"))) == identity("ey.J")
    assert result_of(keyring.credentials(registry(domain="other.corp"))) is None


def test_a_file_that_has_changed_is_read_again(
    keyring: Keyring, registry: Callable[..., Registry]
) -> None:
    assert result_of(keyring.credentials(registry({"auths": {"harbor.corp": ENTRY}}))) == USER
    changed = registry({"auths": {"harbor.corp": {**ENTRY, "password": "another one"}}})
    assert result_of(keyring.credentials(changed)) == Credentials("robot", "another one")


def test_a_file_that_cannot_be_used_is_named_and_not_the_registrys_fault(
    keyring: Keyring, registry: Callable[..., Registry], tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    problem = failure_of(keyring, registry())
    assert problem.detail == f"cannot use {path}: no such file"
    keyring.forget(registry())
    path.write_text('{"auths": s3cret')
    problem = failure_of(keyring, registry())
    assert problem.detail == f"cannot use {path}: no JSON object"
    problem = failure_of(keyring, registry({"auths": {"harbor.corp": {"auth": "s3cret"}}}))
    assert problem.detail == (
        f"cannot use {path}: `auth` of its entry 'harbor.corp' is not user:password in base64"
    )
    # And mended, it is used at once.
    assert result_of(keyring.credentials(registry({"auths": {"harbor.corp": ENTRY}}))) == USER


# From helpers


def test_a_helper_is_asked_for_the_server(
    keyring: Keyring, registry: Callable[..., Registry], machine: Machine, tmp_path: Path
) -> None:
    asking = keyring.credentials(registry({"credsStore": "one"}, "harbor.corp:8443", prefix="team"))
    program = machine.program
    assert program.arguments[-2:] == [str(tmp_path / "bin" / "docker-credential-one"), "get"]
    assert (program.input, program.input_closed) == (b"harbor.corp:8443", True)
    assert program.environment is None, "which means ours"
    assert not fired(asking)
    program.answers("robot", "s3cret")
    assert result_of(asking) == USER
    assert machine.getDelayedCalls() == []


def test_a_helper_may_answer_with_an_identity_token(
    keyring: Keyring, registry: Callable[..., Registry], machine: Machine
) -> None:
    asking = keyring.credentials(registry({"credsStore": "one"}))
    machine.program.answers("<token>", "ey.J")
    assert result_of(asking) == identity("ey.J")


def test_an_answer_holds_for_its_time(
    keyring: Keyring, registry: Callable[..., Registry], machine: Machine
) -> None:
    harbor = registry({"credsStore": "one"})
    for secret in ("first", "second"):
        asking = keyring.credentials(harbor)
        machine.program.answers("robot", secret)
        assert result_of(asking) == Credentials("robot", secret)
        machine.advance(599.75)
        assert result_of(keyring.credentials(harbor)) == Credentials("robot", secret)
        machine.advance(0.25)
    assert len(machine.programs) == 2


def test_a_time_of_zero_asks_every_time(
    registry: Callable[..., Registry], machine: Machine
) -> None:
    keyring = Keyring(machine, 0.0)
    for _ in range(2):
        asking = keyring.credentials(registry({"credsStore": "one"}))
        machine.program.answers("robot", "s3cret")
        assert result_of(asking) == USER
    assert len(machine.programs) == 2


def test_a_forgotten_answer_is_asked_for_anew_and_no_other(
    keyring: Keyring, registry: Callable[..., Registry], machine: Machine
) -> None:
    content = {"credsStore": "one"}
    for domain in ("harbor.corp", "quay.corp"):
        keyring.credentials(registry(content, domain))
        machine.program.answers("robot", "s3cret")
    keyring.forget(registry(domain="harbor.corp"))
    assert result_of(keyring.credentials(registry(domain="quay.corp"))) == USER
    asking = keyring.credentials(registry(domain="harbor.corp"))
    assert not fired(asking)
    machine.program.answers("robot", "fresh")
    assert result_of(asking) == Credentials("robot", "fresh")


def test_who_asks_at_the_same_time_shares_a_program(
    keyring: Keyring, registry: Callable[..., Registry], machine: Machine
) -> None:
    harbor = registry({"credsStore": "one", "credHelpers": {"quay.corp": "two"}})
    asking = [keyring.credentials(harbor) for _ in range(5)]
    asking.append(keyring.credentials(registry(prefix="team")))
    other = keyring.credentials(registry(domain="quay.corp"))
    one, two = machine.programs
    two.answers("other", "s3cret")
    one.answers("robot", "s3cret")
    assert [result_of(each) for each in asking] == [USER] * 6
    assert result_of(other) == Credentials("other", "s3cret")


def test_a_program_is_ended_when_the_last_who_asked_has_given_up(
    keyring: Keyring, registry: Callable[..., Registry], machine: Machine
) -> None:
    first, second = (keyring.credentials(registry({"credsStore": "one"})) for _ in range(2))
    first.cancel()
    assert not machine.program.killed
    second.cancel()
    assert machine.program.killed
    assert machine.program.let_go
    for each in (first, second):
        with pytest.raises(CancelledError):
            result_of(each)
    machine.program.ends(signal=9)
    assert machine.getDelayedCalls() == []
    # It has answered nothing, so the next one asks again.
    keyring.credentials(registry())
    assert len(machine.programs) == 2


def test_that_a_helper_has_nothing_is_an_answer(
    keyring: Keyring, registry: Callable[..., Registry], machine: Machine
) -> None:
    asking = keyring.credentials(registry({"credsStore": "one", "auths": {"harbor.corp": ENTRY}}))
    machine.program.says(b"credentials not found in native keychain\n").ends(status=1)
    assert result_of(asking) is None
    assert result_of(keyring.credentials(registry())) is None
    assert len(machine.programs) == 1


WHY = "credential helper docker-credential-one: failed with exit status 3"


def fails(keyring: Keyring, registry: Registry, machine: Machine) -> None:
    """Let a helper be asked, and fail."""
    asking = keyring.credentials(registry)
    assert not fired(asking)
    machine.program.ends(status=3)
    with pytest.raises(Unanswered):
        result_of(asking)


def test_a_helper_that_has_failed_is_left_alone_for_longer_and_longer(
    keyring: Keyring, registry: Callable[..., Registry], machine: Machine
) -> None:
    harbor = registry({"credsStore": "one"})
    for delay in (5, 10, 20, 40, 80, 160, 300, 300):
        fails(keyring, harbor, machine)
        count = len(machine.programs)
        for _ in range(2):
            assert failure_of(keyring, harbor).detail == WHY
            machine.advance((delay - 0.5) / 2)
        assert len(machine.programs) == count
        machine.advance(0.5)
    asking = keyring.credentials(harbor)
    machine.program.answers("robot", "s3cret")
    assert result_of(asking) == USER


def test_after_a_success_failures_are_counted_anew(
    registry: Callable[..., Registry], machine: Machine
) -> None:
    keyring = Keyring(machine, 0.0)
    harbor = registry({"credsStore": "one"})
    for _ in range(2):
        fails(keyring, harbor, machine)
        machine.advance(5)
        asking = keyring.credentials(harbor)
        machine.program.answers("robot", "s3cret")
        assert result_of(asking) == USER


def test_that_a_helper_has_failed_is_not_forgotten_for_a_refusal(
    keyring: Keyring, registry: Callable[..., Registry], machine: Machine
) -> None:
    harbor = registry({"credsStore": "one"})
    fails(keyring, harbor, machine)
    keyring.forget(harbor)
    assert failure_of(keyring, harbor).detail == WHY
    assert len(machine.programs) == 1


def test_a_helper_that_hangs_is_waited_for_once(
    keyring: Keyring, registry: Callable[..., Registry], machine: Machine
) -> None:
    harbor = registry({"credsStore": "one"})
    asking = keyring.credentials(harbor)
    machine.advance(10)
    for waiting in (asking, keyring.credentials(harbor)):
        with pytest.raises(Unanswered, match="no answer within 10s") as caught:
            result_of(waiting)
        assert caught.value.timed_out
    assert len(machine.programs) == 1


@pytest.mark.parametrize(("seconds", "left_alone"), [(4.75, False), (5.0, True)])
def test_a_helper_that_was_given_up_after_long_has_failed(
    keyring: Keyring,
    registry: Callable[..., Registry],
    machine: Machine,
    seconds: float,
    left_alone: bool,
) -> None:
    harbor = registry({"credsStore": "one"})
    asking = keyring.credentials(harbor)
    machine.advance(seconds)
    asking.cancel()
    with pytest.raises(CancelledError):
        result_of(asking)
    again = keyring.credentials(harbor)
    assert fired(again) is left_alone
    if left_alone:
        with pytest.raises(Unanswered, match="docker-credential-one: no answer within 5s"):
            result_of(again)


def test_other_helpers_and_servers_are_asked_meanwhile(
    keyring: Keyring, registry: Callable[..., Registry], machine: Machine
) -> None:
    content = {"credsStore": "one", "credHelpers": {"quay.corp": "two"}}
    fails(keyring, registry(content), machine)
    for domain in ("quay.corp", "other.corp"):
        asking = keyring.credentials(registry(domain=domain))
        machine.program.answers("robot", "s3cret")
        assert result_of(asking) == USER
