"""Admission control: which requests are admitted, and in what order they get a thread.

Callers share the processors equally, and so do the requests of one caller. Take a request that needs s seconds of the
whole machine, beside others of its caller that need s₁, s₂, …. It is done after o = s + Σ min(sᵢ, s) seconds if its
caller is alone, and after o + Σ min(cⱼ, o) beside other callers that need c₁, c₂, … seconds in all.

Load shedding: a request is rejected when its deadline leaves less than a part (50 %) of that time. What a request needs
is estimated from its work that is not cached. The seconds for a piece of work are learned from the requests before,
from what they wanted to encode and not from what they got: else an overload in which nothing is encoded looks cheap.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from app.errors import NotReady, Overloaded
from app.quotas.fair_share import part_of_one
from retrieval.deadline import Deadline

PIECE = 1000  # code points
_SCORING = 1 / 50  # of what encoding a piece costs, about
_LEARNING = 1 / 16  # weight of the newest request in the learned cost
_PATIENCE_S = 0.02  # a request that waited less for a thread is never rejected for it
_LATEST_S = 60  # to which a client is put off


@dataclass(eq=False)
class Place:
    """An admitted request."""

    size: float
    deadline: Deadline
    needs: float  # seconds of the whole machine, estimated
    since: float  # `time.monotonic()` seconds
    turn: asyncio.Future[None] | None = None  # done when it gets its thread
    running: bool = False  # whether it has a thread
    spent: float | None = None  # processor seconds of its thread; None until it is done


class Admission:
    """The requests that run or wait, and what they cost. Belongs to the event loop, except `check`."""

    def __init__(self, threads: int, queue: int, least: float = 0.5) -> None:
        """Make room for requests.

        Args:
            threads: How many requests run at once.
            queue: How many more may wait for a thread.
            least: The part of the time that it would get alone that a request must get to be admitted, 0 to 1.
        """
        self._threads, self._room, self._least = threads, threads + queue, least
        self._of_one = part_of_one(threads)  # a thread is free soon, however long one caller's requests take
        self._places: set[Place] = set()
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[Place]] = {}
        self._seconds = self._size = 0.0  # of the last requests, weighted by how late they were
        self._wanted = 0.0

    def __len__(self) -> int:
        """How many requests run or wait."""
        return len(self._places)

    @property
    def running(self) -> int:
        """How many requests have a thread. May be called in any thread."""
        return sum(place.running for place in list(self._places))

    def enter(self, size: float, deadline: Deadline) -> Place:
        """Admit a request of this size; Overloaded where it would get too little done."""
        now = time.monotonic()
        needs = size * self._seconds / self._size if self._size else 0.0
        left = max(0.0, deadline.at - now)
        alone = min(needs, left)
        beside = self._beside(alone, deadline.caller) if self._places else 0.0
        if beside and self._least * (alone + beside) > left:
            raise self._overloaded()
        if len(self._places) >= self._room:
            self._make_room(deadline.caller)
        place = Place(size, deadline, needs, now)
        self._places.add(place)
        return place

    async def wait(self, place: Place) -> None:
        """Wait for a thread; Overloaded if the place went to a caller that has fewer of them."""
        if self._has_thread_for(place.deadline.caller):
            self._run(place)
        else:
            await self._turn(place)

    async def _turn(self, place: Place) -> None:
        place.turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(place.deadline.caller, deque()).append(place)
        await place.turn

    def check(self, place: Place) -> None:
        """Called when a request has its thread; Overloaded if it waited so long that too little would get done."""
        now = time.monotonic()
        had, left = (max(0.0, place.deadline.at - then) for then in (place.since, now))
        if now - place.since > _PATIENCE_S and left < self._least * min(place.needs, had):
            raise self._overloaded()

    def leave(self, place: Place, wanted: float) -> None:
        """Forget a request, and learn what it cost. wanted: encoder seconds that all requests so far asked for."""
        self._places.discard(place)
        if place.running:
            self._running[place.deadline.caller] -= 1
            self._running += Counter()  # callers that have none are forgotten
            place.running = False
        if self._waiting:
            self._forget(place)
            self._run_next()
        if place.spent is not None:
            self._seconds += place.spent + wanted - self._wanted - _LEARNING * self._seconds
            self._size += place.size - _LEARNING * self._size
            self._wanted = wanted

    def close(self) -> None:
        """Reject everything that waits."""
        for place in [place for places in self._waiting.values() for place in places]:
            self._end(place, NotReady("not ready: the service is shutting down"))

    def _beside(self, alone: float, caller: str) -> float:
        """Seconds of other requests before one of this caller is done, which alone would be done after `alone`."""
        needs: defaultdict[str, float] = defaultdict(float)  # by caller
        own = alone
        for place in self._places:
            if place.deadline.caller == caller:
                own += min(place.needs, alone)
            else:
                needs[place.deadline.caller] += place.needs
        return own - alone + sum(min(of, own) for of in needs.values())

    def _has_thread_for(self, caller: str) -> bool:
        return self._running.total() < self._threads and self._running[caller] < self._of_one

    def _run(self, place: Place) -> None:
        place.running = True
        self._running[place.deadline.caller] += 1

    def _run_next(self) -> None:
        """Give free threads to waiting requests, first of the caller that has the fewest threads."""
        while waiting := [caller for caller in self._waiting if self._has_thread_for(caller)]:
            caller = min(waiting, key=lambda caller: self._running[caller])
            place = self._waiting[caller][0]
            self._run(place)
            self._end(place)

    def _make_room(self, caller: str) -> None:
        """Reject the last waiting request of the caller with the most places; Overloaded if there is none.

        So a caller that is alone may have all places, and beside others its share.
        """
        has = Counter(place.deadline.caller for place in self._places)
        crowds = [other for other in self._waiting if has[other] > has[caller] + 1]
        if not crowds:
            raise self._overloaded()
        place = self._waiting[max(crowds, key=lambda other: has[other])][-1]
        self._places.discard(place)
        self._end(place, self._overloaded())

    def _end(self, place: Place, error: Exception | None = None) -> None:
        """End the waiting of a request."""
        self._forget(place)
        if place.turn and not place.turn.done():
            if error:
                place.turn.set_exception(error)
            else:
                place.turn.set_result(None)

    def _forget(self, place: Place) -> None:
        places: Iterable[Place] = self._waiting.get(place.deadline.caller, ())
        if place in places:
            self._waiting[place.deadline.caller].remove(place)
            if not self._waiting[place.deadline.caller]:
                del self._waiting[place.deadline.caller]

    def _overloaded(self) -> Overloaded:
        seconds = max(1, min(_LATEST_S, math.ceil(sum(place.needs for place in list(self._places)))))
        return Overloaded(
            f"{len(self._places)} requests are being served or wait, and this one would be answered too late or with "
            f"too little read; try again in {seconds} s",
            seconds,
        )


def pieces(texts: Iterable[str], most: int) -> int:
    """How many pieces of these texts are read: at least one, at most `most` of each."""
    return sum([min(most, (length - 1) // PIECE + 1) if length else 1 for length in map(len, texts)])


def size_of(missing: Iterable[str], units: int, most: int) -> float:
    """The size of a request's work in pieces to encode. missing: the texts that are not cached."""
    return 1 + pieces(missing, most) + _SCORING * units
