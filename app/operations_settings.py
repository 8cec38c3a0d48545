"""The settings of whoever runs the service: `QRERANK_HEALTH__…` and `QRERANK_OPERATIONS__…`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HealthSettings(_Group):
    """How the service looks after itself."""

    probe_every_s: float = Field(5, ge=0, le=3600, description="For how long what a probe found is remembered.")
    probe_deadline_ms: int = Field(2000, ge=1, le=600_000, description="In which the models must rerank a probe.")
    certify_every_s: float = Field(300, ge=0, le=10**6, description="Between collections' checks; 0: when opened only.")


class OperationsSettings(_Group):
    """Who may see how the service is."""

    access: Literal["open", "admin"] = Field(
        "open", description="To /metrics and /health/detailed: everybody, or administrators' keys."
    )
