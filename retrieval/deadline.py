"""When an answer is due, whether anybody still waits for it, and who."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from retrieval.errors import RetrievalError


class Cancelled(RetrievalError):
    """Nobody waits for the answer any more."""


@dataclass(eq=False)
class Deadline:
    """A point in time that work is planned towards; may be called off from another thread."""

    at: float = math.inf  # `time.monotonic()` seconds
    caller: str = ""  # whose work it is: what is computed at once is shared equally between callers
    cancelled: bool = False

    @staticmethod
    def after(seconds: float, caller: str = "") -> Deadline:
        """Due so long from now."""
        return Deadline(time.monotonic() + seconds, caller)

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
