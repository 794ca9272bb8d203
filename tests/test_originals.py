"""What is remembered of names: what clients call a held name, and where it is held."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from image_cri_shim.originals import Originals, Record, in_full, repository_of

ID = "sha256:" + "ab" * 32
OTHER_ID = "sha256:" + "cd" * 32
DIGEST = "sha256:" + "12" * 32
NGINX = "docker.io/library/nginx:1"
HUB = "hub.corp/library/nginx:1"
HARBOR = "harbor.corp/library/nginx:1"
NGINX_DIGEST = f"docker.io/library/nginx@{DIGEST}"
HUB_DIGEST = f"hub.corp/library/nginx@{DIGEST}"
HARBOR_DIGEST = f"harbor.corp/library/nginx@{DIGEST}"


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("quay.io/a/b:1", "quay.io/a/b:1"),
        (f"quay.io/a/b:1@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
        (ID, None),
        ("UPPER", None),
        ("", None),
        ("a" * 2000, None),
    ],
)
def test_a_name_is_written_as_runtimes_show_it(text: str, full: str | None) -> None:
    assert in_full(text) == full


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("docker.io/library/nginx:1", "docker.io/library/nginx"),
        (f"hub:5000/a/b@{DIGEST}", "hub:5000/a/b"),
        ("hub:5000/a/b", "hub:5000/a/b"),
    ],
)
def test_a_port_is_no_tag(name: str, repository: str) -> None:
    assert repository_of(name) == repository


def test_nothing_is_known_of_what_was_never_told() -> None:
    names = Originals()
    assert (names.held(NGINX), names.of(HUB), list(names.records())) == (None, None, [])


def test_both_originals_of_one_held_name_are_known_in_the_order_of_their_pulls() -> None:
    names = Originals()
    names.note("docker.io/a/b:1", "hub.corp/a/b:1")
    names.note("quay.io/a/b:1", "hub.corp/a/b:1")
    assert names.of("hub.corp/a/b:1") == ("docker.io/a/b:1", "quay.io/a/b:1")
    assert names.held("docker.io/a/b:1") == names.held("quay.io/a/b:1") == "hub.corp/a/b:1"


def test_a_tag_that_is_pulled_again_elsewhere_moves_there() -> None:
    names = Originals()
    names.note(NGINX, HUB)
    names.note(NGINX, HARBOR)
    assert names.held(NGINX) == HARBOR
    assert names.of(HARBOR) == (NGINX,)
    assert names.of(HUB) == (), "known to be called nothing, which is not unknown"
    names.note(NGINX, HUB)
    assert (names.of(HUB), names.of(HARBOR)) == ((NGINX,), ())


def test_a_digest_is_the_same_everywhere_and_stays_where_it_was() -> None:
    names = Originals()
    names.note(NGINX_DIGEST, HUB_DIGEST)
    names.note(NGINX_DIGEST, HARBOR_DIGEST)
    assert names.of(HUB_DIGEST) == names.of(HARBOR_DIGEST) == (NGINX_DIGEST,)
    assert names.held(NGINX_DIGEST) == HARBOR_DIGEST


def test_a_digest_that_goes_in_one_place_is_still_found_in_the_other() -> None:
    names = Originals()
    names.note(NGINX_DIGEST, HUB_DIGEST)
    names.note(NGINX_DIGEST, HARBOR_DIGEST)
    names.forget(HARBOR_DIGEST)
    assert names.held(NGINX_DIGEST) == HUB_DIGEST


def test_a_pull_names_the_digests_of_its_repository_and_no_others() -> None:
    names = Originals()
    names.note_pull(NGINX, HUB, ID, [HUB_DIGEST, f"hub.corp/another@{DIGEST}"])
    assert names.of(HUB_DIGEST) == (NGINX_DIGEST,)
    assert names.of(f"hub.corp/another@{DIGEST}") is None


def test_what_goes_is_forgotten_both_ways() -> None:
    names = Originals()
    names.note(NGINX, HUB)
    names.forget(HUB)
    names.forget(HUB)
    assert (names.held(NGINX), names.of(HUB)) == (None, None)


def test_what_was_pulled_after_the_question_outlives_the_answer_that_it_is_gone() -> None:
    names = Originals()
    asked = names.moment
    names.note(NGINX, HUB)
    names.forget(HUB, since=asked)
    names.forget_others([], since=asked)
    assert names.of(HUB) == (NGINX,)


def test_so_does_what_was_known_and_pulled_again() -> None:
    names = Originals()
    names.note(NGINX, HUB)
    asked = names.moment
    names.note(NGINX, HUB)
    names.forget(HUB, since=asked)
    names.forget_others([], since=asked)
    assert names.of(HUB) == (NGINX,)
    names.forget_others([], since=names.moment)
    assert names.of(HUB) is None


def test_what_the_runtime_still_has_is_kept() -> None:
    names = Originals()
    names.note(NGINX, HUB)
    names.note("quay.io/a/b:1", "hub.corp/a/b:1")
    names.forget_others([HUB, "somebody/elses:1"], since=names.moment)
    assert [record.held for record in names.records()] == [HUB]


@pytest.mark.parametrize("spelled", [ID, ID.removeprefix("sha256:")])
@pytest.mark.parametrize("told", [ID, ID.removeprefix("sha256:")])
def test_an_image_that_goes_takes_all_its_names_with_it(spelled: str, told: str) -> None:
    names = Originals()
    names.note_pull(NGINX, HUB, told, [HUB_DIGEST])
    names.note("docker.io/library/nginx:2", "hub.corp/library/nginx:2", OTHER_ID)
    names.note("docker.io/library/nginx:3", "hub.corp/library/nginx:3")
    names.forget_image(spelled)
    left = [record.held for record in names.records()]
    assert left == ["hub.corp/library/nginx:2", "hub.corp/library/nginx:3"]


def test_a_name_without_a_known_image_is_nobodys() -> None:
    names = Originals()
    names.note(NGINX, HUB)
    assert names.image_of(HUB) != ID
    names.forget_image("")
    assert names.of(HUB) == (NGINX,)
    names.note(NGINX, HUB, ID)
    assert names.image_of(HUB) == ID
    assert names.image_of(HUB) != OTHER_ID


def test_only_news_are_a_change() -> None:
    names = Originals()
    names.note(NGINX, HUB, ID)
    before = names.revision
    names.note(NGINX, HUB)
    names.note(NGINX, HUB, ID)
    names.forget(HARBOR)
    names.forget_others([HUB], names.moment)
    assert names.revision == before
    names.note(NGINX, HUB, OTHER_ID)
    assert names.revision > before


def test_five_thousand_names_are_known_and_no_more_than_the_limit() -> None:
    names = Originals()
    for number in range(5000):
        names.note(f"quay.io/a/b:{number}", f"hub.corp/a/b:{number}")
    assert names.of("hub.corp/a/b:0") == ("quay.io/a/b:0",)
    for number in range(5000, 20000):
        names.note(f"quay.io/a/b:{number}", f"hub.corp/a/b:{number}")
    assert len(list(names.records())) == 8192
    assert names.held("quay.io/a/b:19999") == "hub.corp/a/b:19999"
    assert names.held("quay.io/a/b:0") is None


def test_what_was_not_pulled_for_longest_is_forgotten_first() -> None:
    names = Originals(limit=2)
    names.note("quay.io/a/b:1", "hub.corp/a/b:1")
    names.note("quay.io/a/b:2", "hub.corp/a/b:2")
    names.note("quay.io/a/b:1", "hub.corp/a/b:1")
    names.note("quay.io/a/b:3", "hub.corp/a/b:3")
    assert [one.held for one in names.records()] == ["hub.corp/a/b:1", "hub.corp/a/b:3"]


def test_more_than_the_limit_is_not_taken_from_a_file() -> None:
    names = Originals(limit=2)
    names.restore(Record(f"hub.corp/a/b:{number}", "", ()) for number in range(5))
    assert [one.held for one in names.records()] == ["hub.corp/a/b:3", "hub.corp/a/b:4"]


def test_what_was_learned_since_goes_before_what_was_known_before() -> None:
    names = Originals()
    names.note(NGINX, HARBOR)
    names.restore([Record(HUB, ID, (NGINX,)), Record(HUB_DIGEST, ID, (NGINX_DIGEST,))])
    assert names.held(NGINX) == HARBOR
    assert names.of(HUB) == ()
    assert names.of(HUB_DIGEST) == (NGINX_DIGEST,)


ORIGINALS = [f"{host}/a:{tag}" for host in ("d.io", "q.io") for tag in (1, 2)]
ORIGINALS += [f"d.io/a@{DIGEST}", f"q.io/a@{DIGEST}"]
HELD = [f"{host}/a:{tag}" for host in ("hub.io", "far.io", "d.io") for tag in (1, 2)]
HELD += [f"hub.io/a@{DIGEST}", f"far.io/a@{DIGEST}"]
LIMIT = 5

originals = st.sampled_from(ORIGINALS)
held_names = st.sampled_from(HELD)
image_ids = st.sampled_from(["", ID, OTHER_ID])


class Model(RuleBasedStateMachine):
    """A plain list of who is called what, beside the real thing."""

    def __init__(self) -> None:
        super().__init__()
        self.names = Originals(LIMIT)
        # Held name -> [image ID, originals]; the oldest first.
        self.model: dict[str, tuple[str, list[str]]] = {}

    @rule(original=originals, held=held_names, image_id=image_ids)
    def note(self, original: str, held: str, image_id: str) -> None:
        self.names.note(original, held, image_id)
        before, called = self.model.pop(held, ("", []))
        if "@" not in original:
            for other, (_, others) in self.model.items():
                if other != held and original in others:
                    others.remove(original)
        if original not in called:
            called.append(original)
        self.model[held] = (image_id or before, called)
        while len(self.model) > LIMIT:
            del self.model[next(iter(self.model))]

    @rule(held=held_names)
    def forget(self, held: str) -> None:
        self.names.forget(held)
        self.model.pop(held, None)

    @rule(image_id=image_ids)
    def forget_image(self, image_id: str) -> None:
        self.names.forget_image(image_id)
        self._keep(name for name, one in self.model.items() if not image_id or one[0] != image_id)

    @rule(left=st.sets(held_names))
    def the_runtime_has_only(self, left: set[str]) -> None:
        self.names.forget_others(left, self.names.moment)
        self._keep(name for name in self.model if name in left)

    @rule(left=st.sets(held_names), later=st.lists(st.tuples(originals, held_names), max_size=3))
    def the_runtime_had_only(self, left: set[str], later: list[tuple[str, str]]) -> None:
        asked = self.names.moment
        for original, held in later:
            self.note(original, held, "")
        self.names.forget_others(left, asked)
        left = left | {held for _, held in later}
        self._keep(name for name in self.model if name in left)

    @rule()
    def restart(self) -> None:
        records = tuple(self.names.records())
        self.names = Originals(LIMIT)
        self.names.restore(records)
        assert tuple(self.names.records()) == records

    @invariant()
    def everything_is_as_in_the_list(self) -> None:
        records = [(one.held, one.image_id, list(one.originals)) for one in self.names.records()]
        assert records == [(name, *one) for name, one in self.model.items()]
        assert len(records) <= LIMIT

    @invariant()
    def both_directions_agree(self) -> None:
        for held in HELD:
            called = self.names.of(held)
            assert called == (tuple(self.model[held][1]) if held in self.model else None)
            for original in called or ():
                where = self.names.held(original)
                assert where == held or "@" in original
        for original in ORIGINALS:
            places = [name for name, one in self.model.items() if original in one[1]]
            where = self.names.held(original)
            assert where in places if places else where is None

    def _keep(self, names: Iterable[str]) -> None:
        self.model = {name: self.model[name] for name in tuple(names)}


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=80, stateful_step_count=25, deadline=None, derandomize=True, database=None
)
