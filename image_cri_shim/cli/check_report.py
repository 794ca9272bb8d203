"""What ``check`` has to say about a configuration: for the operator, and for machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import attrs

from image_cri_shim.cli.terminal import columns, microseconds
from image_cri_shim.config import Config
from image_cri_shim.decision import Registry
from image_cri_shim.errors import Problem
from image_cri_shim.policy import in_order
from image_cri_shim.reason import shown_duration

if TYPE_CHECKING:
    # Twisted's side of the world, which is not needed to look at a file.
    from image_cri_shim.registry.probe import Probe

_TLS = {
    "none": "plain http",
    "verified": "TLS verified",
    "not verified": "TLS not verified",
    "unknown": "TLS unknown",
}


@attrs.frozen
class Report:
    """What was found out.

    :ivar file: what the configuration's file is called.
    :ivar config: None if it is refused.
    :ivar problems: everything that is wrong.
    :ivar warnings: what is not wrong, and had better be otherwise.
    :ivar files: those that it was read from, in their order; none for standard input.
    :ivar probes: how each of ``registries`` did; None if they were not tried.
    """

    file: str
    config: Config | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    probes: tuple[Probe, ...] | None = None
    files: tuple[str, ...] = ()

    @property
    def registries(self) -> tuple[Registry, ...]:
        """The registries, in the order in which they are asked."""
        return () if self.config is None else in_order(self.config.all_registries)


def complaints(report: Report) -> Iterator[str]:
    """Yield a line for each thing that is wrong or had better be otherwise."""
    yield from map(str, report.problems)
    for sentence in report.warnings:
        yield f"{report.file}: warning: {sentence}"


def summary(report: Report) -> Iterator[str]:
    """Yield what the configuration says, in short: nothing if it is refused."""
    if report.config is None:
        return
    verdict = "" if report.problems else "ok, "
    count = _count(len(report.registries), "registry", "registries")
    rules = _count(len(report.config.rules), "rule", "rules")
    yield f"{report.file}: {verdict}{count}, {rules}"
    if report.files not in ((), (report.file,)):
        yield f"  read: {', '.join(report.files)}"
    rows = []
    for index, registry in enumerate(report.registries):
        row = [
            f"  {index + 1}",
            registry.name,
            f"priority {registry.priority}",
            "offline" if registry.offline else "",
        ]
        rows.append(row if report.probes is None else [*row, *_tried(report.probes[index])])
    yield from columns(rows)


def as_object(report: Report) -> dict[str, object]:
    """Return the report as an object of what JSON knows; image-cri-shim(8) has the fields."""
    probes = (None,) * len(report.registries) if report.probes is None else report.probes
    return {
        "file": report.file,
        "files": list(report.files),
        "ok": not report.problems,
        "problems": problems_as_objects(report.problems),
        "warnings": list(report.warnings),
        "registries": [
            {
                "name": registry.name,
                "url": registry.url,
                "priority": registry.priority,
                "offline": registry.offline,
                "probe": None if probe is None else _probe(probe),
            }
            for registry, probe in zip(report.registries, probes, strict=True)
        ],
        "rules": 0 if report.config is None else len(report.config.rules),
    }


def problems_as_objects(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """Return one object for each problem, in order, of what JSON knows."""
    return [
        {
            "file": one.file,
            "line": one.line or None,
            "column": one.column or None,
            "key": one.path or None,
            "message": one.message,
        }
        for one in problems
    ]


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _tried(probe: Probe) -> list[str]:
    """Return the cells of a line."""
    if probe.usable:
        verdict = "can be used"
    else:
        # A certificate that is not believed is no matter of cables and firewalls.
        answers = probe.reachable or probe.detail.startswith("TLS:")
        verdict = "cannot be used" if answers else "cannot be reached"
    return [
        verdict,
        _TLS[probe.tls],
        _shown(probe),
        shown_duration(probe.elapsed),
        probe.detail,
    ]


def _shown(probe: Probe) -> str:
    if probe.authentication == "none needed":
        return "no authentication"
    return f"{probe.scheme or 'authentication'} {probe.authentication}"


def _probe(probe: Probe) -> dict[str, object]:
    return {
        "usable": probe.usable,
        "reachable": probe.reachable,
        "tls": probe.tls,
        "authentication": probe.authentication,
        "scheme": probe.scheme or None,
        "detail": probe.detail or None,
        "seconds": microseconds(probe.elapsed),
    }
