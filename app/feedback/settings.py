"""The settings of feedback: `QRERANK_FEEDBACK__…`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FeedbackSettings(BaseModel):
    """Learning the rankers' weights from what users say of results."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    enabled: bool = Field(
        False,
        description="Whether `hybrid` learns from POST /v1/feedback. Then rankings change with what users say.",
    )
    keep_days: float = Field(7, gt=0, le=366, description="How long a ranking can be judged.")
    rankings: int = Field(10_000, ge=1, le=10**6, description="Maximum number of rankings that are kept for that.")
    caller_judgements: int = Field(
        200,
        ge=1,
        le=10**6,
        description="Judgements up to which those of one caller count; more of them count by their mean.",
    )
