"""Objects as an API server keeps them: checked strictly, some fields fixed once they are there. No controllers."""

from __future__ import annotations

import copy
import itertools
import uuid
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

from scripts.chart.engine import Manifest
from scripts.chart.manifests import faults

# Of each kind that the chart makes: its group and version, and its name in addresses.
KINDS = {
    "ConfigMap": ("v1", "configmaps"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "Pod": ("v1", "pods"),
    "Secret": ("v1", "secrets"),
    "Service": ("v1", "services"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "Job": ("batch/v1", "jobs"),
    "Ingress": ("networking.k8s.io/v1", "ingresses"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "ServiceMonitor": ("monitoring.coreos.com/v1", "servicemonitors"),
    "PrometheusRule": ("monitoring.coreos.com/v1", "prometheusrules"),
}
# What an API server refuses to change.
FIXED = {
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "serviceName", "volumeClaimTemplates"),
    "Job": ("template", "selector"),
    "PersistentVolumeClaim": ("accessModes", "storageClassName"),
}
Key = tuple[str, str]  # kind, name


class Problem(Exception):
    """What an API server answers in place of an object. code: HTTP's."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        """The parts of a Status."""
        super().__init__(message)
        self.code, self.reason = code, reason


@dataclass
class Cluster:
    """One namespace."""

    minor: str
    objects: dict[Key, Manifest] = field(default_factory=dict)
    writes: int = 0
    _versions: Any = field(default_factory=itertools.count)
    _lock: RLock = field(default_factory=RLock)

    def get(self, kind: str, name: str) -> Manifest:
        """An object; Problem 404."""
        with self._lock:
            if (kind, name) not in self.objects:
                raise Problem(404, "NotFound", f'{kind} "{name}" not found')
            return self.objects[kind, name]

    def every(self, kind: str) -> list[Manifest]:
        """All of a kind."""
        with self._lock:
            return [found for (of, _), found in self.objects.items() if of == kind]

    def create(self, kind: str, made: Manifest) -> Manifest:
        """Keep a new one; Problem 409, 422."""
        with self._lock:
            if (kind, made["metadata"]["name"]) in self.objects:
                raise Problem(409, "AlreadyExists", f'{kind} "{made["metadata"]["name"]}" already exists')
            return self._keep(kind, made, None)

    def apply(self, kind: str, name: str, made: Manifest) -> Manifest:
        """Replace one, as the only owner of its fields does, or keep a new one; Problem 422."""
        with self._lock:
            return self._keep(kind, made, self.objects.get((kind, name)))

    def delete(self, kind: str, name: str) -> None:
        """Forget one; Problem 404."""
        with self._lock:
            self.get(kind, name)
            del self.objects[kind, name]

    def _keep(self, kind: str, made: Manifest, old: Manifest | None) -> Manifest:
        made = copy.deepcopy(made)
        name = made["metadata"]["name"]
        made["metadata"].pop("managedFields", None)
        if wrong := faults({key: value for key, value in made.items() if key != "status"}, self.minor):
            raise Problem(422, "Invalid", "; ".join(wrong))
        if old:
            for place in FIXED.get(kind, ()):
                if old["spec"].get(place) != made["spec"].get(place):
                    raise Problem(422, "Invalid", f'{kind} "{name}" is invalid: spec.{place}: field is immutable')
        before: dict[str, Any] = old["metadata"] if old else {"uid": str(uuid.uuid4()), "generation": 0}
        made["metadata"] |= {
            "uid": before["uid"],
            "generation": before["generation"] + 1,
            "resourceVersion": str(next(self._versions) + 1),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        made["status"] = _status(kind, made)
        self.objects[kind, name] = made
        self.writes += 1
        return made


def _status(kind: str, made: Manifest) -> dict[str, Any]:
    """What controllers would come to report, so that waiting ends."""
    if kind in {"Deployment", "StatefulSet"}:
        replicas = made["spec"].get("replicas", 1)
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
        return counts | {"observedGeneration": made["metadata"]["generation"]}
    if kind == "Job":
        return {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
    return {"phase": {"Pod": "Succeeded", "PersistentVolumeClaim": "Bound"}.get(kind, "")}
