"""Who asks for what: users of three tiers whose requests together have the PRD's mix.

A user's requests start at random intervals, drawn evenly between two bounds; an answer that takes longer than its
interval is followed by the next request at once. So what is asked does not depend on how fast it is answered, as long
as it is answered in time, and no user exceeds its tier's requests a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["similarity", "small", "medium", "large"]
KINDS: tuple[Kind, ...] = get_args(Kind)

DOCUMENTS: Mapping[Kind, int] = {"small": 10, "medium": 50, "large": 100}  # of one rerank
PRD: Mapping[Kind, int] = {"similarity": 30, "small": 40, "medium": 20, "large": 10}  # per cent of all requests


@dataclass(frozen=True)
class TierMix:
    """What the users of one tier do."""

    users: int  # of every ten
    seconds: tuple[float, float]  # bounds of the interval from one request's start to the next's
    asks: Mapping[Kind, int]  # per cent of the requests of all tiers

    @property
    def per_second(self) -> float:
        """Requests a second of one user that is answered in time."""
        return 2 / sum(self.seconds)


TIERS: Mapping[str, TierMix] = {
    "public": TierMix(5, (1.05, 1.45), {"similarity": 16, "small": 24}),
    "standard": TierMix(3, (0.75, 1.25), {"similarity": 8, "small": 8, "medium": 14}),
    "premium": TierMix(2, (0.4, 14 / 15), {"similarity": 6, "small": 8, "medium": 6, "large": 10}),
}
