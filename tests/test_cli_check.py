"""What `check` says of a configuration without asking any registry."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from image_cri_shim.cli.check_report import Report, as_object, summary
from image_cri_shim.cli.configuration import Source, read_configuration
from image_cri_shim.cli.main import main
from image_cri_shim.config import Config
from image_cri_shim.decision import Registry
from image_cri_shim.errors import ConfigError, Problem
from image_cri_shim.registry.probe import Probe
from tests.support.certificates import self_signed

Check = Callable[..., tuple[int, str, str]]
BROKEN = "adress: http://sealos.hub:5000\ndebug: maybe\nregistries:\n- auth: x\n"


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Return a function that checks a configuration: status, standard output and error."""

    def run(config: str, *arguments: str) -> tuple[int, str, str]:
        (tmp_path / "c.yaml").write_text(config)
        with pytest.raises(SystemExit) as ended:
            main(["check", *arguments, str(tmp_path / "c.yaml")])
        told = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    return run


def test_everything_that_is_wrong_is_said_at_once_with_its_place(
    check: Check, tmp_path: Path
) -> None:
    status, out, err = check(BROKEN)
    with pytest.raises(ConfigError) as refused:
        read_configuration(str(tmp_path / "c.yaml"))
    # As the daemon says it.
    assert (status, out, err) == (1, "", f"{refused.value}\n")
    places = [line.removeprefix(f"{tmp_path}/c.yaml:").split(": ")[:2] for line in err.splitlines()]
    assert ["1:1", "adress"] in places
    assert ["2:8", "debug"] in places
    assert len(places) >= 4


def test_a_good_one_is_summed_up_in_the_order_in_which_registries_are_asked(
    check: Check, tmp_path: Path
) -> None:
    config = """
registries:
- {address: b.corp, priority: 1}
- {address: a.corp, prefix: hub, keepHost: true, priority: 2000}
rules:
- {match: quay.io, registries: [b.corp]}
"""
    assert check(config) == (
        0,
        f"""{tmp_path}/c.yaml: ok, 3 registries, 1 rule
  1  a.corp/hub       priority 2000
  2  sealos.hub:5000  priority 1000  offline
  3  b.corp           priority 1
""",
        "",
    )


def test_a_configuration_without_registries_is_good_too(check: Check, tmp_path: Path) -> None:
    assert check("address: ''")[:2] == (0, f"{tmp_path}/c.yaml: ok, 0 registries, 0 rules\n")


def test_a_warning_is_said_and_changes_nothing(check: Check, tmp_path: Path) -> None:
    status, out, err = check("address: https://hub.corp\noffline: {insecureSkipVerify: true}")
    assert (status, out.split("\n")[0]) == (0, f"{tmp_path}/c.yaml: ok, 1 registry, 0 rules")
    assert err.startswith(f"{tmp_path}/c.yaml: warning: registry hub.corp: ")
    assert len(err.splitlines()) == 1


def test_files_that_are_not_there_are_named_with_their_keys(check: Check, tmp_path: Path) -> None:
    config = f"""
address: https://hub.corp
offline: {{caFile: {tmp_path}/none.pem}}
registries:
- {{address: a.corp}}
- {{address: b.corp, authFile: {tmp_path}/none.json, certFile: {tmp_path}/none.crt}}
"""
    status, out, err = check(config)
    assert status == 1
    assert "ok" not in out
    assert err.splitlines() == [
        f"{tmp_path}/c.yaml: offline.caFile: cannot use {tmp_path}/none.pem: no such file",
        f"{tmp_path}/c.yaml: registries[1].authFile: cannot use {tmp_path}/none.json: no such file",
        f"{tmp_path}/c.yaml: registries[1].certFile: cannot use {tmp_path}/none.crt: no such file",
    ]


def test_files_that_are_something_else_are_named(check: Check, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path / "one", "a.corp")
    _, other = self_signed(tmp_path / "two", "a.corp")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "auth.json").write_text('{"auths": {"a.corp": {"auth": "geheim"}}}')
    (tmp_path / "auth.json").chmod(0o600)
    for settings, key_name, why in (
        (f"caFile: {tmp_path}/text", "caFile", "no certificate in it"),
        (f"caFile: {tmp_path}", "caFile", "directory"),
        (f"authFile: {tmp_path}/text", "authFile", "no JSON object"),
        (f"authFile: {tmp_path}/auth.json", "authFile", "user:password in base64"),
        (f"certFile: {certificate}", "certFile", "no private key in it"),
        (f"certFile: {certificate}, keyFile: {tmp_path}/text", "keyFile", "no private key in it"),
        (f"certFile: {certificate}, keyFile: {other}", "keyFile", "does not belong"),
    ):
        status, _, err = check(f"registries: [{{address: a.corp, {settings}}}]")
        (line,) = err.splitlines()
        assert status == 1
        assert line.startswith(f"{tmp_path}/c.yaml: registries[0].{key_name}: cannot use ")
        assert why in line
        assert "geheim" not in line
    good = f"caFile: {certificate}, certFile: {certificate}, keyFile: {key}"
    assert check(f"registries: [{{address: a.corp, {good}}}]")[0] == 0


def test_a_login_file_without_this_registry_is_warned_of(check: Check, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"auths": {"other.corp": {"auth": "YTpnZWhlaW0="}}}')
    file.chmod(0o600)
    entries = (f"{{address: {host}, authFile: {file}}}" for host in ("hub.corp", "other.corp"))
    status, _, err = check(f"address: ''\nregistries: [{', '.join(entries)}]")
    assert (status, err) == (
        0,
        f"{tmp_path}/c.yaml: warning: registry hub.corp: {file} has no usable credentials for it "
        "(`auth`, `username` with `password`, or `identitytoken`), so it is asked anonymously\n",
    )


def test_the_file_may_be_named_as_other_commands_name_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("address: ''")
    with pytest.raises(SystemExit) as ended:
        main(["check", "-c", str(file)])
    assert (ended.value.code, capsys.readouterr().out) == (
        0,
        f"{file}: ok, 0 registries, 0 rules\n",
    )
    with pytest.raises(SystemExit) as ended:
        main(["check", str(file), "-c", str(file)])
    assert ended.value.code == 2
    assert "expected one file to check, found two" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path / "none")])
    assert ended.value.code == 1
    assert "there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["check", ""], ["check", "-c", ""]])
def test_a_file_without_a_name_is_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "expected the name of a file, found nothing" in capsys.readouterr().err


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_hyphen_is_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    standard_input(monkeypatch, "\ufeffaddress: hub.corp # \u00fc\n".encode())
    with pytest.raises(SystemExit) as ended:
        main(["check", "-"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("<stdin>: ok, 1 registry, ")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"debug: maybe", "<stdin>:1:8: debug: "),
        (b"debug: true\nimage: \xff", "<stdin>:2:8: found a byte that is not UTF-8"),
        (b"# " + "ü".encode() * (1 << 19), "<stdin>: it is larger than 1024 KiB"),
    ],
)
def test_standard_input_is_refused_as_a_file_is(
    monkeypatch: pytest.MonkeyPatch, data: bytes, expected: str
) -> None:
    standard_input(monkeypatch, data)
    with pytest.raises(ConfigError) as refused:
        read_configuration("-")
    assert str(refused.value).startswith(expected)


def test_without_a_file_it_is_the_daemons_or_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "default.yaml"
    source = read_configuration(None, default=str(file))
    assert (source.name, source.config) == (str(file), Config())
    assert source.note == f"{file} does not exist; the defaults apply"
    file.write_text("debug: true")
    assert read_configuration(None, default=str(file)) == Source(
        str(file), Config(debug=True), files=(str(file),)
    )
    # One that was named must be there.
    with pytest.raises(ConfigError):
        read_configuration(str(tmp_path / "none"))


def test_machines_get_problems_with_their_places(check: Check, tmp_path: Path) -> None:
    status, out, err = check("debug: maybe", "--json")
    told = json.loads(out)
    (problem,) = told.pop("problems")
    assert (status, err) == (1, "")
    message = problem.pop("message")
    assert "expected" in message
    file = f"{tmp_path}/c.yaml"
    assert problem == {"file": file, "line": 1, "column": 8, "key": "debug"}
    assert told == {
        "file": file,
        "files": [file],
        "ok": False,
        "warnings": [],
        "registries": [],
        "rules": 0,
    }


def test_machines_get_registries_in_order(check: Check) -> None:
    status, out, err = check("registries: [{address: a.corp, priority: 2000}]", "--json")
    told = json.loads(out)
    assert (status, err, told["ok"], told["problems"]) == (0, "", True, [])
    assert told["registries"] == [
        {
            "name": "a.corp",
            "url": "https://a.corp",
            "priority": 2000,
            "offline": False,
            "probe": None,
        },
        {
            "name": "sealos.hub:5000",
            "url": "http://sealos.hub:5000",
            "priority": 1000,
            "offline": True,
            "probe": None,
        },
    ]


def probed(**settings: object) -> Report:
    config = Config(offline=None, registries=(Registry("a.corp"),))
    values = {"reachable": True, "tls": "verified", "authentication": "accepted", **settings}
    probe = Probe(config.registries[0], elapsed=0.0126, **values)  # type: ignore[arg-type]
    return Report("f", config, probes=(probe,))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"scheme": "bearer"}, "can be used  TLS verified  bearer accepted  13 ms"),
        (
            {"tls": "none", "authentication": "none needed"},
            "can be used  plain http  no authentication  13 ms",
        ),
        (
            {"authentication": "refused", "scheme": "basic", "detail": "401 wrong credentials"},
            "cannot be used  TLS verified  basic refused  13 ms  401 wrong credentials",
        ),
        (
            {"reachable": False, "tls": "unknown", "authentication": "unknown", "detail": "x\x1b"},
            "cannot be reached  TLS unknown  authentication unknown  13 ms  x",
        ),
        (
            {
                "reachable": False,
                "tls": "unknown",
                "authentication": "unknown",
                "detail": "TLS: certificate verify failed",
            },
            "cannot be used  TLS unknown  authentication unknown  13 ms  "
            "TLS: certificate verify failed",
        ),
    ],
)
def test_each_registry_that_was_tried_is_one_line(
    settings: dict[str, object], expected: str
) -> None:
    _, line = summary(probed(**settings))
    assert line == f"  1  a.corp  priority 500    {expected}"


def test_machines_get_what_came_of_trying() -> None:
    registries = as_object(probed(scheme="basic", authentication="refused"))["registries"]
    assert isinstance(registries, list)
    assert registries[0]["probe"] == {
        "usable": False,
        "reachable": True,
        "tls": "verified",
        "authentication": "refused",
        "scheme": "basic",
        "detail": None,
        "seconds": 0.0126,
    }


def test_a_file_problem_leaves_the_summary_but_not_the_ok() -> None:
    report = Report("f", Config(offline=Registry("a.corp")), (Problem("f", 0, 0, "k", "m"),))
    assert next(summary(report)) == "f: 1 registry, 0 rules"
    assert as_object(report)["problems"] == [
        {"file": "f", "line": None, "column": None, "key": "k", "message": "m"}
    ]
