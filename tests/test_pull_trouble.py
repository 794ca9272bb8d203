"""What an operator is told of pulls that failed: what was found where, and what to do first."""

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
    only,
    pull,
    pulls,
    registry,
    tried,
)

HUB, HARBOR = "sealos.hub:5000", "harbor.corp"
ORIGIN = (
    'UNKNOWN: failed to pull and unpack image "docker.io/lab/x:1": failed to resolve reference '
    '"docker.io/lab/x:1": failed to do request: Head '
    '"https://registry-1.docker.io/v2/lab/x/manifests/1": dial tcp'
)
UNREACHED = {
    ": lookup registry-1.docker.io on 10.0.0.1:53: no such host": "no such host",
    " 10.1.1.1:443: connect: connection refused": "connection refused",
    " 10.1.1.1:443: i/o timeout": "i/o timeout",
    " 10.1.1.1:443: connect: network is unreachable": "network is unreachable",
}
PLAIN_HTTP = (
    'UNKNOWN: failed to pull and unpack image "harbor.corp/lab/x:1": failed to resolve reference '
    '"harbor.corp/lab/x:1": unexpected status from HEAD request to '
    "http://harbor.corp/v2/lab/x/manifests/1: 400 Bad Request"
)


def failed(*look_ups: Document, **more: object) -> Document:
    """Return a pull of which the origin, too, could not be reached."""
    error = ORIGIN + next(iter(UNREACHED))
    fields = {"error": error, "attempts": [tried("docker.io", error)], **more}
    return pull(3, lookUps=list(look_ups), **fields)


@pytest.mark.parametrize("words", UNREACHED)
def test_an_image_that_no_registry_has_is_to_be_pushed_where_the_origin_is_out_of_reach(
    words: str,
) -> None:
    error = ORIGIN + words
    one = failed(asked(HUB, "absent", "404"), error=error, attempts=[tried("docker.io", error)])
    found = only(pulls(one))
    assert found["what"] == (
        f"found in none of your registries ({HUB}: absent (404)); "
        f"its origin docker.io cannot be reached: {UNREACHED[words]}"
    )
    assert found["cure"] == (
        "Push the image to one of these registries, or let the node reach its origin."
    )


def test_a_proxy_that_is_out_of_reach_is_named() -> None:
    error = ORIGIN.replace("dial", "proxyconnect tcp: dial") + " 10.9.9.9:3128: connect: refused"
    error += ": connection refused"
    one = failed(asked(HUB, "absent", "404"), error=error, attempts=[tried("docker.io", error)])
    assert "proxyconnect tcp: dial tcp 10.9.9.9:3128" in str(only(pulls(one))["what"])


def test_a_registry_that_is_down_is_told_before_an_origin_that_is_out_of_reach() -> None:
    found = only(pulls(failed(asked(HARBOR, "unknown", "503"), asked(HUB, "absent", "404"))))
    assert found["what"] == (
        f"{HARBOR}: unknown (503); {HUB}: absent (404); "
        "its origin docker.io cannot be reached: no such host"
    )
    assert found["cure"] == "The registry itself fails, or a proxy in front of it: read its log."


def test_an_origin_that_rules_let_be_asked_has_no_address_to_correct() -> None:
    origin = registry("docker.io", configured=False, lastOutcome="unknown")
    origin |= {"lastDetail": "no such host"}
    found = only(healthy(registries=[origin]))
    assert found["cure"] == (
        "Push the image to one of your registries, or let the node reach its origin."
    )


def test_a_registry_of_ones_own_still_has_one() -> None:
    image = "harbor.corp/lab/x:1"
    error = f'UNKNOWN: failed to pull and unpack image "{image}": dial tcp: no such host'
    one = pull(3, image, error=error, attempts=[tried(HARBOR, error)])
    assert "correct it in `address`" in str(only(pulls(one))["cure"])


def test_without_registries_only_the_origin_can_help() -> None:
    one = failed()
    document = healthy(registries=[], pulls={"failures": [one], "recent": [one]})
    found = only(document)
    assert found["what"] == "its origin docker.io cannot be reached: no such host"
    assert str(found["cure"]).startswith("Let the node reach its origin")


def test_where_a_registry_had_the_image_nothing_is_advised_about_the_origin() -> None:
    for error, cure in (
        (PLAIN_HTTP, '`server = "https://harbor.corp"`'),
        ("UNKNOWN: something new", ""),
    ):
        one = failed(asked(HARBOR, "present"))
        one["attempts"] = [tried(HARBOR, error), *one["attempts"]]
        words = str(only(pulls(one))["cure"])
        assert cure in words
        assert "DNS" not in words
        assert "origin" not in words
        # Nor where the origin answers and refuses.
        one["attempts"][1] = tried("docker.io", "UNKNOWN: pull access denied: 401 Unauthorized")
        assert "imagePullSecrets" not in str(only(pulls(one))["cure"])


def down(**more: object) -> Document:
    return failed(asked(HARBOR, "unknown", "connection refused"), **more)


def node(one: Document, asked_at: float, outcome: str = "present", **more: object) -> Document:
    known = registry(HARBOR, lastAskedAt=moment(asked_at), lastOutcome=outcome)
    return healthy(registries=[known], pulls={"failures": [one], "recent": [one]}, **more)


def test_a_registry_that_answers_again_leaves_a_note_and_no_old_cure() -> None:
    found = only(node(down(), NOW - 10))
    assert found["what"] == f"failed before {HARBOR} answered again: pull it again to see"
    assert (found["cure"], found["severity"]) == ("", "note")
    assert state([found]) == "ok"
    # Its answer is from before the failure; or it is none.
    for document in (node(down(), NOW - 58), node(down(), NOW - 10, "unknown")):
        assert problems(document)[-1]["severity"] == "degraded"


def test_a_registry_that_answers_again_mends_nothing_that_is_the_runtimes() -> None:
    one = down(attempts=[tried(HARBOR, X509)])
    found = only(node(one, NOW - 10))
    assert "certs.d/harbor.corp/hosts.toml" in str(found["cure"])


def test_a_configuration_that_was_loaded_since_leaves_a_note_and_no_old_cure() -> None:
    later = CONFIGURATION | {"changedAt": moment(NOW - 20)}
    found = only(node(down(), NOW - 58, configuration=later))
    what = str(found["what"])
    assert what.startswith("failed before the configuration changed (20")
    assert what.endswith("): pull it again to see")
    assert (found["cure"], found["severity"]) == ("", "note")
    earlier = CONFIGURATION | {"changedAt": moment(NOW - 57)}
    assert only(node(down(), NOW - 58, configuration=earlier))["severity"] == "degraded"
