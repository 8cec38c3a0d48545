"""An amount that callers share: memory of bodies and of answers, connections, places for work.

One caller may take most of it and never all, so that there is something left for whoever comes next. What a caller is:
`caller_of`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from app.identity import ANONYMOUS, Identity

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


def address_of(client: Sequence[Any] | None) -> str:
    """Where a connection comes from, as servers tell it: a host and a port."""
    return str(client[0]) if client else "unknown"


def caller_of(identity: Identity | None, address: str) -> str:
    """What shares are counted by: the key or token, or where there is none the address.

    By key, not by address: callers behind one proxy are several, and one with many addresses is one.
    """
    if identity is None or identity is ANONYMOUS:
        return f"address:{address}"
    return f"name:{identity.name}" if identity.key_id is None else f"key:{identity.key_id}"
