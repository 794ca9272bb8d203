"""What is known of pulls while they run and when they are over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from image_cri_shim.call_identity import CallIdentity, Client
from image_cri_shim.decision import Attempt, Decision, LookUp, Outcome, Pull, Registry
from image_cri_shim.policy import Policy
from image_cri_shim.pull_book import Event, PullBook, WatchedPull
from image_cri_shim.pull_record import Asked, Phase, PullRecord, Tried
from image_cri_shim.redaction import Redactor

OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
FIRST, SECOND, ORIGIN = Policy([OFFLINE, Registry("harbor.corp")]).candidates("nginx:1.25")
DIGEST = "sha256:" + "0" * 64
PRESENT = LookUp(FIRST, Outcome.PRESENT, elapsed=0.012, digest=DIGEST)
ABSENT = LookUp(SECOND, Outcome.ABSENT, "404")
WHO = CallIdentity("4f1c-12", Client(812, 0, 0, "kubelet"), "4bf92f3577b34da6a3ce929d0e0e4736")


class Told(list[tuple[Event, PullRecord]]):
    """What a watcher was told."""

    def __call__(self, event: Event, record: PullRecord) -> None:
        self.append((event, record))


@pytest.fixture
def book() -> PullBook:
    return PullBook(Clock(), lambda: 1_700_000_000.0, kept=3)


@pytest.fixture
def told(book: PullBook) -> Iterator[Told]:
    told = Told()
    unwatch = book.watch(told)
    yield told
    unwatch()


def begin(book: PullBook, image: str = "nginx:1.25") -> WatchedPull:
    return book.began(image, WHO)


def test_each_step_of_a_pull_is_told_with_what_is_known_then(book: PullBook, told: Told) -> None:
    pull = begin(book)
    decision = Decision((FIRST, ORIGIN), (PRESENT,), 0.012)
    pull.decided(decision)
    pull.trying(FIRST, decision)
    pull.ended(Pull("nginx:1.25", (Attempt(FIRST, "", 0.5),), "", 0.75, "sha256:config"))
    assert [event for event, _ in told] == [
        Event.BEGUN,
        Event.DECIDED,
        Event.TRYING,
        Event.ENDED,
    ]
    begun, decided, trying, ended = (record for _, record in told)
    assert (begun.phase, begun.image, begun.client) == (Phase.LOOKING_UP, "nginx:1.25", WHO.client)
    assert (begun.call, begun.trace, begun.began) == (WHO.call, WHO.trace, 1_700_000_000.0)
    assert (decided.phase, decided.name) == (Phase.LOOKING_UP, FIRST.name)
    assert decided.reason == "offline, present, 12 ms"
    assert decided.look_ups == (Asked("sealos.hub:5000", FIRST.name, "present", "", False, 0.012),)
    assert (trying.phase, trying.registry, trying.kind) == (
        Phase.PULLING,
        "sealos.hub:5000",
        "offline",
    )
    assert (ended.phase, ended.seconds, ended.error) == (Phase.PULLED, 0.75, "")
    assert (ended.digest, ended.image_ref) == (DIGEST, "sha256:config")
    assert ended.attempts == (Tried(FIRST.name, "sealos.hub:5000", "", 0.5),)


def test_a_pull_runs_until_it_has_ended(book: PullBook) -> None:
    one, other = begin(book), begin(book, "redis:7")
    assert [record.image for record in book.running] == ["nginx:1.25", "redis:7"]
    one.ended(Pull("nginx:1.25", (), "", 1))
    assert book.running == (other.record,)
    other.ended(Pull("redis:7", (), "cancelled", 1))
    assert book.running == ()
    assert (book.pulled, book.failed, book.last) == (1, 1, 2)


def test_no_more_than_the_last_pulls_are_remembered(book: PullBook) -> None:
    pulls = [begin(book, f"a:{number}") for number in range(5)]
    assert [record.image for record in book.recent] == ["a:2", "a:3", "a:4"]
    assert len(book.running) == 5, "what runs is never forgotten"
    pulls[0].ended(Pull("a:0", (), "", 1))
    assert len(book.running) == 4
    assert len(book.recent) == 3


def test_look_ups_of_later_decisions_take_the_place_of_those_before(book: PullBook) -> None:
    pull = begin(book)
    slow = LookUp(SECOND, Outcome.UNKNOWN, "slow", slow=True)
    pull.decided(Decision((FIRST,), (PRESENT, slow)))
    pull.trying(SECOND, Decision((SECOND,), (ABSENT,)))
    assert [(one.registry, one.outcome) for one in pull.record.look_ups] == [
        ("sealos.hub:5000", "present"),
        ("harbor.corp", "absent"),
    ]


def test_a_pull_for_which_nothing_may_be_pulled_has_no_name(book: PullBook) -> None:
    pull = begin(book)
    pull.decided(Decision((), (ABSENT,), rule="rule 1 (*)", origin_allowed=False))
    assert (pull.record.name, pull.record.registry, pull.record.kind) == ("", "", "")
    assert pull.record.rule == "rule 1 (*)"


def test_a_failed_pull_has_no_digest(book: PullBook) -> None:
    pull = begin(book)
    decision = Decision((FIRST,), (PRESENT,))
    pull.decided(decision)
    pull.trying(FIRST, decision)
    pull.ended(Pull("nginx:1.25", (Attempt(FIRST, "UNKNOWN: no", 1),), "UNKNOWN: no", 1))
    assert (pull.record.digest, pull.record.phase) == ("", Phase.FAILED)


def test_nothing_secret_and_nothing_endless_is_in_a_record(book: PullBook) -> None:
    book.redactor = Redactor(["s3cret"])
    pull = begin(book, "robot:hunter2@" + "x" * 5000)
    said = "UNKNOWN: s3cret\n" + "y" * 5000
    pull.ended(Pull("x", (Attempt(FIRST, said, 1),) * 100, said, 1, "z" * 5000))
    shown = repr(pull.record)
    assert "s3cret" not in shown
    assert "hunter2" not in shown
    assert len(shown) < 20_000
    assert pull.record.error.startswith("UNKNOWN: *** yyy")


def test_a_watcher_that_breaks_keeps_nobody_else_from_being_told() -> None:
    broken: list[Exception] = []
    book = PullBook(Clock(), lambda: 0.0, complain=broken.append)

    def fails(event: Event, record: PullRecord) -> None:
        raise OSError("no space left on device")

    told = Told()
    book.watch(fails)
    book.watch(told)
    begin(book).ended(Pull("nginx:1.25", (), "", 1))
    assert [event for event, _ in told] == [Event.BEGUN, Event.ENDED]
    assert [str(error) for error in broken] == ["no space left on device"] * 2


def test_who_watches_no_longer_is_told_nothing(book: PullBook) -> None:
    told = Told()
    unwatch = book.watch(told)
    unwatch()
    unwatch()
    begin(book)
    assert told == []
