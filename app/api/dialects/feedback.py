"""Requests and responses of feedback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.dialects.body import Digits, Number, StrictBody
from app.feedback.judgements import Judgement, Label, Standing
from app.feedback.learner import weights
from app.ranking.hybrid import RANKERS

_MOST = 1000
Index = Annotated[int, Field(ge=0), Number]


def _judgement(index: int | None, name: str | None, label: Label | None) -> Judgement:
    """Of a body that was checked to name one document and a label."""
    return Judgement(cast("str", name) if index is None else index, cast("Label", label))


class JudgementBody(StrictBody):
    """What is said of one document."""

    index: Index | None = Field(None, description="The document's `index` in the response.")
    id: Annotated[str, Field(min_length=1), Digits] | None = Field(
        None, description="Its id in the collection, in place of its index."
    )
    label: Label = Field(
        description="`relevant`, `not`, or `clicked`: a click counts less, the higher the document stood."
    )

    @model_validator(mode="after")
    def _check_document(self) -> Self:
        if (self.index is None) == (self.id is None):
            raise ValueError("say which document is meant, by `index` or by `id`")
        return self

    def judgement(self) -> Judgement:
        """As the learner takes it."""
        return _judgement(self.index, self.id, self.label)


class FeedbackBody(StrictBody):
    """What is said of a ranking: of one document, or of several."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"request_id": "6f1c9d1e4f0a4f0c8f1d2e3b4a5c6d7e", "index": 2, "label": "relevant"},
                {
                    "request_id": "6f1c9d1e4f0a4f0c8f1d2e3b4a5c6d7e",
                    "judgements": [{"id": "birds/7", "label": "clicked"}, {"index": 0, "label": "not"}],
                },
            ]
        },
    )

    request_id: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="X-Request-ID of the ranking's response."
    )
    index: Index | None = None
    id: Annotated[str, Field(min_length=1), Digits] | None = None
    label: Label | None = None
    judgements: list[JudgementBody] | None = Field(None, min_length=1, max_length=_MOST)

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        if (self.label is None) == (self.judgements is None):
            raise ValueError("send a `label` with an `index` or `id`, or `judgements`, a list of them")
        named = (self.index is not None) + (self.id is not None)
        if named != (self.label is not None):
            raise ValueError(
                "say by `index` or by `id` which document a label is of; each of `judgements` says it itself"
            )
        return self

    def all_judgements(self) -> list[Judgement]:
        """What is said of each document."""
        if self.judgements is not None:
            return [body.judgement() for body in self.judgements]
        return [_judgement(self.index, self.id, self.label)]


class WeightsResponse(BaseModel):
    """Weights of the rankers, with the sum 1."""

    classical: float
    quantum: float
    lexical: float


class FeedbackResponse(BaseModel):
    """What was learned."""

    object: Literal["feedback"]
    request_id: str
    accepted: int = Field(description="Judgements that count now.")
    repeated: int = Field(description="Judgements of documents that were judged before; the first one counts.")


class StandingResponse(BaseModel):
    """What was learned in one place."""

    collection: str | None = Field(description="null: of documents that came with the requests.")
    key_group: str = Field(description="The tier of the keys.")
    judged: float = Field(description="Judgements. Clicks count as a part of one.")
    callers: int
    weights: WeightsResponse
    defaults: float = Field(description="How sure it is that the weights without feedback are the best, 0 to 1.")


class StandingsResponse(BaseModel):
    """What was learned, everywhere."""

    object: Literal["list"]
    data: list[StandingResponse]


class ForgottenResponse(BaseModel):
    """What was forgotten."""

    object: Literal["feedback.forgotten"]
    callers: int = Field(description="Of how many callers.")


def respond_standings(standings: Iterable[Standing], defaults: Iterable[float]) -> dict[str, Any]:
    """The response. defaults: the weights of text without feedback, in the order of the rankers."""
    usual = np.array(list(defaults))
    return {
        "object": "list",
        "data": [
            {
                "collection": standing.scope.collection or None,
                "key_group": standing.scope.key_group,
                "judged": standing.judged,
                "callers": standing.callers,
                "weights": dict(zip(RANKERS, weights(standing.probabilities, usual).tolist(), strict=True)),
                "defaults": float(standing.probabilities[0]),
            }
            for standing in standings
        ],
    }
