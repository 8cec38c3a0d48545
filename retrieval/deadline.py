"""The deadline of a request: its time, its caller, and whether it was cancelled."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from retrieval.errors import RetrievalError


class Cancelled(RetrievalError):
    """The request was cancelled."""


@dataclass(eq=False)
class Deadline:
    """A point in time until which work is planned; may be cancelled from another thread."""

    at: float = math.inf  # `time.monotonic()` seconds
    caller: str = ""  # whose work it is; the encoder is shared equally between callers
    cancelled: bool = False

    @staticmethod
    def after(seconds: float, caller: str = "") -> Deadline:
        """Create a deadline this many seconds from now."""
        return Deadline(time.monotonic() + seconds, caller)

    def share(self, part: float) -> float:
        """Return the time when this part (0 to 1) of the remaining time will have passed, as `time.monotonic()`."""
        now = time.monotonic()
        return now + part * (self.at - now)

    def cancel(self) -> None:
        """Cancel the work: no further step is started."""
        self.cancelled = True

    def check(self) -> None:
        """Raise Cancelled if the deadline was cancelled."""
        if self.cancelled:
            raise Cancelled("the client closed the connection")
