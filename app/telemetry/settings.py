"""The settings of what is told about requests: `QRERANK_LOGS__…`, `QRERANK_TRACING__…`, `QRERANK_OPERATIONS__…`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class LogSettings(_Group):
    """What is logged, and how it looks."""

    format: Literal["auto", "json", "pretty"] = Field("auto", description="auto: pretty on a terminal, else JSON.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Of the lines that are written.")
    access_sample: Share = Field(1.0, description="Share of requests that get a line; those that fail (5xx) all do.")
    errors: Literal["frames", "full"] = Field(
        "frames", description="full: tracebacks with messages, which may hold what clients sent; for development."
    )


# What the extra brings. One by one: of a package that is not there nothing can be found.
_EXTRA = (
    "opentelemetry",
    "opentelemetry.exporter",
    "opentelemetry.exporter.otlp",
    "opentelemetry.exporter.otlp.proto",
    "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry.sdk",
)


class TracingSettings(_Group):
    """Where spans go."""

    endpoint: AnyHttpUrl | None = Field(
        None, description="Of an OTLP/HTTP collector, http://…:4318; absent: nothing is traced."
    )
    sample: Share = Field(1.0, description="Share of requests that are traced where no caller decided it.")
    service: str = Field("quantum-rerank", min_length=1, max_length=128, description="The service's name in spans.")

    @model_validator(mode="after")
    def _refuse_without_the_extra(self) -> Self:
        if self.endpoint and not all(find_spec(name) for name in _EXTRA):
            raise ValueError("endpoint: spans need the extra `tracing`: pip install 'quantum-rerank[tracing]'")
        return self


class OperationsSettings(_Group):
    """Who may look at how the service does."""

    access: Literal["open", "admin"] = Field(
        "open", description="Who may see /metrics and /health/detailed: everybody, or keys with the role admin."
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Where `qrerank serve` has /metrics, for whoever reaches it; then only there."
    )
    metrics_host: str | None = Field(None, description="The address of that port; absent: the service's.")
