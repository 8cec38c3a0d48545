"""Whether a manifest is what a cluster takes: by Kubernetes' schemas and the Prometheus operator's models."""

from __future__ import annotations

from functools import cache
from typing import Any

import kubernetes_validate
from cloudcoil.models.prometheus_operator import v1
from pydantic import ValidationError

from scripts.chart.engine import Manifest

VERSIONS = ("1.31", "1.34", "1.37")
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)  # 30 times as fast
OPERATORS = {"ServiceMonitor": v1.ServiceMonitor, "PrometheusRule": v1.PrometheusRule}


def faults(manifest: Manifest, minor: str) -> list[str]:
    """What is wrong with one; nothing where it is right. A kind that nobody knows is wrong."""
    kind = manifest.get("kind", "")
    if kind in OPERATORS:
        return _operators(manifest)
    try:
        kubernetes_validate.validate(manifest, minor, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{kind} {_name(manifest)}: {'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"{kind} {_name(manifest)}: {error.message}"]
    return []


def _operators(manifest: Manifest) -> list[str]:
    try:
        read = OPERATORS[manifest["kind"]].model_validate(manifest)
    except ValidationError as error:
        return [f"{manifest['kind']} {_name(manifest)}: {error}"]
    # The models pass over what they do not know, so what they have read is compared with what was written.
    written = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return [f"{manifest['kind']} {_name(manifest)}: {path} is not known" for path in lost(manifest, written)]


def lost(written: Any, read: Any, path: str = "") -> list[str]:
    """The places of one value that are not in another."""
    if isinstance(written, dict) and isinstance(read, dict):
        return [
            place
            for key, value in written.items()
            for place in ([f"{path}.{key}"] if key not in read else lost(value, read[key], f"{path}.{key}"))
        ]
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        return [
            place for n, pair in enumerate(zip(written, read, strict=True)) for place in lost(*pair, f"{path}[{n}]")
        ]
    return [] if written == read else [path]


def _name(manifest: Manifest) -> str:
    return str(manifest.get("metadata", {}).get("name", "without a name"))
