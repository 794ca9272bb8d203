"""Changes of the configuration are noticed by themselves, however the files are replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.processes import wait_until
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

NO_REGISTRY = 'address: ""'
RUNS = "reload: the new configuration runs"
# Nothing of what is noticed here is noticed by looking now and then.
NO_POLLING = f"{NO_REGISTRY}\nreloadInterval: 0"


def content(shim: Daemon, timeout: str) -> str:
    """Return a configuration file's text."""
    directory = shim.directory / "state"
    return (
        f"shim: {shim.socket}\ncri: {shim.cri}\nimage: {directory}\n"
        f"{NO_POLLING}\ntimeout: {timeout}\n"
    )


def write(file: Path, text: str) -> None:
    file.write_text(text)


def rename_over(file: Path, text: str) -> None:
    new = file.with_name("4913")
    new.write_text(text)
    new.rename(file)


def keep_a_copy(file: Path, text: str) -> None:
    # As editors do that leave file~ behind: for a moment there is no file.
    file.rename(f"{file}~")
    file.write_text(text)


def delete_and_write(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


def make_a_link(file: Path, text: str) -> None:
    target = file.with_name("elsewhere")
    target.mkdir(exist_ok=True)
    (target / "shim.yaml").write_text(text)
    file.unlink()
    file.symlink_to("elsewhere/shim.yaml")


@pytest.mark.parametrize(
    "replace", [write, rename_over, keep_a_copy, delete_and_write, make_a_link]
)
def test_a_changed_file_runs_without_anybody_asking(
    start_daemon: StartDaemon, standin: StandinRuntime, replace: Callable[[Path, str], None]
) -> None:
    shim = start_daemon(standin.socket, NO_POLLING)
    for minutes in (3, 4):
        shim.forget_log()
        replace(shim.file, content(shim, f"{minutes}m"))
        log = shim.wait_for(RUNS)
        assert f"reload: Timeout: {'15m0s' if minutes == 3 else '3m0s'} -> {minutes}m0s" in log
        assert "refused" not in log


def test_a_config_map_that_is_replaced_is_noticed(
    make_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = make_daemon(standin.socket, NO_POLLING)
    mount = shim.directory / "mount"

    def publish(version: str, timeout: str) -> None:
        """Replace everything at once, as the kubelet does."""
        data = mount / f"..{version}"
        data.mkdir(parents=True)
        (data / "image-cri-shim.yaml").write_text(content(shim, timeout))
        (mount / "..data_tmp").symlink_to(data.name)
        (mount / "..data_tmp").rename(mount / "..data")

    publish("2026_1", "3m")
    (mount / "image-cri-shim.yaml").symlink_to("..data/image-cri-shim.yaml")
    shim.file.unlink()
    shim.file.symlink_to(mount / "image-cri-shim.yaml")
    shim.start()
    for number in (2, 3, 4):
        shim.forget_log()
        publish(f"2026_{number}", f"{number + 2}m")
        shutil.rmtree(mount / f"..2026_{number - 1}")
        assert f"-> {number + 2}m0s" in shim.wait_for(RUNS)


def test_a_drop_in_that_comes_and_goes_is_noticed(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_POLLING)
    directory = shim.file.with_suffix(".d")
    for _ in range(2):
        shim.forget_log()
        directory.mkdir()
        (directory / "50-tool.yaml").write_text("registries: [{address: 'https://hub.corp'}]\n")
        assert "reload: Registries: none -> hub.corp (priority 500)" in shim.wait_for(RUNS)
        shim.forget_log()
        (directory / "50-tool.yaml").rename(directory / "50-tool.yaml.off")
        assert "reload: Registries: hub.corp (priority 500) -> none" in shim.wait_for(RUNS)
        shutil.rmtree(directory)


def test_where_nothing_tells_of_changes_they_are_looked_for(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, f"{NO_REGISTRY}\nreloadInterval: 200ms")
    with shim.file.open("a") as file:
        # It stays open, so that no event says that it has been written.
        file.write("timeout: 3m\n")
        file.flush()
        assert "-> 3m0s" in shim.wait_for(RUNS)


def test_a_bad_file_changes_nothing_and_the_log_says_since_when(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_POLLING)
    shim.forget_log()
    write(shim.file, content(shim, "soon"))
    log = shim.wait_for("reload: refused")
    assert f"reload: {shim.file}:6:10: timeout: expected a duration" in log
    assert "(the files have been wrong since 20" in log
    shim.forget_log()
    write(shim.file, content(shim, "9m"))
    assert "-> 9m0s" in shim.wait_for(RUNS)


def test_a_file_that_is_written_again_with_the_same_content_changes_nothing(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    shim = start_daemon(standin.socket, NO_POLLING)
    text = shim.file.read_text()
    shim.forget_log()
    for _ in range(3):
        rename_over(shim.file, text)
    # A later change is noticed, and it alone.
    rename_over(shim.file, content(shim, "3m"))
    shim.wait_for(RUNS)
    assert wait_until(lambda: len(shim.lines("reload: the new")) == 1, 5)
    assert len(shim.lines("reload: Timeout")) == 1


def test_what_changed_never_shows_a_password(
    start_daemon: StartDaemon, standin: StandinRuntime
) -> None:
    secrets = ("first-Secret-1", "second-Secret-2")
    shim = start_daemon(standin.socket, f"auth: admin:{secrets[0]}")
    text = shim.file.read_text()
    shim.forget_log()
    rename_over(shim.file, text.replace(*secrets))
    assert "reload: Password: changed" in shim.wait_for(RUNS)
    assert all(secret not in shim.text() for secret in secrets)
