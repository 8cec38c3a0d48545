"""An amount that callers share: memory of bodies and of answers, connections, places for work.

One caller may take most of it and never all, so that there is something left for whoever comes next. What a caller is:
`app.identity.caller_of`.
"""

from __future__ import annotations

import math
from collections import Counter

_OF_ONE = 0.75


def part_of_one(amount: int) -> int:
    """The most that one caller may have of an amount, at least 1."""
    return max(1, math.ceil(_OF_ONE * amount))


class Shares:
    """Who took how much. Belongs to the event loop."""

    def __init__(self, amount: int) -> None:
        """amount: at least 1, in any unit."""
        self.amount = amount
        self.of_one = part_of_one(amount)
        self._taken: Counter[str] = Counter()
        self._total = 0

    @property
    def total(self) -> int:
        """What all took together."""
        return self._total

    def taken(self, caller: str) -> int:
        """What one caller took."""
        return self._taken.get(caller, 0)  # asking leaves no entry

    def take(self, caller: str, amount: int) -> bool:
        """Take so much ≥ 0 for a caller; False, and nothing is taken, if that is more than its part or than is left."""
        if self._total + amount > self.amount or self.taken(caller) + amount > self.of_one:
            return False
        self._taken[caller] += amount
        self._total += amount
        return True

    def give(self, caller: str, amount: int) -> None:
        """Give back so much of what a caller took."""
        self._total -= amount
        self._taken[caller] -= amount
        if not self._taken[caller]:
            del self._taken[caller]  # there may be any number of callers
