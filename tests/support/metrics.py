"""The metrics as whoever collects them reads them."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from image_cri_shim.admin.exposition import expose
from image_cri_shim.admin.families import FAMILIES, PREFIX
from image_cri_shim.measurements import Measurements

OPEN = "application/openmetrics-text; version=1.0.0"


def parsed(measurements: Measurements, accept: str = "") -> dict[str, Metric]:
    """Return all families by their names, without the prefix where that is the shim's."""
    kind, content = expose(measurements, accept)
    read = open_families if b"openmetrics" in kind else families
    return {one.name.removeprefix(PREFIX): one for one in read(content.decode())}


def values(
    measurements: Measurements, name: str, sample: str = ""
) -> Mapping[tuple[str, ...], float]:
    """Return what one of the shim's families says, by the values of the labels in their order.

    :param name: without the prefix, and without ``_total``.
    :param sample: what the samples' names have behind that name.
    """
    wanted = {f"{PREFIX}{name}{sample}", f"{PREFIX}{name}_total{sample}"}
    (family,) = (one for one in FAMILIES if one.name in (name, f"{name}_total"))
    labels = (*family.labels, *(["le"] if sample == "_bucket" else []))
    return {
        tuple(one.labels[label] for label in labels): one.value
        for one in parsed(measurements)[name].samples
        if one.name in wanted
    }


def series(measurements: Measurements) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """Return all time series."""
    return {
        (sample.name, frozenset(sample.labels.items()))
        for family in parsed(measurements).values()
        for sample in family.samples
    }
