"""Who is let in: whoever should get enough of what it would get alone. The others are told at once when to come again.

Requests share the processors equally, so that one which needs s seconds of the whole machine, beside others that need
s₁, s₂, …, has them after s + Σ min(sᵢ, s): of what is larger, the rest comes later. It is let in if its deadline leaves
time for enough of that. What a request needs is estimated from the characters that are not remembered. What those
before it wanted per character, read or not, is learned: else an overload in which nothing is read would look cheap.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from app.errors import Overloaded
from retrieval.deadline import Deadline

_LEARNING = 1 / 16  # weight of the newest request in the learned cost
_READ_AT_MOST = 20_000  # characters, about, of a text
_BESIDES = 1_000  # characters' worth of work in any request
_PATIENCE_S = 0.02  # a request that waited less for a thread is never refused for it
_LATEST_S = 60  # to which a client is put off


def size_of(texts: Iterable[str]) -> int:
    """How large the work is for which these texts are to be read, in characters."""
    return _BESIDES + sum(min(len(text), _READ_AT_MOST) for text in texts)


@dataclass(eq=False)
class Place:
    """A request that was let in."""

    size: int
    deadline: Deadline
    needs: float  # seconds of the whole machine, estimated
    since: float
    running: bool = False  # whether it has a thread
    spent: float | None = None  # processor seconds of its thread; None until it is done


class Admission:
    """The requests in work or waiting, and what they cost. Belongs to the event loop, but for `check`."""

    def __init__(self, room: int, least: float = 0.5) -> None:
        """room: the most requests at once, whatever they need. least: the part of what it would get alone."""
        self._room, self._least = room, least
        self._places: set[Place] = set()
        self._seconds = self._size = 0.0  # of the last requests, weighted by how late they were
        self._wanted = 0.0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._places)

    @property
    def running(self) -> int:
        """How many of them have a thread. May be asked in any."""
        return sum(place.running for place in list(self._places))

    def enter(self, size: int, deadline: Deadline) -> Place:
        """Let a request in; Overloaded if it had better come again."""
        now = time.monotonic()
        needs = size * self._seconds / self._size if self._size else 0.0
        left = max(0.0, deadline.at - now)
        alone = min(needs, left)
        beside = sum(min(place.needs, alone) for place in self._places)
        if len(self._places) >= self._room or (beside and self._least * (alone + beside) > left):
            raise self._overloaded()
        place = Place(size, deadline, needs, now)
        self._places.add(place)
        return place

    def check(self, place: Place) -> None:
        """A request has its thread; Overloaded if after so long that its answer would be late, or with little read."""
        now = time.monotonic()
        had = place.deadline.at - place.since
        if now - place.since > _PATIENCE_S and place.deadline.at - now < self._least * min(place.needs, had):
            raise self._overloaded()
        place.running = True

    def leave(self, place: Place, wanted: float) -> None:
        """Let a request go, and learn what it cost.

        wanted: the encoder's seconds that all requests ever wanted, read or not.
        """
        self._places.remove(place)
        if place.spent is not None:
            self._seconds += place.spent + wanted - self._wanted - _LEARNING * self._seconds
            self._size += place.size - _LEARNING * self._size
            self._wanted = wanted

    def _overloaded(self) -> Overloaded:
        seconds = max(1, min(_LATEST_S, math.ceil(sum(place.needs for place in list(self._places)))))
        return Overloaded(
            f"{len(self._places)} requests are being served or wait, and this one would be answered too late or with "
            f"too little read; try again in {seconds} s",
            seconds,
        )
