"""What went wrong last, for whoever runs the service."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """An error that was met. Its text holds no secret and nothing of a client's."""

    text: str
    at: float  # seconds since the epoch

    @staticmethod
    def now(text: str) -> Fault:
        """One that was just met."""
        return Fault(text, time.time())
