"""The response of GET /health/detailed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from app.health.health import Report

_STATUS = "degraded: the service serves, but a component failed; unavailable: it does not serve."


class ComponentResponse(BaseModel):
    """A component of the service, or an external dependency."""

    status: Literal["ok", "degraded", "unavailable"]
    last_error: str | None = Field(description="The last error since the start; it may be resolved.")
    last_error_at: str | None = Field(description="Time of that error, in UTC.")
    facts: dict[str, Any] = Field(description="Further measurements of the component in this process.")


class TargetResponse(BaseModel):
    """A service target and its measured value."""

    target: float = Field(description="Upper limit: milliseconds or bytes.")
    measured: float | None = Field(description="p95 in milliseconds, or bytes; null if there was nothing to measure.")
    requests: int | None = Field(
        description="Number of measured requests; null if the target does not concern requests."
    )
    meets: bool | None = Field(description="Whether the target is met; null if there was nothing to measure.")


class HealthResponse(BaseModel):
    """Status of the service, of its components and of its targets."""

    status: Literal["ok", "degraded", "unavailable"] = Field(description=_STATUS)
    reason: str | None = Field(description="Why the service does not serve; null if it serves.")
    components: dict[str, ComponentResponse] = Field(description="The configured components, by name.")
    targets: dict[str, TargetResponse] = Field(
        description="`rerank_p95_ms`: requests that rank at most 100 documents, without streams; `similarity_p95_ms`: "
        "requests that compare one pair; both count successful requests, of all worker processes if they share their "
        "metrics. `memory_bytes`: peak memory of the process that responds."
    )
    meets_targets: bool | None = Field(
        description="Whether all measured targets are met; those without a measurement do not count."
    )
    window_s: float = Field(description="Length of the measurement window in seconds, at most the last five minutes.")


def respond(report: Report) -> dict[str, Any]:
    """The report as `HealthResponse`."""
    return {
        "status": report.status,
        "reason": report.reason,
        "components": {
            name: {
                "status": component.status,
                "last_error": component.fault and component.fault.text,
                "last_error_at": component.fault and _moment(component.fault.at),
                "facts": _with_iso_times(component.facts),
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


def _with_iso_times(facts: Any) -> Any:
    """Facts with their times as ISO 8601."""
    if isinstance(facts, dict):
        return {name: _moment(value) if name == "at" else _with_iso_times(value) for name, value in facts.items()}
    return [_with_iso_times(each) for each in facts] if isinstance(facts, list) else facts


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
