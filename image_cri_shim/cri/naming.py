"""Under which names clients see images that the runtime holds as something else."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, MutableSequence

from image_cri_shim.config.settings import OriginalNames
from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.memory import Memory
from image_cri_shim.inference import infer_original
from image_cri_shim.originals import in_full, in_full_or_same, repository_of
from image_cri_shim.policy import Policy
from image_cri_shim.reference import is_image_id

# Inferred names, at most; then they are inferred anew.
_INFERRED = 4096


class Naming:
    """What references stand for, both ways, under one configuration.

    :param policy: which names a reference stands for.
    :param mode: what clients see of names that were rewritten: ``keep`` the held name as the
        runtime has it, ``add`` the original one beside it, ``only`` that one in its place.
    :param memory: what was pulled as what.
    """

    def __init__(self, policy: Policy, mode: OriginalNames, memory: Memory) -> None:
        self.policy = policy
        self.memory = memory
        self.changes = mode != "keep"
        self.only = mode == "only"
        self._inferred: dict[str, tuple[str, ...]] = {}

    def held_names(self, image: str) -> tuple[str, ...]:
        """Return the names under which the runtime may hold a reference, likeliest first.

        Never a name that another image has moved away from, if clients shall not see that.
        """
        names = self.memory.in_order(image, self.policy.local_names(image))
        if not self.only or len(names) == 1:
            return names
        known = self.memory.originals.of
        # Their tag would have moved, had they been pulled by it.
        return tuple(one for one in names if one == image or known(one) != ())

    def listed_names(self, image: str) -> tuple[str, ...]:
        """Return the names to list for a filter by a reference: no image's that is another's."""
        names = self.held_names(image)
        full = in_full(image)
        if not self.only or full is None:
            return names
        known = ((one, self.memory.originals.of(in_full_or_same(one))) for one in names)
        return tuple(
            one for one, originals in known if one == image or not originals or full in originals
        )

    def pulled(
        self,
        image: str,
        held: str,
        told: str = "",
        status: cri_pb2.Image | None = None,
        *,
        configured: bool,
    ) -> None:
        """Take note that a reference was pulled as ``held``.

        :param told: what the runtime calls what it pulled: its ID, or its digest in a repository.
        :param status: what it says of the image, if it was asked.
        :param configured: whether ``held`` is a name of a configured registry.
        """
        self.memory.remember(image, held)
        original, name = in_full(image), in_full(held)
        if original is None or name is None:
            return
        # Of names that nobody rewrites there is nothing to know.
        if configured or len(self.policy.local_names(image)) > 1:
            if status is not None:
                image_id, digests = status.id, _in_full(status.repo_digests)
            else:
                image_id, digests = (told, ()) if is_image_id(told) else ("", _in_full((told,)))
            self.memory.originals.note_pull(original, name, image_id, digests)

    def found(self, image: str, held: str, status: cri_pb2.Image) -> None:
        """Take note that the runtime holds a reference as ``held``.

        What others pulled is learned by it, or what was forgotten; else it tells which digests the
        image has.
        """
        self.memory.remember(image, held)
        name = in_full(held)
        if name is None:
            return
        originals = self.memory.originals
        known = originals.of(name)
        if known is not None and originals.image_of(name) == status.id:
            return
        if known is None:
            if held == image and self._infer(name) == (name,):
                return
            original = in_full(image)
            known = () if original is None else (original,)
        for one in known:
            originals.note_pull(one, name, status.id, _in_full(status.repo_digests))
        self.memory.save()

    def absent(self, held: str, since: int) -> None:
        """Take note that the runtime does not have a name.

        :param since: the memory's moment when it was asked.
        """
        name = in_full(held)
        if name is not None:
            self.memory.originals.forget(name, since)

    def removed(self, held: str) -> None:
        """Take note that a name, or an image by its ID, was removed."""
        name = in_full(held)
        if name is not None:
            self.memory.originals.forget(name)
        elif is_image_id(held):
            self.memory.originals.forget_image(held)
        self.memory.save()

    def all_held(self, names: Iterable[str], since: int) -> None:
        """Take note that the runtime has these names and no others.

        :param since: the memory's moment when it was asked.
        """
        self.memory.originals.forget_others(_in_full(names), since)
        self.memory.save()

    def image(self, image: cri_pb2.Image) -> None:
        """Give an image the names that clients see."""
        if not self.changes:
            return
        digests = [self._digest(one, image) for one in image.repo_digests]
        tags = [self._known(one, image.id) for one in image.repo_tags]
        _replace(image.repo_tags, tags, keep=not self.only)
        _replace(image.repo_digests, digests, keep=not self.only)
        self.spec(image.spec)

    def spec(self, spec: cri_pb2.ImageSpec) -> bool:
        """Give the image that a message tells of the name that clients see; tell if it changed."""
        image, reference = self.reference(spec.image), self.reference(spec.image_ref)
        if (image, reference) == (spec.image, spec.image_ref):
            return False
        spec.image, spec.image_ref = image, reference
        return True

    def reference(self, text: str) -> str:
        """Return what clients call what the runtime calls ``text``: a name of an image, or an ID.

        Only in place of the held name: one text cannot name both.
        """
        name = in_full(text) if self.only else None
        if name is None:
            return text
        known = self.memory.originals.ever_of(name) or self._known(text)
        return text if not known or known[0] == name else known[0]

    def _digest(self, held: str, image: cri_pb2.Image) -> tuple[str, ...]:
        """Return what clients call a digest: if nothing is known of it, its image's tags tell."""
        originals = self.memory.originals
        name = in_full(held)
        if name is None or originals.of(name) is not None:
            return self._known(held)
        repository, digest = repository_of(name), name.partition("@")[2]
        told: dict[str, None] = {}
        for tag in _in_full(image.repo_tags):
            if repository_of(tag) == repository:
                for original in originals.ever_of(tag):
                    told[f"{repository_of(original)}@{digest}"] = None
        for original in told:
            originals.note(original, name, image.id)
        if told:
            self.memory.save()
        return self._known(held)

    def _known(self, held: str, image_id: str = "") -> tuple[str, ...]:
        """Return what clients call a held name: nothing, if its tag has moved to another one."""
        name = in_full_or_same(held)
        known = self.memory.originals.of(name)
        if known is None:
            # A tag that was pulled from elsewhere since has moved there.
            moved = "@" not in name and self._is_of_another(name, image_id)
            return () if moved else self._infer(held)
        # As the runtime writes it: some leave out what goes without saying.
        return tuple(held if one == name else one for one in known)

    def _is_of_another(self, original: str, image_id: str) -> bool:
        """Tell whether a reference is known to be held, as something else, as another image."""
        originals = self.memory.originals
        place = originals.held(original)
        there = "" if place is None else originals.image_of(place)
        return bool(there and image_id) and there != image_id

    def _infer(self, held: str) -> tuple[str, ...]:
        inferred = self._inferred.get(held)
        if inferred is None:
            if len(self._inferred) >= _INFERRED:
                self._inferred.clear()
            inferred = self._inferred[held] = (infer_original(self.policy, held) or held,)
        return inferred


def _in_full(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(in_full_or_same, names))


def _replace(names: MutableSequence[str], shown: Iterable[tuple[str, ...]], *, keep: bool) -> None:
    """Replace a repeated field's names, or add to them, each once."""
    held = list(names)
    wanted = list(dict.fromkeys([*(held if keep else ()), *itertools.chain(*shown)]))
    if wanted == held:
        return
    # In place of the runtime's, they are sorted where it sorts them.
    names[:] = sorted(wanted) if not keep and held == sorted(held) else wanted
