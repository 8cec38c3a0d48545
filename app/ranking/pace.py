"""When encoding must end for scoring to end in time: what scoring costs is learned."""

from __future__ import annotations

import time
from collections.abc import Mapping

from retrieval.deadline import Deadline

_LEARNING = 0.001  # weight of one text in the learned cost of scoring, up to those of `_MOST`
_MOST = 100
_ANSWER_S = 0.01  # kept of a deadline for the way in and out
_FOR_ENCODING = 0.5  # of the time left, at least so much: a cost once learned too high must not stop all learning


class Pace:
    """What requests took, for those to come. Threads may share it: a lost update is soon made up for."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.cost = 0.0  # seconds to score one text that has its states
        self._wait = 0.0  # seconds that a request waits for processors

    def encode_until(self, deadline: Deadline, to_score: int) -> float:
        """When encoding must end, in `time.monotonic()` seconds, for so many texts to be scored in time."""
        left = max(0.0, deadline.at - time.monotonic() - _ANSWER_S)
        reserve = min(self._wait + to_score * self.cost, left * (1 - _FOR_ENCODING))
        return deadline.at - _ANSWER_S - reserve

    def learn(self, ms: Mapping[str, float], texts: int) -> None:
        """Learn from the milliseconds that each stage of a request took which scored so many texts."""
        self._wait += _LEARNING * _MOST * (ms["wait"] / 1e3 - self._wait)
        if texts:
            seconds = sum(ms.get(stage, 0.0) for stage in ("join", "classical", "quantum", "fuse")) / 1e3
            weight = 1.0 if self.cost == 0 else _LEARNING * min(texts, _MOST)
            self.cost += weight * (seconds / texts - self.cost)
