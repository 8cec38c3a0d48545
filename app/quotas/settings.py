"""The settings of quotas: `QRERANK_QUOTAS__…`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

_Quota = Annotated[int | None, Field(ge=1, le=10**9)]  # None, null in JSON: no limit but the service's own


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TierSettings(_Group):
    """What each caller of a tier may ask for."""

    requests_per_minute: _Quota = None
    similarities_per_hour: _Quota = None
    documents: _Quota = None  # in one request


class PublicSettings(TierSettings):
    """The lowest tier."""

    requests_per_minute: _Quota = 60
    similarities_per_hour: _Quota = 1_000
    documents: _Quota = 10


class StandardSettings(TierSettings):
    """The tier between the two."""

    requests_per_minute: _Quota = 300
    similarities_per_hour: _Quota = 10_000
    documents: _Quota = 50


class PremiumSettings(TierSettings):
    """The highest tier that has limits."""

    requests_per_minute: _Quota = 1_000
    similarities_per_hour: _Quota = 50_000
    documents: _Quota = 100


class PriceSettings(_Group):
    """How many similarities it takes to compare one pair of texts, or to embed one text."""

    classical: int = Field(1, ge=0, le=1000)
    quantum: int = Field(2, ge=0, le=1000)
    hybrid: int = Field(2, ge=0, le=1000)
    embedding: int = Field(1, ge=0, le=1000)


class QuotaSettings(_Group):
    """How much callers may ask for, by their tier; the tier unlimited is not limited here."""

    redis_url: SecretStr | None = Field(None, description="Where replicas count together; absent: the cache's.")
    redis_timeout_s: float = Field(
        0.25, ge=0.01, le=10, description="How long it may keep a request waiting; then its process counts alone."
    )
    public: PublicSettings = PublicSettings()
    standard: StandardSettings = StandardSettings()
    premium: PremiumSettings = PremiumSettings()
    prices: PriceSettings = PriceSettings()
