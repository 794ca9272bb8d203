"""A registry client whose answers come when a test says so."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from image_cri_shim.decision import Candidate, LookUp, Outcome
from image_cri_shim.registry.answer import Answer


class Client:
    """Notes what is asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Candidate, Deferred[Answer]]] = []
        self.cancelled: list[str] = []
        self.waited: list[float] = []
        self.closed = False

    @property
    def names(self) -> list[str]:
        """What was asked for so far, in order."""
        return [candidate.name for candidate, _ in self.asked]

    def ask(self, candidate: Candidate, waited: float = 0.0) -> Deferred[Answer]:
        self.waited.append(waited)
        answer: Deferred[Answer] = Deferred(lambda _: self.cancelled.append(candidate.name))
        self.asked.append((candidate, answer))
        return answer

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)

    def say(self, outcome: Outcome, detail: str = "", **settings: object) -> None:
        """Answer the latest question."""
        self.say_to(-1, outcome, detail, **settings)

    def say_to(self, which: int, outcome: Outcome, detail: str = "", **settings: object) -> None:
        """Answer one of the questions, by its place in their order."""
        asked, answer = self.asked[which]
        answer.callback(answer_of(asked, outcome, detail, **settings))


def answer_of(
    asked: Candidate,
    outcome: Outcome,
    detail: str = "",
    *,
    timed_out: bool = False,
    retry_after: float | None = None,
    elapsed: float = 0.0,
) -> Answer:
    """Make an answer."""
    look_up = LookUp(asked, outcome, detail, timed_out=timed_out, elapsed=elapsed)
    return Answer(look_up, retry_after=retry_after)
