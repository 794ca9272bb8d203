"""Rules: what the operator decided for some image references in place of the default.

Pure values; the policy applies them.
"""

from __future__ import annotations

import attrs

from image_cri_shim.pattern import Pattern, matches_tag
from image_cri_shim.reference import ImageReference, is_repository, short_path


@attrs.frozen
class Rewrite:
    """Another path for some images: ``registry.k8s.io/*`` becomes ``google_containers/*``.

    :ivar origin: the host and the path below it that are replaced; its path is empty, or ends with
        ``/*`` or names one repository.
    :ivar path: what stands in their place, without slashes at its ends; empty for nothing.
    :raises ValueError: one of them is something else; the message is a clause that begins with
        "found".
    """

    origin: Pattern = attrs.field()
    path: str = attrs.field()

    @origin.validator
    def _check_origin(self, _: object, origin: Pattern) -> None:
        # What else a * stands for would be lost on the way, and another image taken.
        if "*" in self._below:
            raise ValueError(f"found a * in {origin}: it may stand for a host, or last, as in /*")

    @path.validator
    def _check_path(self, _: object, path: str) -> None:
        if path and not is_repository(path):
            raise ValueError(f"found {path!r}, which is no path of an image")

    @property
    def _below(self) -> str:
        """What is replaced of the path; what stands below it is kept."""
        path = self.origin.path
        return "" if path == "*" else path.removesuffix("/*")

    def apply(self, reference: ImageReference) -> str | None:
        """Return the path for a reference, or None if it is not meant."""
        if not self.origin.matches(reference):
            return None
        below = self._below
        if below == short_path(reference):
            return self.path
        # Whole components: the pattern fits.
        rest = reference.repository[len(below) :].removeprefix("/")
        return "/".join(part for part in (self.path, rest) if part)


@attrs.frozen
class Rule:
    """What holds for the references that it matches.

    :ivar number: its place in the list, from 1.
    :ivar match: the patterns of which one must match.
    :ivar tags: the patterns of tags of which one must match; empty for references of every kind.
    :ivar registries: the names of the registries to ask, in order; None for all in their order.
    :ivar exclude: what is left alone although the rule matches it.
    :ivar rewrite: other paths for some of the images; the first that fits.
    :ivar origin_allowed: whether the image may be pulled as it was written.
    """

    number: int
    match: tuple[Pattern, ...]
    tags: tuple[str, ...] = ()
    registries: tuple[str, ...] | None = None
    exclude: tuple[Pattern, ...] = ()
    rewrite: tuple[Rewrite, ...] = ()
    origin_allowed: bool = True

    @property
    def label(self) -> str:
        """What messages call it: ``rule 2 (quay.io)``."""
        return f"rule {self.number} ({', '.join(map(str, self.match))})"

    def matches(self, reference: ImageReference, *, own: bool) -> bool:
        """Tell whether the rule is the one for a reference.

        :param own: whether it names a configured registry: then only a rule that names this very
            host is about it, not one that is about many.
        """
        if self.tags and not any(matches_tag(tag, reference) for tag in self.tags):
            return False
        return any(one.matches(reference) and (one.names_one_host or not own) for one in self.match)

    def excluded_by(self, reference: ImageReference) -> str:
        """Return what the rule says that leaves a reference alone, or nothing."""
        return next((str(one) for one in self.exclude if one.matches(reference)), "")

    def path(self, reference: ImageReference) -> str | None:
        """Return the path that is written for a reference, or None if none is."""
        paths = (one.apply(reference) for one in self.rewrite)
        return next((path for path in paths if path is not None), None)
