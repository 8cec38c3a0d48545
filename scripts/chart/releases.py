"""Releases with Helm's engine on a cluster in memory."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import helm_python
from helm_python import _native

from scripts.chart import Values
from scripts.chart.api import Cluster, Key, serving
from scripts.chart.engine import NAMESPACE, RELEASE, Chart, chart


@dataclass
class Release:
    """A release of a chart on a cluster."""

    helm: helm_python.Config
    cluster: Cluster
    chart: Chart

    def act(self, action: str, values: Values) -> None:
        """Run `helm install` or `helm upgrade`. Raises helm_python.HelmError."""
        # The SDK's methods need the server's OpenAPI document, which our server lacks; it validates objects itself.
        options = json.dumps({"namespace": NAMESPACE, "disable_openapi_validation": True})
        context = _native.HANDLE(0)
        loaded = self.chart.loaded._raw()
        _native.call_string(
            f"helm_{action}", self.helm._raw(), context, loaded, None, RELEASE, json.dumps(values), options
        )

    def history(self) -> list[str]:
        """The status of each revision."""
        return [revision["status"] for revision in self.helm.history(RELEASE)]

    def wanted(self) -> dict[Key, Any]:
        """The desired state of each object, without the fields that the server adds."""
        parts = ("spec", "data", "stringData")
        return copy.deepcopy(
            {key: [made.get(part) for part in parts] for key, made in sorted(self.cluster.objects.items())}
        )

    def pods(self) -> dict[str, str]:
        """The server pods' annotations: a changed checksum causes a rollout."""
        server = self.cluster.objects["Deployment", f"{RELEASE}-quantum-rerank"]
        return dict(server["spec"]["template"]["metadata"]["annotations"])


@contextmanager
def releasing(minor: str) -> Iterator[Release]:
    """A release on an empty cluster of this Kubernetes version."""
    cluster = Cluster(minor)
    with (
        serving(cluster) as url,
        chart() as loaded,
        helm_python.Config(
            kube_apiserver=url, namespace=NAMESPACE, storage_driver="memory", qps=1000, burst_limit=1000
        ) as helm,
    ):
        yield Release(helm, cluster, loaded)
