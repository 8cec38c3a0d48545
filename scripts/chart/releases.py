"""The life of a release with Helm's own engine: installed, upgraded, an upgrade that fails, rolled back, ended."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import helm_python
from helm_python import _native

from scripts.chart.api import Cluster, Key, serving
from scripts.chart.engine import NAMESPACE, RELEASE, Chart, Values, chart
from scripts.chart.examples import examples, merged

# A StatefulSet's volume cannot be changed: an API server refuses this, after it has taken other objects of the upgrade.
_REFUSED: Values = {"postgresql": {"size": "9Gi"}, "config": {"engine": {"requests": 4}}}
_CHANGED: Values = {"config": {"engine": {"requests": 8, "drain_seconds": 9.5}}}


class Failed(Exception):
    """A release does not go as it should."""


@dataclass
class Release:
    """Helm, a cluster and a chart."""

    helm: helm_python.Config
    cluster: Cluster
    chart: Chart

    def act(self, action: str, values: Values) -> None:
        """`helm install` or `helm upgrade`; helm_python.HelmError if it fails."""
        # The SDK's own methods validate with the server's OpenAPI document, which ours has not: it validates itself.
        options = json.dumps({"namespace": NAMESPACE, "disable_openapi_validation": True})
        context = _native.HANDLE(0)
        loaded = self.chart.loaded._raw()
        _native.call_string(
            f"helm_{action}", self.helm._raw(), context, loaded, None, RELEASE, json.dumps(values), options
        )

    def history(self) -> list[str]:
        """What became of each revision."""
        return [revision["status"] for revision in self.helm.history(RELEASE)]

    def wanted(self) -> dict[Key, Any]:
        """What each object says, without what the server adds."""
        parts = ("spec", "data", "stringData")
        return copy.deepcopy(
            {key: [made.get(part) for part in parts] for key, made in sorted(self.cluster.objects.items())}
        )

    def pods(self) -> dict[str, str]:
        """The annotations of the pods that serve: another checksum is another rollout."""
        server = self.cluster.objects["Deployment", f"{RELEASE}-quantum-rerank"]
        return dict(server["spec"]["template"]["metadata"]["annotations"])


@contextmanager
def releasing(minor: str) -> Iterator[Release]:
    """A release on an empty cluster of a version."""
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
    """Go through all of it; what happened, or Failed."""
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
            said = str(error)
        else:
            raise Failed("an upgrade of what cannot change went through")
        _must("field is immutable" in said, f"the upgrade failed otherwise: {said}")
        _must(release.history()[-1] == "failed", f"the history is {release.history()}")
        _must(release.wanted() != good, "the failed upgrade changed nothing, so that a rollback would prove nothing")
        release.helm.rollback(RELEASE, version=2)
        _must(release.wanted() == good, "the rollback left something of the failed upgrade")
        history = release.history()
        release.helm.uninstall(RELEASE)
        kept = sorted(kind for kind, _ in release.cluster.objects)
        _must(kept == ["PersistentVolumeClaim"], f"after the end there are {kept}, not the data alone")
    return f"{objects} objects installed, upgraded, a refused upgrade rolled back ({', '.join(history)}), data kept"


def _must(held: bool, otherwise: str) -> None:
    if not held:
        raise Failed(otherwise)


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
