"""The settings of how the service looks after itself: `QRERANK_HEALTH__…`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class HealthSettings(BaseModel):
    """How the service looks after itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probe_every_s: float = Field(5, ge=0, le=3600, description="For how long what a probe found is remembered.")
    probe_deadline_ms: int = Field(2000, ge=1, le=600_000, description="In which the models must rerank a probe.")
    certify_every_s: float = Field(300, ge=0, le=10**6, description="Between collections' checks; 0: when opened only.")
