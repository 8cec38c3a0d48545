"""The one result that every dialect's response is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.ranking.methods import Method
from app.ranking.stopwatch import Lap, milliseconds
from app.service.request import Document


@dataclass(frozen=True, slots=True)
class Row:
    """One document's place."""

    index: int  # among the documents sent, or among those retrieved
    score: float
    document: Document | None = None  # None unless it is to be shown
    text: str = ""  # what was ranked of it, where it is to be shown
    rankers: Mapping[str, float | None] | None = None
    spans: Sequence[Mapping[str, float]] | None = None  # start, end, score


@dataclass(frozen=True)
class Outcome:
    """A request's answer, best row first."""

    id: str
    model: str  # as the client called it, or ours
    method: Method
    rows: Sequence[Row]
    tokens: int  # that the encoder read for it, now or once
    documents: int  # that were ranked
    encoded: int  # of them, scored by their states
    degraded: Sequence[str]
    laps: Sequence[Lap] = ()
    known: int = 0  # documents whose states were remembered
    served: str = ""  # our name of the model

    @property
    def timings_ms(self) -> dict[str, float]:
        """Milliseconds spent in each stage."""
        return milliseconds(self.laps)

    @property
    def usage(self) -> dict[str, int]:
        """Tokens as OpenAI counts them; some client crashes without each."""
        return {"prompt_tokens": self.tokens, "completion_tokens": 0, "total_tokens": self.tokens}
