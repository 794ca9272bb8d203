"""The answer to a request for metrics, in the formats that Prometheus reads.

prometheus_client is used for it, which need not be there: it is imported when the first request
comes, and nothing else of the daemon knows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from image_cri_shim.admin.families import FAMILIES, Family
from image_cri_shim.histogram import Histogram
from image_cri_shim.measurements import Measurements

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


@attrs.frozen(eq=False)
class Families:
    """What has been measured, as a collector of prometheus_client's."""

    _measurements: Measurements

    def collect(self) -> Iterator[Metric]:
        """Yield every family, those without samples too."""
        for family in FAMILIES:
            yield _family(family, self._measurements)


def expose(measurements: Measurements, accept: str) -> tuple[bytes, bytes]:
    """Write all metrics, with those of the process and of Python.

    :param accept: the request's ``Accept``; empty if it has none.
    :returns: the content type and the content.
    :raises ModuleNotFoundError: prometheus_client is not there.
    """
    from prometheus_client import (  # noqa: PLC0415 - see above
        CollectorRegistry,
        GCCollector,
        PlatformCollector,
        ProcessCollector,
    )
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

    # Not the library's own: whatever else registers something there, it is nothing of the shim's.
    registry = CollectorRegistry()
    registry.register(Families(measurements))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):
        # A version that is no number.
        encode, content_type = choose_encoder("")
    return content_type.encode("ascii"), encode(registry)


def _family(family: Family, measurements: Measurements) -> Metric:
    from prometheus_client.metrics_core import (  # noqa: PLC0415 - see above
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    name, meaning, labels = family.full_name, family.meaning, family.labels
    if family.kind == "histogram":
        histograms = HistogramMetricFamily(name, meaning, labels=labels)
        for values, histogram in family.samples(measurements):
            if isinstance(histogram, Histogram):
                buckets = [
                    ("+Inf" if math.isinf(bound) else repr(bound), count)
                    for bound, count in histogram.cumulative()
                ]
                histograms.add_metric(values, buckets, histogram.total)
        return histograms
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    numbers = make(name, meaning, labels=labels)
    for values, number in family.samples(measurements):
        if not isinstance(number, Histogram):
            numbers.add_metric(values, number)
    return numbers
