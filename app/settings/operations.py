"""The cache, and what watches the service: health, logs, traces, metrics."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, Self

from pydantic import AnyHttpUrl, Field, SecretStr, model_validator

from app.settings.values import Group, Share


class CacheSettings(Group):
    """The cache of encoded texts."""

    max_bytes: int = Field(256 * 2**20, ge=0, le=2**40, description="Memory for encoder states. 0: no cache in memory.")
    redis_url: SecretStr | None = Field(
        None, description="redis://… of a cache that replicas share. Without it requests only take longer."
    )
    redis_ttl_s: int = Field(86_400, ge=1, le=10**8, description="How long Redis keeps the states of a text.")


class HealthSettings(Group):
    """Health probes and integrity checks."""

    probe_every_s: float = Field(5, ge=0, le=3600, description="How long the result of a probe is reused.")
    probe_deadline_ms: int = Field(
        2000, ge=1, le=600_000, description="Time within which the models must rerank the probe's documents."
    )
    certify_every_s: float = Field(
        300,
        ge=0,
        le=10**6,
        description="Time between integrity checks of the open collections. 0: only when a collection is opened.",
    )


class LogSettings(Group):
    """Content and format of the logs."""

    format: Literal["auto", "json", "pretty"] = Field("auto", description="auto: pretty on a terminal, else JSON.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")
    access_sample: Share = Field(
        1.0, description="Share of requests that get a line in the access log. Server errors (5xx) are always logged."
    )
    errors: Literal["frames", "full"] = Field(
        "frames",
        description="Tracebacks. frames: without messages; full: with messages, which may contain client data. "
        "Use full only in development.",
    )


# Packages of the extra `tracing`, parents first: find_spec fails for a package whose parent is missing.
_EXTRA = (
    "opentelemetry",
    "opentelemetry.exporter",
    "opentelemetry.exporter.otlp",
    "opentelemetry.exporter.otlp.proto",
    "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry.sdk",
)


class TracingSettings(Group):
    """OpenTelemetry tracing."""

    endpoint: AnyHttpUrl | None = Field(
        None, description="URL of an OTLP/HTTP collector, http://…:4318. Absent: no tracing."
    )
    sample: Share = Field(1.0, description="Share of requests that are traced when the caller sent no trace context.")
    service: str = Field("quantum-rerank", min_length=1, max_length=128, description="Service name in spans.")

    @model_validator(mode="after")
    def _refuse_without_the_extra(self) -> Self:
        if self.endpoint and not all(find_spec(name) for name in _EXTRA):
            raise ValueError("endpoint: spans need the extra `tracing`: pip install 'quantum-rerank[tracing]'")
        return self


class OperationsSettings(Group):
    """Access to metrics and detailed health."""

    access: Literal["open", "admin"] = Field(
        "open", description="Who may read /metrics and /health/detailed. open: everybody; admin: keys with that role."
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port on which `qrerank serve` serves /metrics, without authentication and on this port only.",
    )
    metrics_host: str | None = Field(None, description="Address of the metrics port. Absent: the service's address.")
