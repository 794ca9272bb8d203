"""What the log says of pulls."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, eventAsText

from image_cri_shim.call_identity import CallIdentity, Client
from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import (
    Attempt,
    Candidate,
    Decision,
    LookUp,
    Outcome,
    Pull,
    Registry,
)
from image_cri_shim.policy import Policy
from image_cri_shim.pull_book import PullBook
from image_cri_shim.pull_log import PullLog
from image_cri_shim.reason import explain
from image_cri_shim.redaction import Redactor

OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
HARBOR = Registry("harbor.corp")
FIRST, SECOND, ORIGIN = Policy([OFFLINE, HARBOR]).candidates("nginx:1.25")
PRESENT, ABSENT, UNKNOWN = Outcome.PRESENT, Outcome.ABSENT, Outcome.UNKNOWN
WHO = CallIdentity("4f1c-12")
NOT_FOUND = "NOT_FOUND: no such manifest"


def text_of(event: LogEvent) -> str:
    """Return a line without its end, which says whose pull it is."""
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    assert text.endswith(" [4f1c-12]")
    return text.removesuffix(" [4f1c-12]")


class Lines(list[LogEvent]):
    """The events of a log, and the log that they come from."""

    def __init__(self) -> None:
        super().__init__()
        self.book = PullBook(Clock(), lambda: 0.0)
        self.book.watch(PullLog(Logger(namespace="test", observer=self.append)).note)

    def decided(self, image: str, decision: Decision) -> None:
        self.book.began(image, WHO).decided(decision)

    def ended(self, pull: Pull) -> None:
        self.book.began(pull.image, WHO).ended(pull)

    @property
    def text(self) -> str:
        (event,) = self
        return text_of(event)

    @property
    def level(self) -> object:
        (event,) = self
        return event["log_level"]


def attempt(candidate: Candidate, error: str = "") -> Attempt:
    return Attempt(candidate, error, 0.5)


def test_a_decision_is_one_line_with_its_reason() -> None:
    lines = Lines()
    decision = Decision((FIRST, ORIGIN), (LookUp(FIRST, PRESENT),), 0.0123)
    lines.decided("nginx:1.25", decision)
    assert lines.text == (
        "PullImage nginx:1.25 -> sealos.hub:5000/library/nginx:1.25 (offline, present, 12 ms)"
    )
    assert lines.level == LogLevel.info


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (
            Decision((SECOND,), (LookUp(FIRST, ABSENT, "404"), LookUp(SECOND, PRESENT)), 0.2),
            "registry, present, sealos.hub:5000: absent (404), 200 ms",
        ),
        (
            Decision(
                (ORIGIN,),
                (LookUp(FIRST, ABSENT, "404"), LookUp(SECOND, UNKNOWN, "timed out after 10s")),
                10.04,
            ),
            "origin, sealos.hub:5000: absent (404), "
            "harbor.corp: unknown (timed out after 10s), 10.0 s",
        ),
        (
            Decision(
                (FIRST, ORIGIN), (LookUp(FIRST, UNKNOWN, "503"), LookUp(SECOND, ABSENT, "404"))
            ),
            "offline, tried although unknown, sealos.hub:5000: unknown (503), "
            "harbor.corp: absent (404), 0 ms",
        ),
        (Decision((ORIGIN,)), "origin"),
    ],
)
def test_the_reason_says_what_each_registry_answered(decision: Decision, words: str) -> None:
    assert explain(decision) == words


RULE = "rule 2 (docker.io)"


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (
            Decision((FIRST,), (LookUp(FIRST, PRESENT, cached=True),), 0.0004),
            "offline, present, cached, 0 ms",
        ),
        (
            Decision(
                (SECOND, ORIGIN),
                (LookUp(FIRST, ABSENT, "404", cached=True), LookUp(SECOND, PRESENT)),
            ),
            "registry, present, sealos.hub:5000: absent (404, cached), 0 ms",
        ),
        (
            Decision((ORIGIN,), (LookUp(FIRST, ABSENT, cached=True),)),
            "origin, sealos.hub:5000: absent (cached), 0 ms",
        ),
        (
            Decision(
                (SECOND, FIRST, ORIGIN),
                (
                    LookUp(FIRST, UNKNOWN, "slow, no answer after 1.2s", slow=True),
                    LookUp(SECOND, PRESENT),
                ),
                1.2,
            ),
            "registry, present, sealos.hub:5000: slow, 1.2 s",
        ),
        (
            Decision((FIRST,), (LookUp(FIRST, PRESENT),), 0.012, rule=RULE),
            "offline, present, 12 ms, by rule 2 (docker.io)",
        ),
        (Decision((ORIGIN,), rule=RULE), "origin, by rule 2 (docker.io)"),
        (
            Decision((ORIGIN,), rule=RULE, excluded="*:latest"),
            "origin, left alone by *:latest of rule 2 (docker.io)",
        ),
        (
            Decision((FIRST,), (LookUp(FIRST, PRESENT),), 0.012, rule=RULE, origin_allowed=False),
            "offline, present, 12 ms, by rule 2 (docker.io)",
        ),
    ],
)
def test_the_reason_says_what_was_remembered_what_was_slow_and_which_rule_decided(
    decision: Decision, words: str
) -> None:
    assert explain(decision) == words


@pytest.mark.parametrize(
    ("look_ups", "excluded", "why"),
    [
        (
            (LookUp(FIRST, ABSENT, "404"), LookUp(SECOND, UNKNOWN, "timed out after 10s")),
            "",
            "sealos.hub:5000: absent (404), harbor.corp: unknown (timed out after 10s), 10.0 s; "
            "origin not allowed by rule 2 (docker.io)",
        ),
        ((), "", "origin not allowed by rule 2 (docker.io)"),
        (
            (),
            "*:latest",
            "left alone by *:latest of rule 2 (docker.io); "
            "origin not allowed by rule 2 (docker.io)",
        ),
    ],
)
def test_a_decision_for_nothing_is_one_line_with_its_reason(
    look_ups: tuple[LookUp, ...], excluded: str, why: str
) -> None:
    lines = Lines()
    decision = Decision((), look_ups, 10.02, RULE, excluded, origin_allowed=False)
    lines.decided("nginx:1.25", decision)
    assert lines.text == f"PullImage nginx:1.25 -> nothing ({why})"


def test_a_decision_for_nothing_stays_on_its_line() -> None:
    lines = Lines()
    forged = LookUp(FIRST, UNKNOWN, "token server h\n\x1b[2Jforged", cached=True)
    lines.decided("a:1", Decision((), (forged,), rule="rule 1 (*)", origin_allowed=False))
    assert lines.text.isprintable()


@pytest.mark.parametrize(
    ("settings", "has"),
    [
        ({}, "without"),
        ({"credentials": Credentials("robot", "s3cret")}, "with"),
        ({"auth_file": "/etc/config.json"}, "with"),
    ],
)
def test_a_registrys_own_name_is_explained_with_its_credentials(
    settings: dict[str, Any], has: str
) -> None:
    registry = Registry("harbor.corp", **settings)
    (only,) = Policy([registry]).candidates("harbor.corp/a:1")
    assert explain(Decision((only,))) == (
        f"a configured registry's own name, {has} configured credentials"
    )


def test_a_pull_that_ended_well_says_from_where_and_how_long_it_took() -> None:
    lines = Lines()
    lines.ended(Pull("nginx:1.25", (attempt(FIRST),), "", 75.26))
    assert lines.text == (
        "PullImage nginx:1.25: pulled sealos.hub:5000/library/nginx:1.25 in 75.3 s"
    )
    assert lines.level == LogLevel.info


def test_a_pull_that_ended_well_at_last_says_what_failed_before() -> None:
    lines = Lines()
    pull = Pull("nginx:1.25", (attempt(FIRST, NOT_FOUND), attempt(ORIGIN)), "", 0.9)
    lines.ended(pull)
    assert lines.text == (
        "PullImage nginx:1.25: pulled nginx:1.25 in 900 ms, after "
        "sealos.hub:5000/library/nginx:1.25: NOT_FOUND: no such manifest"
    )
    assert lines.level == LogLevel.warn, "a source needs looking after"


def test_a_pull_that_failed_is_a_warning_with_every_attempt_once() -> None:
    lines = Lines()
    attempts = (attempt(FIRST, NOT_FOUND), attempt(ORIGIN, "UNKNOWN: no route"))
    lines.ended(Pull("nginx:1.25", attempts, "UNKNOWN: no route", 3))
    assert lines.text == (
        "PullImage nginx:1.25: failed after 3.0 s: "
        "sealos.hub:5000/library/nginx:1.25: NOT_FOUND: no such manifest; "
        "nginx:1.25: UNKNOWN: no route"
    )
    assert lines.level == LogLevel.warn


@pytest.mark.parametrize("why", ["cancelled", "deadline exceeded"])
def test_a_pull_that_was_ended_during_an_attempt_says_so_once(why: str) -> None:
    lines = Lines()
    lines.ended(Pull("nginx:1.25", (attempt(ORIGIN, why),), why, 0.019))
    assert lines.text == f"PullImage nginx:1.25: failed after 19 ms: nginx:1.25: {why}"


def test_a_pull_that_was_given_up_between_attempts_says_so() -> None:
    lines = Lines()
    lines.ended(Pull("nginx:1.25", (attempt(FIRST, NOT_FOUND),), "cancelled", 3))
    assert lines.text.endswith(
        "sealos.hub:5000/library/nginx:1.25: NOT_FOUND: no such manifest; cancelled"
    )


def test_a_pull_that_was_given_up_before_any_attempt_says_so() -> None:
    lines = Lines()
    lines.ended(Pull("nginx:1.25", (), "cancelled", 0.1))
    assert lines.text == "PullImage nginx:1.25: failed after 100 ms: cancelled"


@pytest.mark.parametrize("error", ["", "UNKNOWN: denied: s3cret\nPullImage a -> b"])
def test_what_the_runtime_says_is_logged_without_secrets_and_on_one_line(error: str) -> None:
    lines = Lines()
    lines.book.redactor = Redactor(["s3cret"])
    said = "UNKNOWN: denied: s3cret\nPullImage a -> b"
    lines.ended(Pull("nginx:1.25", (attempt(FIRST, said), attempt(ORIGIN)), error, 1))
    assert "denied: *** PullImage" in lines.text
    assert "\n" not in lines.text
    assert "s3cret" not in repr(lines)


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\x0b", "\x85", "\u2028", "\x1b[2K"])
def test_a_runtimes_line_breaks_make_no_line_of_their_own(line_break: str) -> None:
    forged = f"UNKNOWN: no{line_break}PullImage a:1 -> evil (offline)"
    lines = Lines()
    lines.ended(Pull("a:1", (attempt(FIRST, forged), attempt(ORIGIN)), "", 1))
    lines.ended(Pull("a:1", (attempt(ORIGIN, forged),), forged, 1))
    lines.ended(Pull("a:1", (), forged, 1))
    assert len(lines) == 3
    for event in lines:
        text = text_of(event)
        assert "PullImage a:1 -> evil (offline)" in text
        assert text.isprintable()


@pytest.mark.parametrize("error", ["", "INVALID_ARGUMENT: no"])
def test_what_a_client_calls_an_image_is_logged_without_secrets_and_on_one_line(error: str) -> None:
    lines = Lines()
    lines.book.redactor = Redactor(["s3cret"])
    lines.ended(Pull("robot:s3cret@a\nPullImage b", (), error, 1))
    assert lines.text.startswith("PullImage ***@a PullImage b: ")
    assert lines.text.isprintable()
    assert "s3cret" not in repr(lines)


@pytest.mark.parametrize(
    "secret", ["wrong", "unknown", "offline", "absent", "origin", "sealos.hub"]
)
def test_a_secret_that_is_a_word_of_the_log_is_not_given_away_by_its_mask(secret: str) -> None:
    decision = Decision(
        (FIRST, ORIGIN),
        (LookUp(FIRST, UNKNOWN, "401, user name or password wrong"), LookUp(SECOND, ABSENT, "404")),
    )
    plain, masking = Lines(), Lines()
    masking.book.redactor = Redactor([secret])
    for lines in (plain, masking):
        lines.decided("nginx:1.25", decision)
    assert masking.text == plain.text
    assert "sealos.hub:5000: unknown (401, user name or password wrong)" in plain.text
    # What is not the shim's own is masked, whatever it means.
    foreign = Lines()
    foreign.book.redactor = Redactor([secret])
    foreign.ended(Pull("a:1", (), f"UNKNOWN: {secret}", 1))
    assert foreign.text.endswith("UNKNOWN: ***")


def test_what_is_no_reference_was_pulled_as_it_is() -> None:
    lines = Lines()
    lines.ended(Pull("3fb2", (), "", 0.9))
    assert lines.text == "PullImage 3fb2: pulled as it is in 900 ms"
    assert lines.level == LogLevel.info


def test_what_is_no_reference_and_was_refused_is_a_warning() -> None:
    lines = Lines()
    lines.ended(Pull("Nginx", (), "INVALID_ARGUMENT: invalid reference format", 0.9))
    assert lines.text == (
        "PullImage Nginx: failed after 900 ms: INVALID_ARGUMENT: invalid reference format"
    )
    assert lines.level == LogLevel.warn


@pytest.mark.parametrize("error", ["", "INVALID_ARGUMENT: no"])
@pytest.mark.parametrize(("length", "shown"), [(600, "x" * 600), (601, "x" * 600 + "...")])
def test_an_image_text_is_cut_where_no_reference_is_that_long(
    length: int, shown: str, error: str
) -> None:
    lines = Lines()
    lines.ended(Pull("x" * length, (), error, 1))
    assert lines.text.startswith(f"PullImage {shown}: ")
    assert "x" * 601 not in repr(lines)


def test_no_piece_of_a_secret_is_left_where_an_image_text_is_cut() -> None:
    lines = Lines()
    lines.book.redactor = Redactor(["s3cret"])
    lines.ended(Pull("x" * 597 + "s3cret" + "y" * 9, (), "", 1))
    assert lines.text.startswith("PullImage " + "x" * 597 + "***...: ")
    assert "s3c" not in repr(lines)


def test_braces_in_what_others_say_are_no_fields() -> None:
    lines = Lines()
    lines.ended(Pull("a:1", (attempt(ORIGIN, "UNKNOWN: {name} {0}"),), "UNKNOWN: x", 1))
    assert "UNKNOWN: {name} {0}" in lines.text


def test_what_a_registry_names_stays_on_its_line() -> None:
    lines = Lines()
    detail = "token server h\n\x1b[2Jforged"
    lines.decided("a:1", Decision((ORIGIN,), (LookUp(FIRST, UNKNOWN, detail),)))
    assert "\n" not in lines.text
    assert "\x1b" not in lines.text


def test_every_line_says_whose_pull_it_is() -> None:
    lines = Lines()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    pull = lines.book.began("a:1", CallIdentity("4f1c-7", Client(812, 0, 0, "kubelet"), trace))
    pull.decided(Decision((ORIGIN,)))
    pull.ended(Pull("a:1", (attempt(ORIGIN),), "", 1))
    pull.ended(Pull("a:1", (attempt(ORIGIN, "UNKNOWN: no"),), "UNKNOWN: no", 1))
    whose = f" [4f1c-7, kubelet (pid 812, uid 0), trace {trace}]"
    texts = [eventAsText(one, includeTimestamp=False, includeSystem=False) for one in lines]
    assert len(texts) == 3
    assert all(text.endswith(whose) for text in texts)


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        ("robot:hunter2@harbor.corp/a:1", "***@harbor.corp/a:1"),
        ("robot:hun@ter2@harbor.corp/a:1", "***@harbor.corp/a:1"),
        ("robot:hun/ter2@harbor.corp/a:1", "***@harbor.corp/a:1"),
        ("https://AKIA@harbor.corp/a:1", "***@harbor.corp/a:1"),
        ("a:1?token=hunter2&b=hunter2", "a:1?***"),
        (f"robot:hunter2@a@sha256:{'0' * 64}", f"***@a@sha256:{'0' * 64}"),
    ],
)
def test_a_password_in_what_is_no_reference_is_not_logged(image: str, shown: str) -> None:
    lines = Lines()
    lines.ended(Pull(image, (), "INVALID_ARGUMENT: no", 1))
    assert lines.text.startswith(f"PullImage {shown}: ")


def test_a_tag_in_front_of_a_digest_is_no_password() -> None:
    image = f"harbor.corp:443/a:1@sha256:{'0' * 64}"
    lines = Lines()
    lines.ended(Pull(image, (attempt(ORIGIN),), "", 1))
    assert lines.text.startswith(f"PullImage {image}: ")
