"""The words for pulls that failed: what was tried, what was asked, and why nothing else was."""

from __future__ import annotations

import pytest

from image_cri_shim.cri.pull_failure import refusal, remark, shortened, with_account
from image_cri_shim.cri.status import Answer, Code, encode_message
from image_cri_shim.decision import Attempt, Candidate, Decision, LookUp, Outcome, Registry
from image_cri_shim.policy import Policy
from image_cri_shim.redaction import Redactor


def answer(code: int, message: str) -> Answer:
    status = (b"grpc-status", b"%d" % code)
    return Answer([(b":status", b"200"), status, (b"grpc-message", encode_message(message))])


OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
HARBOR = Registry("harbor.corp", prefix="proxy")
HUB_NGINX, HARBOR_NGINX, ORIGIN = Policy([OFFLINE, HARBOR]).candidates("nginx:1.25")
ABSENT = LookUp(HUB_NGINX, Outcome.ABSENT, "404")
UNKNOWN = LookUp(HARBOR_NGINX, Outcome.UNKNOWN, "timed out after 10s", timed_out=True)
STRICT = Decision((), rule="rule 2 (docker.io)", origin_allowed=False)
EXCLUDED = Decision((), rule="rule 2 (docker.io)", excluded="*:latest", origin_allowed=False)
NO_HELPER = Attempt(HARBOR_NGINX, "no credentials for harbor.corp/proxy: exit status 1", 0.1)
GONE = Attempt(HUB_NGINX, "NOT_FOUND: gone", 0.1)
LAST = Attempt(HARBOR_NGINX, "whatever", 0.1)


def test_nothing_found_names_every_registry_with_its_reason_and_the_rule() -> None:
    error = refusal("nginx:1.25", STRICT, [ABSENT, UNKNOWN], [])
    assert error.message == (
        "image-cri-shim: nginx:1.25 not found on sealos.hub:5000 (404), "
        "harbor.corp/proxy (timed out after 10s); origin not allowed by rule 2 (docker.io)"
    )


@pytest.mark.parametrize(
    ("look_ups", "attempts", "code"),
    [
        ([], [], Code.NOT_FOUND),
        ([ABSENT], [], Code.NOT_FOUND),
        ([ABSENT, UNKNOWN], [], Code.UNAVAILABLE),
        ([UNKNOWN], [], Code.UNAVAILABLE),
        ([ABSENT], [NO_HELPER], Code.UNAVAILABLE),
    ],
)
def test_not_found_is_only_what_every_registry_said_it_lacks(
    look_ups: list[LookUp], attempts: list[Attempt], code: Code
) -> None:
    assert refusal("nginx:1.25", STRICT, look_ups, attempts).code is code


def test_a_registry_that_said_no_more_than_no_is_named_with_that() -> None:
    error = refusal("nginx:1.25", STRICT, [LookUp(HUB_NGINX, Outcome.ABSENT)], [])
    assert "not found on sealos.hub:5000 (absent); " in error.message


def test_a_long_reason_is_told_in_full_where_there_is_room() -> None:
    long = LookUp(HARBOR_NGINX, Outcome.UNKNOWN, "x" * 1500)
    assert f"({long.detail})" in refusal("nginx:1.25", STRICT, [ABSENT, long], []).message


def test_without_a_registry_to_ask_the_error_says_so() -> None:
    assert refusal("nginx:1.25", STRICT, [], []).message == (
        "image-cri-shim: nginx:1.25 has no registry to be pulled from; "
        "origin not allowed by rule 2 (docker.io)"
    )


def test_what_is_left_alone_and_may_not_come_from_the_origin_is_told_why() -> None:
    error = refusal("nginx:latest", EXCLUDED, [], [])
    assert error.code is Code.NOT_FOUND
    assert error.message == (
        "image-cri-shim: nginx:latest is left alone by *:latest of rule 2 (docker.io), "
        "which does not allow the origin"
    )


def test_what_could_not_be_tried_is_named_with_its_reason() -> None:
    assert refusal("nginx:1.25", STRICT, [ABSENT], [NO_HELPER]).message == (
        "image-cri-shim: nginx:1.25 could not be pulled: harbor.corp/proxy/library/nginx:1.25: "
        "no credentials for harbor.corp/proxy: exit status 1; not found on sealos.hub:5000 (404); "
        "origin not allowed by rule 2 (docker.io)"
    )


def test_what_a_registry_is_quoted_with_stays_on_its_line() -> None:
    quoting = LookUp(HUB_NGINX, Outcome.UNKNOWN, "token server h\n\x1b[2Jforged")
    for text in (refusal("a:1", STRICT, [quoting], []).message, remark(STRICT, [quoting])):
        assert text.isprintable()


def test_that_a_registry_lacks_what_was_pulled_from_the_origin_is_no_remark() -> None:
    assert remark(Decision((ORIGIN,)), [ABSENT]) == ""


def test_that_a_registry_could_not_say_is_told_when_the_origin_fails() -> None:
    assert remark(Decision((ORIGIN,)), [ABSENT, UNKNOWN]) == (
        "could not be looked up on harbor.corp/proxy (timed out after 10s)"
    )


def test_an_answer_with_nothing_to_add_is_left_as_it_is() -> None:
    given = answer(2, "Signature\x01Invalid: s3cret\n")
    assert with_account(given, [LAST], 0, "", Redactor(["s3cret"])) is given


@pytest.mark.parametrize(
    ("before", "why", "told"),
    [
        ([GONE], "", " tried before: sealos.hub:5000/library/nginx:1.25: NOT_FOUND: gone"),
        ([], "origin not allowed", ": origin not allowed"),
        (
            [GONE],
            "origin not allowed",
            " tried before: sealos.hub:5000/library/nginx:1.25: NOT_FOUND: gone; "
            "origin not allowed",
        ),
    ],
)
def test_what_there_is_to_tell_stands_behind_the_runtimes_message(
    before: list[Attempt], why: str, told: str
) -> None:
    given = answer(14, "RegistryUnavailable: x")
    added = with_account(given, [*before, LAST], len(before), why, Redactor())
    assert added.message == f"RegistryUnavailable: x (image-cri-shim{told})"
    assert added.code == Code.UNAVAILABLE


def test_the_runtimes_message_is_cleaned_when_something_is_added_to_it() -> None:
    given = answer(2, "denied: s3cret\r\nforged")
    added = with_account(given, [GONE, LAST], 1, "", Redactor(["s3cret"]))
    assert added.message.startswith("denied: ***  forged (image-cri-shim tried before: ")


def registries(count: int) -> list[Candidate]:
    """Return candidates for `nginx:1`, each from a registry of its own."""
    found = (Registry(f"registry-{number}.corp") for number in range(count))
    return [Policy([one]).candidates("nginx:1")[0] for one in found]


@pytest.mark.parametrize("count", [1, 2, 8, 24])
def test_a_long_error_fits_into_a_header_and_has_every_attempt_with_its_reason(count: int) -> None:
    attempts = [
        Attempt(one, f"UNKNOWN: {'ü' * 2000}: {one.reference.domain} says no", 0.1)
        for one in registries(count)
    ]
    strict = Decision((), rule=f"rule 2 ({'z' * 9000})", origin_allowed=False)
    why = remark(strict, [LookUp(HARBOR_NGINX, Outcome.UNKNOWN, "x" * 9000)])
    given = answer(2, "head" + "ö" * 5000 + "tail")
    added = with_account(given, [*attempts, LAST], count, why, Redactor())
    assert len(encode_message(added.message)) <= 6000
    assert added.message.startswith("head")
    assert "tail (image-cri-shim tried before: " in added.message
    for one in attempts:
        assert one.candidate.name in added.message
        assert f"{one.candidate.reference.domain} says no" in added.message
    assert "not found on harbor.corp/proxy (xxx" in added.message
    assert "; origin not allowed by rule 2 (zzz" in added.message


@pytest.mark.parametrize("count", [2, 50, 300])
def test_a_refusal_fits_into_a_header_whatever_the_registries_said(count: int) -> None:
    look_ups = [LookUp(one, Outcome.UNKNOWN, "ü" * 3000) for one in registries(count)]
    strict = Decision((), rule="*" * 9000, origin_allowed=False)
    error = refusal("nginx:1", strict, look_ups, [])
    assert len(encode_message(error.message)) <= 6000
    assert error.message.startswith("image-cri-shim: nginx:1 not found on registry-0.corp (ü")
    # 1,800 bytes, 60 of them for an entry at least.
    assert (f", and {count - 30} more; origin not" in error.message) == (count > 30)


@pytest.mark.parametrize("text", ["", "short", "x" * 40])
def test_a_text_that_fits_is_not_cut(text: str) -> None:
    assert shortened(text, 40) == text


@pytest.mark.parametrize("text", ["x" * 41, "ü" * 20, "a\U0001f600" * 9, "%" * 14])
def test_a_text_that_does_not_fit_is_cut_in_the_middle_by_what_it_takes_to_send(text: str) -> None:
    cut = shortened(text, 40)
    assert len(encode_message(cut)) <= 40
    assert cut[0] == text[0]
    assert cut[-1] == text[-1]
    assert "..." in cut
