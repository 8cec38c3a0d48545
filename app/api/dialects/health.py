"""How the service is, as whoever runs it sees it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from app.health.health import Report

_STATUS = "degraded: the service serves, but lost a part; unavailable: it does not serve."


class ComponentResponse(BaseModel):
    """A part of the service, or something that it leans on."""

    status: Literal["ok", "degraded", "unavailable"]
    last_error: str | None = Field(description="The last one since the start, though it may be over.")
    last_error_at: str | None = Field(description="When that was, in UTC.")
    facts: dict[str, Any] = Field(description="What else is known of it, in this process.")


class TargetResponse(BaseModel):
    """What is promised, and what was measured."""

    target: float = Field(description="At most so much.")
    measured: float | None = Field(
        description="Milliseconds at p95, or bytes; null where there was nothing to measure."
    )
    requests: int | None = Field(description="That it was measured on; null for what is not measured on requests.")
    meets: bool | None = Field(description="Null where there was nothing to measure: neither met nor missed.")


class HealthResponse(BaseModel):
    """How the service is."""

    status: Literal["ok", "degraded", "unavailable"] = Field(description=_STATUS)
    reason: str | None = Field(description="Why it does not serve, where it does not.")
    components: dict[str, ComponentResponse] = Field(description="Those that are configured, by name.")
    targets: dict[str, TargetResponse] = Field(
        description="`rerank_p95_ms`: of requests that rank at most 100 documents, not as a stream; "
        "`similarity_p95_ms`: of those that compare one pair; both of requests that succeeded, on all worker processes "
        "where they share their metrics. `memory_bytes`: the most that the process that answers held."
    )
    meets_targets: bool | None = Field(description="Whether all that was measured is met. What was not does not count.")
    window_s: float = Field(description="Seconds that the targets were measured in: the last five minutes at most.")


def respond(report: Report) -> dict[str, Any]:
    """The report's members."""
    return {
        "status": report.status,
        "reason": report.reason,
        "components": {
            name: {
                "status": component.status,
                "last_error": component.fault and component.fault.text,
                "last_error_at": component.fault and _moment(component.fault.at),
                "facts": _told(component.facts),
            }
            for name, component in report.components.items()
        },
        "targets": {
            name: {
                "target": target.target,
                "measured": None if target.measured is None else round(target.measured, 2),
                "requests": target.requests,
                "meets": target.meets,
            }
            for name, target in report.targets.items()
        },
        "meets_targets": report.meets_targets,
        "window_s": round(report.window_s, 1),
    }


def _told(facts: Any) -> Any:
    """Facts, with points in time as the wire has them."""
    if isinstance(facts, dict):
        return {name: _moment(value) if name == "at" else _told(value) for name, value in facts.items()}
    return [_told(each) for each in facts] if isinstance(facts, list) else facts


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
