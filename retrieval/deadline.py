"""When an answer is due, and whether anybody still waits for it."""

from __future__ import annotations

import math
import time

from retrieval.errors import RetrievalError


class Cancelled(RetrievalError):
    """Nobody waits for the answer any more."""


class Deadline:
    """A point in time that work is planned towards; may be called off from another thread."""

    def __init__(self, at: float = math.inf) -> None:
        """Due at this `time.monotonic()`, in seconds; never, unless given."""
        self.at = at
        self.cancelled = False

    @staticmethod
    def after(seconds: float) -> Deadline:
        """Due so long from now."""
        return Deadline(time.monotonic() + seconds)

    def share(self, part: float) -> float:
        """When this part of the time from now to the deadline will be over, as `time.monotonic()`."""
        now = time.monotonic()
        return now + part * (self.at - now)

    def cancel(self) -> None:
        """Call the work off: what is not started never will be."""
        self.cancelled = True

    def check(self) -> None:
        """Raise Cancelled if nobody waits any more."""
        if self.cancelled:
            raise Cancelled("the client is gone")
