"""When somebody should look, and what they are told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import yaml

from monitoring.promql import Query, Unsound

Severity = Literal["critical", "warning", "info"]  # wake somebody; look today; know


@dataclass(frozen=True)
class Alert:
    """One alert; its name is that of its runbook."""

    name: str
    severity: Severity
    when: Query
    minutes: int  # that it has to hold
    summary: str  # templates of Prometheus: $value, $labels
    description: str

    def __post_init__(self) -> None:
        """Unsound if a text shows a label that the query's series have not."""
        for label in re.findall(r"\$labels\.(\w+)", self.summary + self.description):
            if label not in self.when.labels:
                raise Unsound(f"{self.name} tells of {label}, and {self.when} has not that label")

    def rule(self, runbooks: str) -> Mapping[str, object]:
        """As Prometheus reads it. runbooks: URL of their folder."""
        return {
            "alert": self.name,
            "expr": str(self.when),
            "for": f"{self.minutes}m",
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbooks}/{self.name}.md",
            },
        }


def written(groups: Mapping[str, list[Alert]], runbooks: str) -> str:
    """The rules' YAML, the same for the same alerts."""
    named = [
        {"name": f"quantum-rerank-{name}", "rules": [alert.rule(runbooks) for alert in alerts]}
        for name, alerts in groups.items()
    ]
    return yaml_of({"groups": named})


def yaml_of(document: Mapping[str, object]) -> str:
    """A file for Prometheus."""
    text: str = yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)
    return _HEAD + text


_HEAD = "# Made by `make monitoring` from the service's own metrics; do not edit.\n"
