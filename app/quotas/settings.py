"""The settings of quotas: `QRERANK_QUOTAS__…`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

_Quota = Annotated[int | None, Field(ge=1, le=10**9)]  # None (null in JSON): only the service's limits apply


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TierSettings(_Group):
    """Quotas of each caller of the tier."""

    requests_per_minute: _Quota = None
    similarities_per_hour: _Quota = None
    documents: _Quota = None  # per request


class PublicSettings(TierSettings):
    """Quotas of each caller of the tier public, the lowest."""

    requests_per_minute: _Quota = 60
    similarities_per_hour: _Quota = 1_000
    documents: _Quota = 10


class StandardSettings(TierSettings):
    """Quotas of each caller of the tier standard."""

    requests_per_minute: _Quota = 300
    similarities_per_hour: _Quota = 10_000
    documents: _Quota = 50


class PremiumSettings(TierSettings):
    """Quotas of each caller of the tier premium, the highest one with limits."""

    requests_per_minute: _Quota = 1_000
    similarities_per_hour: _Quota = 50_000
    documents: _Quota = 100


class PriceSettings(_Group):
    """Similarities that are charged for one compared pair of texts, or for one embedded text."""

    classical: int = Field(1, ge=0, le=1000)
    quantum: int = Field(2, ge=0, le=1000)
    hybrid: int = Field(2, ge=0, le=1000)
    embedding: int = Field(1, ge=0, le=1000)


class QuotaSettings(_Group):
    """Quotas of callers by tier. The tier unlimited has none."""

    redis_url: SecretStr | None = Field(
        None, description="redis://… of the counters that replicas share. Absent: the cache's Redis."
    )
    redis_timeout_s: float = Field(
        0.25,
        ge=0.01,
        le=10,
        description="How long a request waits for this Redis. After that its process counts locally.",
    )
    public: PublicSettings = PublicSettings()
    standard: StandardSettings = StandardSettings()
    premium: PremiumSettings = PremiumSettings()
    prices: PriceSettings = PriceSettings()
