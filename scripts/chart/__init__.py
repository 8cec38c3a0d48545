"""The Helm chart: files generated from the settings, and the checks of `make chart`, which runs without the service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHART = Path(__file__).parents[2] / "helm" / "quantum-rerank"
Values = Mapping[str, Any]


def merged(base: Values, over: Values) -> dict[str, Any]:
    """Merge values as Helm merges values files: the latter override."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
