"""A table of references, registries and rules, and what each reference is to be pulled as.

A line reads ``reference => candidates in order, itself | rule | excluded PATTERN``, or
``reference !! words of the error``. ``itself`` is the name as it was written; it is missing where
the rule does not allow the origin. ``itself as NAME`` has the credentials of that registry.
"""

from __future__ import annotations

import re

import attrs
import pytest

from image_cri_shim.decision import Registry
from image_cri_shim.pattern import parse_pattern, parse_tagged_pattern
from image_cri_shim.policy import Plan, Policy
from image_cri_shim.reference import InvalidReferenceError
from image_cri_shim.rules import Rewrite, Rule

HEX = "0123456789abcdef" * 4
# What stands for something long or invisible, in pointed brackets; <a*3> is aaa.
WORDS = {
    "hex": HEX,
    "HEX": HEX.upper(),
    "hex63": HEX[:63],
    "sha256": f"sha256:{HEX}",
    "sha384": f"sha384:{HEX}{HEX[:32]}",
    "sha512": f"sha512:{HEX}{HEX}",
    "nothing": "",
    "space": " ",
    "newline": "\n",
    "tab": "\t",
    "nul": "\0",
}


def spelt_out(text: str) -> str:
    text = re.sub(r"<([a-z/]+)\*(\d+)>", lambda found: found[1] * int(found[2]), text)
    return re.sub(r"<(\w+)>", lambda found: WORDS[found[1]], text)


@attrs.frozen
class Line:
    """One line of a table.

    :ivar shown: the reference as it stands there.
    :ivar expected: what stands behind it, spelt out.
    """

    topic: str
    policy: Policy = attrs.field(repr=False)
    shown: str
    expected: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.shown}"

    def found(self) -> str:
        """Return what is to be equal to what is expected."""
        text = spelt_out(self.shown)
        try:
            plan = self.policy.plan(text)
        except InvalidReferenceError as error:
            words = self.expected.removeprefix("!! ")
            return f"!! {words if words in str(error) else error}"
        if plan.as_written.name != text:
            return f"another text: {plan.as_written.name}"
        return told(plan)


def told(plan: Plan) -> str:
    """Write a plan as it stands in a table."""
    names = [candidate.name for candidate in plan.candidates]
    if plan.origin_allowed:
        own = plan.as_written.registry
        names.append("itself" if own is None else f"itself as {own.name}")
    rule = "" if plan.rule is None else f" | {plan.rule.label}"
    excluded = f" | excluded {plan.excluded}" if plan.excluded else ""
    return f"=> {', '.join(names)}{rule}{excluded}"


class Table:
    """The lines, by topic."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def topic(self, title: str, *settings: Registry | Rule, lines: str) -> None:
        """Add the lines about some registries and rules; the rules are numbered from 1."""
        registries = [one for one in settings if isinstance(one, Registry)]
        rules = [one for one in settings if isinstance(one, Rule)]
        policy = Policy(registries, [attrs.evolve(one, number=n) for n, one in enumerate(rules, 1)])
        for line in lines.strip().splitlines():
            shown, mark, expected = re.split(r"\s+(=>|!!)\s*", line.strip(), maxsplit=1)
            self.lines.append(Line(title, policy, shown, spelt_out(f"{mark} {expected}")))

    def test(self) -> pytest.MarkDecorator:
        """Return the decorator that makes a test of every line."""
        return pytest.mark.parametrize("line", self.lines, ids=str)


def rule(
    match: str,
    *,
    tags: str = "",
    registries: str | None = None,
    exclude: str = "",
    rewrite: tuple[tuple[str, str], ...] = (),
    strict: bool = False,
) -> Rule:
    """Make a rule of texts in which spaces separate patterns and names."""
    return Rule(
        0,
        tuple(parse_pattern(text) for text in match.split()),
        tags=tuple(tags.split()),
        registries=None if registries is None else tuple(registries.split()),
        exclude=tuple(parse_tagged_pattern(text) for text in exclude.split()),
        rewrite=tuple(Rewrite(parse_pattern(origin), path) for origin, path in rewrite),
        origin_allowed=not strict,
    )
