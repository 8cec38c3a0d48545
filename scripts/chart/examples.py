"""Example values for the checks: the defaults, each values file of the chart, and everything switched on."""

from __future__ import annotations

from typing import Any

import yaml

from scripts.chart import CHART, Values, merged

_SECRETS: dict[str, Any] = {  # required by the air-gapped values file
    "redis": {"password": "a redis/password+1"},
    "postgresql": {"password": "a postgresql/password+1"},
    "secretConfig": {"auth": {"pepper": "a pepper of thirty-two characters"}},
}
_ALL: dict[str, Any] = {
    "replicaCount": 3,
    "config": {
        "aliases": {"rerank-v3.5": "all-MiniLM-L6-v2:quantum"},
        "models": ["hash"],
        "auth": {"jwt": {"jwks_file": "/issuer/jwks.json"}},
        "tracing": {"endpoint": "http://collector:4318"},
    },
    "secretConfig": {"auth": {"keys": ["a key of some characters"], "pepper": "a pepper of thirty-two characters"}},
    "podAnnotations": {"example.com/team": "search"},
    "podLabels": {"team": "search"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "search", "effect": "NoSchedule"}],
    "priorityClassName": "high",
    "mounts": [
        {"name": "issuer", "path": "/issuer", "configMap": "jwks"},
        {"name": "models", "path": "/models", "claim": "models"},
        {"name": "ca", "path": "/ca", "secret": "ca"},
    ],
    "env": [{"name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": {"secretKeyRef": {"name": "otel", "key": "headers"}}}],
    "service": {"annotations": {"example.com/a": "b"}},
    "serviceAccount": {"annotations": {"example.com/role": "none"}},
    "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": ["registry"]},
    "ingress": {"enabled": True, "className": "nginx", "host": "rerank.example.com", "annotations": {"a/b": "c"}},
    "autoscaling": {"enabled": True, "latency": {"metric": "qrerank_rerank_p95_seconds"}},
    "networkPolicy": {"egress": [{"cidr": "10.0.0.9/32", "port": 4318}]},
    "persistence": {"accessMode": "ReadWriteMany", "storageClass": "nfs"},
    "index": {"enabled": True, "configMap": "papers"},
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "rules": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True},
        "runbooks": "https://wiki.example.com/runbooks/",
    },
    "redis": {"enabled": True, "password": _SECRETS["redis"]["password"]},
    "postgresql": {"enabled": True, "password": _SECRETS["postgresql"]["password"], "storageClass": "ssd"},
}


def examples() -> dict[str, Values]:
    """Example values by name."""
    files = {path.name: yaml.safe_load(path.read_bytes()) for path in sorted(CHART.glob("values-*.yaml"))}
    files["values-air-gapped.yaml"] = merged(files["values-air-gapped.yaml"], _SECRETS)
    return {"values.yaml": {}, **files, "everything": _ALL}
