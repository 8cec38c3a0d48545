"""The life cycle of a release with Helm's engine: install, upgrade, failed upgrade, rollback, uninstall."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import helm_python
from helm_python import _native

from scripts.chart import Values, merged
from scripts.chart.api import Cluster, Key, serving
from scripts.chart.engine import NAMESPACE, RELEASE, Chart, chart
from scripts.chart.examples import examples

# A StatefulSet's volume is immutable: the API server rejects it after it has accepted other objects of the upgrade.
_REFUSED: Values = {"postgresql": {"size": "9Gi"}, "config": {"engine": {"requests": 4}}}
_CHANGED: Values = {"config": {"engine": {"requests": 8, "drain_seconds": 9.5}}}


class Failed(Exception):
    """A release does not behave as expected."""


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
            kubeconfig_content=_kubeconfig(url),
            namespace=NAMESPACE,
            storage_driver="memory",
            qps=1000,
            burst_limit=1000,
        ) as helm,
    ):
        yield Release(helm, cluster, loaded)


def lived(minor: str) -> str:
    """Run the whole life cycle; a summary. Raises Failed."""
    values = examples()["everything"]
    with releasing(minor) as release:
        release.act("install", values)
        objects, pods = len(release.cluster.objects), release.pods()
        release.act("upgrade", merged(values, _CHANGED))
        _must(release.pods()["checksum/config"] != pods["checksum/config"], "a changed setting does not roll the pods")
        _must(
            release.pods()["checksum/secret"] == pods["checksum/secret"], "no secret has changed, and its checksum has"
        )
        good = release.wanted()
        try:
            release.act("upgrade", merged(values, _REFUSED))
        except helm_python.HelmError as error:
            message = str(error)
        else:
            raise Failed("an upgrade of an immutable field succeeded")
        _must("field is immutable" in message, f"the upgrade failed for another reason: {message}")
        _must(release.history()[-1] == "failed", f"the history is {release.history()}")
        _must(release.wanted() != good, "the failed upgrade changed nothing, so a rollback proves nothing")
        release.helm.rollback(RELEASE, version=2)
        _must(release.wanted() == good, "the rollback left something of the failed upgrade")
        history = release.history()
        release.helm.uninstall(RELEASE)
        kept = sorted(kind for kind, _ in release.cluster.objects)
        _must(kept == ["PersistentVolumeClaim"], f"uninstalling left {kept}, not only the data")
    return f"{objects} objects installed, upgraded, a failed upgrade rolled back ({', '.join(history)}), data kept"


def _must(condition: bool, message: str) -> None:
    if not condition:
        raise Failed(message)


def _kubeconfig(url: str) -> str:
    name, context = "check", {"cluster": "check", "user": "check", "namespace": NAMESPACE}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [{"name": name, "context": context}],
    }
    return json.dumps(config)
