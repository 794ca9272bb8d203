"""The benchmarks work: their client, their runtime, the yardstick, and what they write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from benchmarks import frames, report
from benchmarks.burden import Burden, burden
from benchmarks.cases import (
    BARE,
    DIRECT,
    EVENTS,
    LIST_IMAGES,
    SHIM,
    VERSION,
    Case,
    Result,
    Sample,
    by_grpcio,
    each_new,
    events,
    image_status,
    measure,
    pull_image,
    repeated,
)
from benchmarks.load import CallFailed, Connection, Method, drive, fan_out
from benchmarks.onlooker import PATHS, Onlooker
from benchmarks.ways import Program, bare_proxy, null_runtime, shim
from tests.support import admin_client
from tests.support.cri_client import CRI
from tests.support.daemon import Daemon
from tests.support.processes import wait_until

pytestmark = pytest.mark.integration

IMAGES, EACH = 300, 2000
IMAGE = "nginx:1.25"
METHODS = [VERSION, LIST_IMAGES, EVENTS, image_status("nginx"), pull_image("nginx")]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with null_runtime(tmp_path_factory.mktemp("null"), IMAGES, EACH) as running:
        yield running


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, runtime: Program) -> Iterator[Program]:
    with bare_proxy(tmp_path_factory.mktemp("bare"), runtime.socket) as running:
        yield running


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory, runtime: Program) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("shim")
    with shim(directory / "s", runtime.socket, "http://127.0.0.1:9") as running:
        yield running.socket


def test_another_grpc_client_understands_the_null_runtime(runtime: Program) -> None:
    with CRI(runtime.socket) as client:
        for _ in range(3):
            assert client.version().runtime_name == "null"
            assert client.image_status("nginx").id.startswith("sha256:")
            assert len(client.list_images()) == IMAGES
            assert client.pull("nginx").startswith("sha256:")
            assert len(client.stream(EVENTS.path)) == EACH
        unknown = client.raw("/runtime.v1.RuntimeService/Attach")
        assert unknown.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.path.rpartition("/")[2])
def test_every_way_answers_the_load_with_the_same_bytes(
    runtime: Program, bare: Program, through: str, method: Method
) -> None:
    sizes = set()
    for socket in (runtime.socket, bare.socket, through):
        with Connection(socket, method) as connection:
            runs = [drive(connection, width=width, count=40) for width in (1, 8)]
        assert [len(run.took) for run in runs] == [40, 40]
        sizes |= {run.messages for run in runs}
    assert len(sizes) == 1


def test_streams_that_are_read_at_the_same_time_are_read_to_their_ends(
    runtime: Program, through: str
) -> None:
    sizes = []
    for socket in (runtime.socket, through):
        connections = [Connection(socket, EVENTS) for _ in range(4)]
        run = fan_out(connections)
        for connection in connections:
            connection.close()
        assert len(run.took) == 4
        sizes.append(run.messages)
    assert sizes[0] == sizes[1] > 4 * EACH * 64


def test_a_call_that_fails_is_no_figure(runtime: Program) -> None:
    with Connection(runtime.socket, Method("/runtime.v1.RuntimeService/Attach", b"")) as connection:
        with pytest.raises(CallFailed, match="no message"):
            drive(connection, count=1)


def test_frames_may_come_in_pieces() -> None:
    sent = [frames.frame(frames.DATA, 1, 3, b"abc"), frames.frame(frames.PING, 0, 0, b"12345678")]
    splitter = frames.Splitter()
    found = [one for byte in b"".join(sent) for one in splitter.split(bytes([byte]))]
    assert found == [(frames.DATA, 1, 3, b"abc"), (frames.PING, 0, 0, b"12345678")]


def test_every_kind_of_case_is_measured_in_every_round_on_every_way(
    runtime: Program, bare: Program, through: str
) -> None:
    ways = {DIRECT: runtime.socket, SHIM: through, BARE: bare.socket}
    fresh = ((f"direct/{number}:1", f"through/{number}:1") for number in range(12))
    cases = [
        repeated("repeated", 4, image_status("direct"), image_status("through")),
        by_grpcio("grpcio", "direct", "through"),
        each_new("new", 2, fresh),
        events("events", 2, EACH),
    ]
    for case in cases:
        result = measure(case, ways, rounds=2, seconds=0.02)
        assert {way: len(samples) for way, samples in result.samples.items()} == dict.fromkeys(
            ways, 2
        )
        assert all(sample.p50 > 0 and sample.rate > 0 for sample in result.samples[SHIM])
    # The names that the shim was asked for are the shim's.
    assert next(fresh, None) is None


def test_what_a_shim_costs_is_measured(tmp_path: Path, runtime: Program) -> None:
    one = burden(tmp_path / "b", runtime.socket, "asyncio", calls=2000, starts=1, idle=0.1)
    assert set(one.cpu) == {1, 16}
    assert 10_000_000 < one.before <= one.after * 1.1
    assert len(one.listening) == 1
    assert 0 <= one.idle < 1


# What is written; no process


def result(name: str, width: int, **samples: list[tuple[float, float]]) -> Result:
    ways = {DIRECT: samples["direct"], SHIM: samples["shim"], BARE: samples["bare"]}
    case = Case(name, width, lambda *_: Sample(1, 1))
    return Result(case, {way: [Sample(*pair) for pair in each] for way, each in ways.items()})


def light(**changes: float) -> Burden:
    values = {"after": 50_000_000, "idle": 0.0, **changes}
    return Burden(
        cpu={1: 0.5, 16: 0.25},
        before=49_000_000,
        calls=100,
        listening=[0.5, 0.3, 0.4],
        idle_seconds=60,
        **values,  # type: ignore[arg-type]
    )


def test_a_ratio_is_the_median_of_the_rounds_ratios_with_their_ends() -> None:
    one = result(
        "Version",
        1,
        direct=[(0.001, 1000), (0.002, 500), (0.001, 1000)],
        shim=[(0.003, 333), (0.004, 250), (0.005, 200)],
        bare=[(0.004, 250), (0.004, 250), (0.004, 250)],
    )
    row = report.results_table([one]).splitlines()[2]
    assert row == (
        "| Version | 1 | 1.00 ms | 4.00 ms | 3.0 (2.0–5.0) | 4.00 ms | 4.0 (2.0–4.0) "
        "| 1,000, 250, 250 |"
    )


@pytest.mark.parametrize(
    ("shim_p50", "rate", "changes", "met"),
    [
        (0.004, 2000, {}, [True, True, True, True]),
        (0.0041, 1999, {"after": 60_000_001}, [False, False, False, True]),
        (0.001, 1000, {"idle": 0.001}, [True, True, True, False]),
    ],
)
def test_targets_are_met_up_to_their_limits(
    shim_p50: float, rate: float, changes: dict[str, float], met: list[bool]
) -> None:
    bare = 501.0 if rate == 2000 else rate / 2 + (rate == 1999)
    real = [
        result(report.TARGETED, 1, direct=[(0.001, 1)], shim=[(shim_p50, 1)], bare=[(1, 1)]),
        result(report.IMAGE_STATUS, 16, direct=[(0.001, 1)], shim=[(1, rate)], bare=[(1, bare)]),
    ]
    judged = report.targets(real, light(**changes))
    assert [one.met for one in judged] == met
    assert report.target_table(judged).count("**missed**") == met.count(False)


def test_without_a_real_runtime_its_targets_are_unknown() -> None:
    judged = report.targets([], light())
    assert [one.met for one in judged] == [None, None, True, True]
    assert "unknown" in report.target_table(judged)


def test_the_burden_has_a_column_for_each_event_loop() -> None:
    text = report.burden_table({"asyncio": light(), "uvloop": light(idle=0.0005)})
    assert "| from the start to a listening socket | 0.40 s (worst 0.50) |" in text
    assert "| 0.000 % | 0.050 % |" in text


def test_only_what_is_between_the_marks_of_a_document_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.write_section(document, "new\n")
        assert document.read_text() == (f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n")
    document.write_text("no marks")
    with pytest.raises(SystemExit, match="no lines"):
        report.write_section(document, "new")


def test_the_manual_has_a_place_for_the_figures() -> None:
    manual = (Path(__file__).parents[1] / "docs" / "performance.md").read_text()
    assert manual.count(report.BEGIN) == manual.count(report.END) == 1


def test_figures_name_no_directory_and_no_host() -> None:
    import socket

    text = report.machine("containerd 1.6.20")
    assert "/" not in text
    assert socket.gethostname() not in text


def test_somebody_looks_at_everything_and_follows_what_is_pulled(
    runtime: Program, tmp_path: Path
) -> None:
    def pulled(shim: Daemon) -> int:
        return admin_client.ask(shim.admin, "/status")[1]["pulls"]["pulled"]

    config = "address: http://127.0.0.1:9"
    with Daemon(tmp_path, cri=runtime.socket, config=config) as shim:
        with Onlooker(shim.admin, shim.socket, IMAGE, 0.01) as onlooker:
            assert wait_until(lambda: pulled(shim) > len(PATHS), 30)
        assert onlooker.looks > len(PATHS)
        assert onlooker.followed > len(PATHS)
