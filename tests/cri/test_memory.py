"""The memory of what was pulled as what: in its file in time, and never in a pull's way."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from image_cri_shim import state_file
from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.memory import Memory
from image_cri_shim.decision import Registry
from image_cri_shim.originals import Record
from image_cri_shim.state_file import NAME
from tests.cri.image_store import ImageStore
from tests.cri.scripted import ScriptedUpstream, UpstreamCall, reply
from tests.cri.shim import IMAGES, Shim

NGINX = "docker.io/library/nginx:1"
HUB_NGINX = "hub.corp/library/nginx:1"
HARBOR_NGINX = "harbor.corp/library/nginx:1"
ID = "sha256:" + "ab" * 32

MakeShim = Callable[..., Shim]


def held_in(directory: Path) -> list[str]:
    return [record.held for record in state_file.read(str(directory))]


class TestOrder:
    names = (HUB_NGINX, HARBOR_NGINX, "nginx:1")

    def test_without_a_memory_it_is_the_policys(self) -> None:
        assert Memory().in_order("nginx:1", self.names) == self.names

    @pytest.mark.parametrize("image", ["nginx:1", NGINX, "library/nginx:1"])
    def test_what_was_held_last_comes_first(self, image: str) -> None:
        memory = Memory()
        memory.remember("nginx:1", HARBOR_NGINX)
        names = (HUB_NGINX, HARBOR_NGINX, image)
        assert memory.in_order(image, names) == (HARBOR_NGINX, HUB_NGINX, image)

    def test_what_was_pulled_before_the_restart_does_too(self) -> None:
        memory = Memory()
        memory.originals.restore([Record(HARBOR_NGINX, ID, (NGINX,))])
        assert memory.in_order("nginx:1", self.names) == (HARBOR_NGINX, HUB_NGINX, "nginx:1")

    def test_so_does_what_was_pulled_under_another_configuration(self) -> None:
        memory = Memory()
        memory.originals.restore([Record("old.corp/library/nginx:1", ID, (NGINX,))])
        assert memory.in_order("nginx:1", self.names) == ("old.corp/library/nginx:1", *self.names)

    def test_what_was_only_found_under_another_configuration_does_not(self) -> None:
        memory = Memory()
        memory.remember("nginx:1", "old.corp/library/nginx:1")
        assert memory.in_order("nginx:1", self.names) == self.names

    def test_what_was_pulled_as_it_was_written_is_no_id(self) -> None:
        memory = Memory()
        names = ("hub.corp/library/cafe:latest", "cafe")
        memory.remember("cafe", "cafe")
        assert memory.in_order("cafe", names) == names
        restarted = Memory()
        name = "docker.io/library/cafe:latest"
        restarted.originals.restore([Record(name, ID, (name,))])
        assert restarted.in_order("cafe", names) == names

    def test_what_is_no_reference_is_only_itself(self) -> None:
        memory = Memory()
        memory.remember("UPPER", "other")
        assert memory.in_order("UPPER", ("UPPER",)) == ("UPPER",)

    def test_it_does_not_grow_without_end(self) -> None:
        memory = Memory(limit=2)
        for number in range(3):
            memory.remember(f"quay.io/a/b:{number}", f"far.corp/a/b:{number}")
        for number, first in ((0, "hub"), (1, "far"), (2, "far")):
            names = (f"hub.corp/a/b:{number}", f"far.corp/a/b:{number}")
            assert memory.in_order(f"quay.io/a/b:{number}", names)[0].startswith(first)


def test_without_a_directory_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def use() -> None:
        memory = Memory()
        memory.load()
        memory.originals.note(NGINX, HUB_NGINX)
        assert memory.save() is None
        await memory.saved()

    asyncio.run(use())
    assert os.listdir(tmp_path) == []


def test_what_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    async def use() -> None:
        memory = Memory(str(tmp_path))
        memory.originals.note(NGINX, HUB_NGINX)
        await memory.saved()
        (tmp_path / NAME).unlink()
        memory.originals.note(NGINX, HUB_NGINX)
        await memory.saved()
        again = Memory(str(tmp_path))
        again.load()
        await again.saved()

    asyncio.run(use())
    assert os.listdir(tmp_path) == []


def test_what_changes_while_it_is_written_is_written_too(tmp_path: Path) -> None:
    async def use() -> None:
        memory = Memory(str(tmp_path))
        for number in range(50):
            memory.originals.note(f"quay.io/a:{number}", f"hub.corp/a:{number}")
            memory.save()
            await asyncio.sleep(0)
        await memory.saved()
        assert len(held_in(tmp_path)) == 50

    asyncio.run(use())


def test_it_moves_to_another_directory_with_all_that_it_knows(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    state_file.write(str(other), [Record(HARBOR_NGINX, ID, (NGINX,))])

    async def use() -> Memory:
        memory = Memory(str(one))
        memory.originals.note("quay.io/a:1", "hub.corp/a:1")
        await memory.saved()
        memory.move(str(one))
        memory.move(str(other))
        await memory.saved()
        return memory

    memory = asyncio.run(use())
    assert memory.originals.held(NGINX) == HARBOR_NGINX
    assert held_in(other) == [HARBOR_NGINX, "hub.corp/a:1"]
    assert held_in(one) == ["hub.corp/a:1"]


@pytest.mark.parametrize("damaged", [False, True])
def test_it_moves_in_the_middle_of_writing_and_loses_nothing(tmp_path: Path, damaged: bool) -> None:
    if damaged:
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / NAME).write_text("damaged")

    async def use() -> None:
        memory = Memory(str(tmp_path / "one"))
        memory.originals.note(NGINX, HUB_NGINX)
        memory.save()
        # Now the thread writes.
        await asyncio.sleep(0)
        memory.move(str(tmp_path / "other"))
        await memory.saved()
        await memory.saved()

    asyncio.run(use())
    assert held_in(tmp_path / "other") == [HUB_NGINX]


def test_a_disk_that_hangs_keeps_a_pull_waiting_for_so_long_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        hangs.wait(20)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)

    async def use() -> None:
        memory = Memory(str(tmp_path))
        memory.originals.note(NGINX, HUB_NGINX)
        try:
            async with asyncio.timeout(10):
                await memory.saved()
        finally:
            hangs.set()
        await memory.saved()

    asyncio.run(use())
    assert held_in(tmp_path) == [HUB_NGINX]


@pytest.fixture
def store(upstream: ScriptedUpstream) -> ImageStore:
    store = ImageStore(upstream)
    store.content = {f"hub.corp/a/b:{number}": str(number) for number in range(40)}
    return store


@pytest.fixture
def make(upstream: ScriptedUpstream, make_shim: MakeShim, tmp_path: Path) -> MakeShim:
    def start(state: Path | None = None) -> Shim:
        registries = [Registry("hub.corp", offline=True)]
        path = str(state or tmp_path / "state")
        return make_shim(upstream.path, registries=registries, original_names="only", state=path)

    return start


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "image_cri_shim.cri.memory"]


def test_it_is_in_the_file_before_the_client_knows_of_the_pull(
    make: MakeShim, store: ImageStore, tmp_path: Path
) -> None:
    client = make().client()
    for number in range(5):
        client.pull(f"quay.io/a/b:{number}")
        assert f"hub.corp/a/b:{number}" in held_in(tmp_path / "state")


def test_concurrent_pulls_are_all_in_it(make: MakeShim, store: ImageStore, tmp_path: Path) -> None:
    client = make().client()
    calls = []
    for number in range(40):
        image = cri_pb2.ImageSpec(image=f"quay.io/a/b:{number}")
        request = cri_pb2.PullImageRequest(image=image)
        calls.append(client.start(f"{IMAGES}PullImage", request.SerializeToString(), timeout=30))
    for call in calls:
        call.result()
    held = [f"hub.corp/a/b:{number}" for number in range(40)]
    assert set(held) <= set(held_in(tmp_path / "state"))


def test_another_process_takes_up_where_this_one_was(make: MakeShim, store: ImageStore) -> None:
    make().client().pull("quay.io/a/b:1")
    found = make().client().image_status("quay.io/a/b:1")
    assert found is not None
    assert list(found.repo_tags) == ["quay.io/a/b:1"]


def test_what_goes_is_out_of_the_file(make: MakeShim, store: ImageStore, tmp_path: Path) -> None:
    shim = make()
    client = shim.client()
    client.pull("quay.io/a/b:1")
    client.remove_image("quay.io/a/b:1")
    client.list_images()
    shim.background.run(shim.memory.saved())
    assert held_in(tmp_path / "state") == []


def in_the_way(state: Path, what: str) -> None:
    if what == "a file":
        state.write_text("")
        return
    state.mkdir()
    if what == "a directory":
        (state / NAME).mkdir()
    elif what == "a directory for the new one":
        (state / f".{NAME}.new").mkdir()


@pytest.mark.parametrize("what", ["a file", "a directory", "a directory for the new one"])
def test_what_cannot_be_written_is_one_warning_and_the_pulls_go_on(
    make: MakeShim,
    store: ImageStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    state = tmp_path / "state"
    in_the_way(state, what)
    client = make().client()
    for number in range(3):
        client.pull(f"quay.io/a/b:{number}")
    tags = [tag for image in client.list_images() for tag in image.repo_tags]
    assert tags == [f"quay.io/a/b:{number}" for number in range(3)]
    writing = [one for one in warnings(caplog) if "cannot write" in one]
    (warning,) = writing
    assert warning.startswith(f"cannot write {state / NAME}: ")
    assert warning.endswith("; what images were pulled as is known until the restart only")
    assert len(warnings(caplog)) == (2 if what == "a directory" else 1)


def test_what_can_be_written_again_is(
    make: MakeShim, store: ImageStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    in_the_way(state, "a file")
    client = make().client()
    client.pull("quay.io/a/b:1")
    state.unlink()
    client.pull("quay.io/a/b:2")
    assert {"hub.corp/a/b:1", "hub.corp/a/b:2"} <= set(held_in(state))
    (state / NAME).unlink()
    state.rmdir()
    in_the_way(state, "a file")
    client.pull("quay.io/a/b:3")
    assert len(warnings(caplog)) == 2, "it is told again when it fails again"


@pytest.mark.parametrize("content", [b"", b"not ours", b"\0" * 100])
def test_a_damaged_file_is_one_warning_and_a_new_beginning(
    make: MakeShim,
    store: ImageStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / NAME).write_bytes(content)
    client = make().client()
    client.pull("quay.io/a/b:1")
    assert "hub.corp/a/b:1" in held_in(state)
    (warning,) = warnings(caplog)
    assert "is set aside as" in warning
    assert (state / f"{NAME}.bad").read_bytes() == content


def test_a_pull_that_fails_is_not_remembered(
    make: MakeShim, store: ImageStore, tmp_path: Path
) -> None:
    client = make().client()
    with pytest.raises(grpc.RpcError):
        client.pull("quay.io/a/b:none")
    assert not (tmp_path / "state").exists()


def test_what_is_gone_while_it_is_pulled_again_is_remembered(
    make: MakeShim, store: ImageStore, upstream: ScriptedUpstream, event: asyncio.Event
) -> None:
    """The list was told before the pull, and is heard after it."""
    shim = make()
    client = shim.client()
    client.pull("quay.io/a/b:1")
    asked = threading.Event()

    async def late(call: UpstreamCall) -> None:
        await call.request()
        asked.set()
        await event.wait()
        await reply(b"")(call)

    upstream.scripts["ListImages"] = late
    listing = client.start(f"{IMAGES}ListImages", b"", timeout=30)
    assert asked.wait(10)
    client.pull("quay.io/a/b:1")
    shim.background.call(event.set)
    listing.result()
    assert shim.memory.originals.of("hub.corp/a/b:1") == ("quay.io/a/b:1",)
