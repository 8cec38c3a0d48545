"""The metrics that the service has, as attributes."""

from __future__ import annotations

from app.api.dialects.detect import PATHS
from app.telemetry.catalogue import FAMILIES
from monitoring.promql import Matches, Metric, Unsound


class Registry:
    """Every metric of the service by its name without the prefix: `metrics.requests_total`."""

    def __init__(self) -> None:
        """Read the service's own list."""
        self._metrics = {
            family.short: Metric(family.name, family.type, frozenset(family.labels)) for family in FAMILIES
        }

    def __getattr__(self, name: str) -> Metric:
        """The metric of this name; Unsound if there is none."""
        if name.startswith("_"):  # Python's own questions
            raise AttributeError(name)
        if name not in self._metrics:
            raise Unsound(f"there is no metric {name}; there are {', '.join(self._metrics)}")
        return self._metrics[name]


metrics = Registry()

JOB = "quantum-rerank"  # what Prometheus has to call the service when it scrapes it
RERANK = PATHS  # not those that stream: they answer bit by bit
SIMILARITY = ("/similarity", "/v1/similarity")  # of one pair
WORK = Matches("/(health|metrics|docs)(/.*)?", negated=True)  # but for what monitoring itself asks, and readers
UP_TO_100 = ("1-20", "21-50", "51-100")
