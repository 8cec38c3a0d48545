"""Helm's engine through its Python SDK, without an installed `helm`, and Kubernetes' schemas for what it renders.

Run, it writes the chart's archive: `make chart-package`. `--golden` rewrites the golden file instead; `git diff` then
shows how a change affects the default render.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1
from helm_python import _native
from pydantic import ValidationError

from scripts.chart import CHART, Values

GOLDEN = CHART.parents[1] / "tests" / "helm" / "golden.yaml"
VERSIONS = ("1.31", "1.34", "1.37")  # of Kubernetes
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)  # cached: 30 times as fast
OPERATORS = {"ServiceMonitor": v1.ServiceMonitor, "PrometheusRule": v1.PrometheusRule}
RELEASE, NAMESPACE = "rel", "prod"
Manifest = dict[str, Any]

Refused = helm_python.HelmError  # Helm's error for invalid values


class Chart:
    """A chart that Helm has loaded."""

    def __init__(self, chart: helm_python.Chart) -> None:
        """Wrap the SDK's chart, which the caller closes."""
        self.loaded = chart

    def render(self, values: Values, minor: str = "1.34") -> dict[str, str]:
        """Render the chart as `helm template` does; texts by template. Raises Refused for invalid values."""
        options = {"name": RELEASE, "namespace": NAMESPACE, "kube_version": f"v{minor}.0"}
        # Not `helm_python.Chart.render`, which does not support a cluster version.
        rendered: dict[str, str] = json.loads(
            _native.call_string("helm_render", self.loaded._raw(), json.dumps(values), json.dumps(options))
        )
        return {path.partition("/")[2]: text for path, text in rendered.items()}

    def manifests(self, values: Values, minor: str = "1.34") -> list[Manifest]:
        """The rendered manifests, without the notes."""
        texts = [text for path, text in sorted(self.render(values, minor).items()) if path.endswith(".yaml")]
        return [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]


@contextmanager
def chart(folder: Path = CHART) -> Iterator[Chart]:
    """Load the chart in this folder."""
    with helm_python.Chart.load(folder) as loaded:
        yield Chart(loaded)


def golden(helm: Chart) -> str:
    """The default render as one file, without the release's test, which contains files/rerank.py once more."""
    rendered = {path: text.strip() for path, text in sorted(helm.render({}, VERSIONS[-1]).items())}
    return "".join(f"# {path}\n{text}\n" for path, text in rendered.items() if text and "/tests/" not in path)


def lint(values: Values, minor: str) -> list[str]:
    """The warnings and errors of `helm lint --strict`."""
    report = helm_python.lint(CHART, values=dict(values), strict=True, kube_version=f"v{minor}.0")
    return [message["error"] for message in report["messages"] if message["severity"] >= 2] + list(report["errors"])


def package(destination: Path) -> Path:
    """Write the chart's archive into a folder; its path."""
    destination.mkdir(parents=True, exist_ok=True)
    return Path(helm_python.package(CHART, destination=str(destination)))


def faults(manifest: Manifest, minor: str) -> list[str]:
    """The errors of a manifest; empty if it is valid. An unknown kind is an error."""
    kind = manifest.get("kind", "")
    name = f"{kind} {manifest.get('metadata', {}).get('name', 'without a name')}"
    try:
        if kind in OPERATORS:
            OPERATORS[kind].model_validate(manifest, extra="forbid")
        else:
            kubernetes_validate.validate(manifest, minor, strict=True)
    except ValidationError as error:
        return [f"{name}: {error}"]
    except kubernetes_validate.ValidationError as error:
        return [f"{name}: {'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"{name}: {error.message}"]
    return []


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", action="store_true", help="rewrite the golden file")
    arguments = parser.parse_args()
    if arguments.golden:
        with chart() as helm:
            GOLDEN.write_text(golden(helm), encoding="utf-8")
    print(f"wrote {GOLDEN if arguments.golden else package(Path('dist'))}")


if __name__ == "__main__":
    main()
