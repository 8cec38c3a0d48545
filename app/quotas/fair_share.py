"""Fair sharing of a limited resource among callers: memory for bodies, connections, threads.

One caller may take ¾ of it, so that some is left for others. `caller_of` defines what a caller is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from app.identity import ANONYMOUS, Identity

_MAX_SHARE = 0.75


def part_of_one(amount: int) -> int:
    """The maximum that one caller may take of an amount, at least 1."""
    return max(1, math.ceil(_MAX_SHARE * amount))


class Shares:
    """How much of an amount each caller holds. Use it on the event loop only."""

    def __init__(self, amount: int) -> None:
        """amount: the total, at least 1, in any unit."""
        self.amount = amount
        self.of_one = part_of_one(amount)
        self._taken: Counter[str] = Counter()
        self._total = 0

    @property
    def total(self) -> int:
        """The amount that all callers hold together."""
        return self._total

    def take(self, caller: str, amount: int) -> bool:
        """Take an amount ≥ 0 for a caller; False, and nothing taken, if it exceeds the caller's share or the rest."""
        if self._total + amount > self.amount or self._taken[caller] + amount > self.of_one:
            return False
        if amount:  # whoever holds nothing is not remembered: the number of callers is not bounded
            self._taken[caller] += amount
            self._total += amount
        return True

    def give(self, caller: str, amount: int) -> None:
        """Give back an amount that a caller holds."""
        self._total -= amount
        self._taken[caller] -= amount
        if not self._taken[caller]:
            del self._taken[caller]


def address_of(client: Sequence[Any] | None) -> str:
    """The host of a connection's peer. client: host and port, as in the ASGI scope."""
    return str(client[0]) if client else "unknown"


def caller_of(identity: Identity | None, address: str) -> str:
    """The id by which shares and quotas are counted: the key or token, or the address of an anonymous caller.

    Keys take precedence over addresses: callers behind one proxy differ, and one caller may have many addresses.
    """
    if identity is None or identity is ANONYMOUS:
        return f"address:{address}"
    return f"name:{identity.name}" if identity.key_id is None else f"key:{identity.key_id}"
