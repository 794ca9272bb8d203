"""What an operator is told is wrong with a node, from its status document."""

from __future__ import annotations

import pytest

from image_cri_shim.diagnosis import problems, state
from image_cri_shim.pull_record import moment
from tests.support.node_status import (
    CONFIGURATION,
    NOW,
    X509,
    Document,
    asked,
    healthy,
    nowhere,
    only,
    pull,
    pulls,
    registry,
    tried,
)

PAUSE = (
    'failed to get sandbox image "registry.k8s.io/pause:3.6": failed to pull image '
    '"registry.k8s.io/pause:3.6": failed to pull and unpack image "registry.k8s.io/pause:3.6": '
    'failed to resolve reference "registry.k8s.io/pause:3.6": failed to do request: Head '
    '"https://registry.k8s.io/v2/pause/manifests/3.6": dial tcp: lookup registry.k8s.io: '
    "no such host"
)


def test_a_node_that_is_well_has_no_problem() -> None:
    assert problems(healthy()) == []
    assert state([]) == "ok"


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("the runtime's socket /r.sock does not exist (is the runtime running?)", "set `cri`"),
        ("nobody listens on the runtime's socket /r.sock (the runtime is down)", "Start the run"),
        ("the runtime's socket /r.sock may not be opened (permission denied)", "root"),
        ("the runtime at /r.sock does not answer (a new connection was given 5 s)", "restart it"),
        ("no container runtime's socket was found (is the runtime running?)", "set `cri`"),
        (
            "the runtime's socket /r.sock cannot be reached: it is the shim's own socket",
            "own socket",
        ),
        (
            "a new connection to the runtime at /r.sock is of no use: HTTP status 404",
            "something else",
        ),
    ],
)
def test_a_runtime_that_is_away_fails_the_node_and_is_told_first(words: str, cure: str) -> None:
    runtime = {"connected": False, "state": words, "since": moment(NOW - 30)}
    document = healthy(runtime=runtime, history={"path": "", "state": "the disk is full"})
    first, second = problems(document)
    assert (first["about"], first["what"]) == ("runtime", words)
    assert first["since"] == moment(NOW - 30)
    assert cure in str(first["cure"])
    assert (first["severity"], second["severity"]) == ("failing", "degraded")
    assert state([second, first]) == "failing"


def test_a_socket_that_cannot_be_served_degrades_and_none_at_all_fails() -> None:
    found = only(healthy(socketTrouble="/run/x.sock is served by process 12"))
    assert (found["about"], found["severity"]) == ("socket", "degraded")
    assert found["what"] == "/run/x.sock is served by process 12"
    assert only(healthy(sockets=[]))["severity"] == "failing"
    assert only(healthy(sockets=[], socketTrouble="it is taken"))["severity"] == "failing"


@pytest.mark.parametrize(
    ("why", "cure"),
    [
        ("/etc/image-cri-shim.yaml:3:1: adress: unknown key", "Correct the file"),
        ("/etc/image-cri-shim.yaml:1:10: this file is a template that", "Render the template"),
    ],
)
def test_a_configuration_that_is_refused_is_told_with_where_and_since_when(
    why: str, cure: str
) -> None:
    document = healthy(
        configuration=CONFIGURATION | {"current": False, "refusedSince": moment(NOW), "why": why}
    )
    found = only(document)
    assert found["about"] == "configuration"
    assert found["what"] == f"it is refused, the one before runs: {why}"
    assert found["since"] == moment(NOW)
    assert cure in str(found["cure"])
    assert state([found]) == "degraded"


def test_a_registry_that_is_left_alone_is_told_with_the_reason() -> None:
    condition = {"breaker": "open", "detail": "timed out after 10s", "retryInSeconds": 3.2}
    condition |= {"failingSince": moment(NOW - 300)}
    found = only(healthy(registries=[registry("harbor.corp", lastOutcome="unknown", **condition)]))
    assert found["about"] == "registry harbor.corp"
    assert found["what"] == "left alone, tried again in 4 s: timed out after 10s"
    assert "firewall" in str(found["cure"])
    assert found["since"] == moment(NOW - 300)


@pytest.mark.parametrize(
    ("detail", "cure"),
    [
        ("401 wrong credentials", "Correct `auth`"),
        ("TLS: certificate verify failed: self-signed certificate", "`caFile`"),
        ("no such host", "DNS"),
    ],
)
def test_a_registry_that_could_not_answer_is_told_with_what_to_change(
    detail: str, cure: str
) -> None:
    one = registry("harbor.corp", lastOutcome="unknown", lastDetail=detail)
    found = only(healthy(registries=[one]))
    assert found["what"] == f"could not say what it has: {detail}"
    assert cure in str(found["cure"])


@pytest.mark.parametrize("when", [None, moment(NOW - 3700)])
def test_a_registry_that_was_not_asked_for_an_hour_is_no_problem(when: str | None) -> None:
    one = registry("harbor.corp", lastOutcome="unknown", lastDetail="404", lastAskedAt=when)
    assert problems(healthy(registries=[one])) == []


def test_an_image_that_nobody_has_is_told_with_who_was_asked() -> None:
    found = only(pulls(nowhere(3), nowhere(2)))
    assert found["about"] == "image lab/x:1"
    assert found["what"] == (
        "failed 2 times, found nowhere: sealos.hub:5000: absent (404); docker.io: not found"
    )
    assert found["since"] == nowhere(2)["began"]
    assert "image-cri-shim resolve IMAGE" in str(found["cure"])


def test_an_image_that_was_pulled_since_is_no_problem() -> None:
    assert problems(pulls(pull(4), nowhere(3), nowhere(2))) == []
    assert len(problems(pulls(nowhere(5), pull(4), nowhere(3)))) == 1
    assert only(pulls(pull(4, "other"), nowhere(3)))["about"] == "image lab/x:1"


def test_a_pull_that_failed_more_than_an_hour_ago_is_no_problem() -> None:
    assert problems(pulls({**nowhere(3), "began": moment(NOW - 3601)})) == []


def test_a_pull_that_its_client_gave_up_is_no_problem() -> None:
    assert problems(pulls(pull(3, error="cancelled"))) == []


def test_a_pull_that_failed_because_the_runtime_was_away_is_not_the_images_fault() -> None:
    away = "UNAVAILABLE: image-cri-shim: the runtime's socket /r.sock does not exist"
    assert problems(pulls(pull(3, error=away, attempts=[tried("docker.io", away)]))) == []


def test_an_image_is_found_nowhere_only_if_everybody_could_say_so() -> None:
    missing = tried("docker.io", "NOT_FOUND: docker.io/lab/x:1: not found")
    unknown = asked("sealos.hub:5000", "unknown", "timed out after 10s")
    one = pull(3, error=missing["error"], lookUps=[unknown], attempts=[missing])
    found = only(pulls(one))
    assert found["what"] == "sealos.hub:5000: unknown (timed out after 10s); docker.io: not found"
    assert "firewall" in str(found["cure"])


def test_a_cure_is_told_once() -> None:
    detail = "401 wrong credentials"
    broken = registry("harbor.corp", lastOutcome="unknown", lastDetail=detail)
    one = pull(
        3,
        error="UNKNOWN: 401 Unauthorized",
        lookUps=[asked("harbor.corp", "unknown", detail)],
        attempts=[tried("harbor.corp", "UNKNOWN: 401 Unauthorized")],
    )
    document = healthy(registries=[broken], pulls={"failures": [one], "recent": [one]})
    first, second = problems(document)
    assert "Correct `auth`" in str(first["cure"])
    assert second["what"] == (
        "harbor.corp: unknown (401 wrong credentials), "
        "and the runtime cannot pull it: 401 Unauthorized"
    )
    assert second["cure"] == "The same as for registry harbor.corp."


def test_images_that_fail_for_the_same_reason_are_told_together() -> None:
    found = only(pulls(*(nowhere(number, f"lab/x:{number}") for number in (5, 4, 3, 2, 1))))
    assert found["about"] == "images lab/x:5, lab/x:4, lab/x:3 and 2 more"


def test_a_runtime_without_the_ca_is_told_apart_from_a_shim_without_it() -> None:
    by_runtime = pull(
        2,
        error=X509,
        lookUps=[asked("harbor.corp", "present")],
        attempts=[tried("harbor.corp", X509)],
    )
    found = only(pulls(by_runtime))
    assert found["what"] == (
        "harbor.corp: has it, but the runtime cannot pull it: "
        "x509: certificate signed by unknown authority"
    )
    assert "certs.d/harbor.corp/hosts.toml" in str(found["cure"])
    assert "`caFile`" not in str(found["cure"])
    detail = "TLS: certificate verify failed: self-signed certificate"
    by_shim = {**by_runtime, "lookUps": [asked("harbor.corp", "unknown", detail)]}
    cure = str(only(pulls(by_shim))["cure"])
    assert "`caFile`" in cure
    assert "certs.d/harbor.corp/hosts.toml" in cure


def test_a_registry_that_is_passed_over_by_the_runtime_is_told_though_the_pull_succeeded() -> None:
    record = pull(
        2,
        lookUps=[asked("harbor.corp", "present")],
        attempts=[tried("harbor.corp", X509), tried("docker.io")],
    )
    found = only(pulls(record))
    assert found["about"] == "registry harbor.corp"
    assert found["what"] == (
        "the runtime cannot pull from it: x509: certificate signed by unknown authority "
        "(lab/x:1 came from docker.io)"
    )
    assert "certs.d/harbor.corp/hosts.toml" in str(found["cure"])
    # Once it can, that is over.
    cured = pull(3, attempts=[tried("harbor.corp")], registry="harbor.corp")
    assert problems(pulls(cured, record)) == []


def test_what_a_rule_forbids_is_told_with_the_rule() -> None:
    error = (
        "image-cri-shim: lab/x:1 not found on sealos.hub:5000 (404); "
        "origin not allowed by rule 2 (docker.io)"
    )
    reason = "sealos.hub:5000: absent (404), 4 ms; origin not allowed by rule 2 (docker.io)"
    one = pull(2, error=error, reason=reason, lookUps=[asked("sealos.hub:5000", "absent", "404")])
    found = only(pulls(one))
    assert found["what"] == (
        "found nowhere: sealos.hub:5000: absent (404); origin not allowed by rule 2 (docker.io)"
    )
    assert "`originAllowed`" in str(found["cure"])


def test_what_a_rule_leaves_alone_is_told_with_the_rule() -> None:
    error = 'UNKNOWN: failed to do request: Head "https://docker.io/v2/": dial tcp: no such host'
    one = pull(
        2,
        error=error,
        reason="origin, left alone by *:latest of rule 1 (*)",
        attempts=[tried("docker.io", error)],
    )
    found = only(pulls(one))
    assert found["what"] == (
        "left alone by *:latest of rule 1 (*); its origin docker.io cannot be reached: no such host"
    )
    assert str(found["cure"]).startswith("This rule keeps the shim from asking")
    assert "DNS" not in str(found["cure"])


def test_a_pull_that_ended_before_anything_was_tried_is_told_in_its_own_words() -> None:
    found = only(pulls(pull(2, "x@y", error="UNKNOWN: failed to parse image reference")))
    assert found["what"] == "failed to parse image reference"
    assert "correct it in the pod" in str(found["cure"])


def test_the_pause_image_is_named_when_no_pod_can_start() -> None:
    call = {"method": "RunPodSandbox", "code": "UNKNOWN", "message": PAUSE}
    calls = [{**call, "at": moment(NOW - 10)}, {**call, "at": moment(NOW - 70)}]
    found = only(healthy(failedCalls=calls))
    assert found["about"] == "pause image registry.k8s.io/pause:3.6"
    assert "past the shim" in str(found["cure"])
    assert "`sandbox_image`" in str(found["cure"])
    assert "no such host" in str(found["what"])
    assert "failed 2 times" in str(found["what"])
    assert found["since"] == moment(NOW - 70)


def test_other_calls_that_fail_on_the_node_are_told_and_what_pods_do_is_not() -> None:
    full = "mkdir /x: no space left on device"

    def failed(method: str, code: str, seconds: float = 10, said: str = full) -> Document:
        return {"at": moment(NOW - seconds), "method": method, "code": code, "message": said}

    found = only(healthy(failedCalls=[failed("RunPodSandbox", "UNKNOWN")]))
    assert found["about"] == "call RunPodSandbox"
    assert found["what"] == "failed, UNKNOWN: mkdir /x: no space left on device"
    assert "disk is full" in str(found["cure"])
    for one in (
        failed("ExecSync", "UNKNOWN"),
        failed("ListImages", "UNAVAILABLE", said="image-cri-shim: nobody listens"),
        failed("RunPodSandbox", "UNKNOWN", 601),
    ):
        assert problems(healthy(failedCalls=[one])) == []


@pytest.mark.parametrize(
    ("images", "rest", "what", "severity"),
    [
        (0, 0, "no client has called since the start", "degraded"),
        (0, 9, "pulls go past the shim", "degraded"),
        (9, 0, "calls about images come here, and none about pods", "note"),
    ],
)
def test_a_kubelet_that_does_not_call_here_is_told_once_it_should_have(
    images: int, rest: int, what: str, severity: str
) -> None:
    document = healthy(clients={"imageCalls": images, "runtimeCalls": rest})
    found = only(document)
    assert (found["about"], found["severity"]) == ("kubelet", severity)
    assert what in str(found["what"])
    document["program"]["uptimeSeconds"] = 59.0
    assert problems(document) == []


def test_what_is_only_to_be_known_does_not_degrade_a_node() -> None:
    assert state(problems(healthy(clients={"imageCalls": 9, "runtimeCalls": 0}))) == "ok"


def test_what_degrades_a_node_is_told_before_what_is_only_to_be_known() -> None:
    document = healthy(
        clients={"imageCalls": 9, "runtimeCalls": 0}, history={"path": "/x", "state": "full"}
    )
    assert [one["severity"] for one in problems(document)] == ["degraded", "note"]


def test_an_admin_interface_that_is_not_where_it_should_be_is_told_and_harms_no_node() -> None:
    trouble = "the admin interface is not at 127.0.0.1:80: cannot listen on it"
    advice = "; free that port, or set `adminListen` to another one"
    document = healthy(admin={"addresses": [], "trouble": trouble + advice})
    found = only(document)
    assert (found["about"], found["what"]) == ("admin interface", trouble)
    assert str(found["cure"]).startswith("Free that port, or set `adminListen` to another one.")
    assert state(problems(document)) == "ok"


def test_a_history_that_cannot_be_kept_is_told_and_one_that_is_off_is_not() -> None:
    found = only(healthy(history={"path": "/x", "state": "no space left on device"}))
    assert (found["about"], found["what"]) == ("history", "no space left on device")
    assert problems(healthy(history={"path": "", "state": "off"})) == []
