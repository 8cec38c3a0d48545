"""Helm's own engine, from its SDK for Python: there is no `helm` to install."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import helm_python
import yaml
from helm_python import _native

CHART = Path(__file__).parents[2] / "helm" / "quantum-rerank"
RELEASE, NAMESPACE = "rel", "prod"
Values = Mapping[str, Any]
Manifest = dict[str, Any]

Refused = helm_python.HelmError  # what Helm says of values that it does not take


class Chart:
    """The chart as Helm has loaded it."""

    def __init__(self, chart: helm_python.Chart) -> None:
        """Keep it."""
        self.loaded = chart

    def render(self, values: Values, minor: str = "1.34") -> dict[str, str]:
        """What `helm template` makes of values, by template; Refused if it makes nothing."""
        options = {"name": RELEASE, "namespace": NAMESPACE, "kube_version": f"v{minor}.0"}
        # Not `helm_python.Chart.render`, which cannot be told the cluster's version.
        made: dict[str, str] = json.loads(
            _native.call_string("helm_render", self.loaded._raw(), json.dumps(values), json.dumps(options))
        )
        return {path.partition("/")[2]: text for path, text in made.items()}

    def manifests(self, values: Values, minor: str = "1.34") -> list[Manifest]:
        """The same as objects, without the notes."""
        texts = [text for path, text in sorted(self.render(values, minor).items()) if path.endswith(".yaml")]
        return [found for text in texts for found in yaml.safe_load_all(text) if found]


@contextmanager
def chart(folder: Path = CHART) -> Iterator[Chart]:
    """The chart in this folder."""
    with helm_python.Chart.load(folder) as loaded:
        yield Chart(loaded)


def lint(values: Values, minor: str) -> list[str]:
    """What `helm lint --strict` objects to."""
    report = helm_python.lint(CHART, values=dict(values), strict=True, kube_version=f"v{minor}.0")
    return [message["error"] for message in report["messages"] if message["severity"] >= 2] + list(report["errors"])


def package(destination: Path) -> Path:
    """Write the chart's archive into a folder; where it is."""
    destination.mkdir(parents=True, exist_ok=True)
    return Path(helm_python.package(CHART, destination=str(destination)))
