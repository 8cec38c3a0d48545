"""What waits at the shared encoder: callers, their jobs, and the texts that these are made of."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from retrieval.deadline import Deadline
from retrieval.encoder.protocol import Tokens
from retrieval.encoder.states import Encoded


@dataclass(eq=False)
class Ticket:
    """One text, wanted by one job or more."""

    key: bytes
    tokens: Tokens
    jobs: list[Job] = field(default_factory=list)
    counted: bool = False  # whether anything is to be learned from it
    running: bool = False
    encoded: Encoded | None = None


@dataclass(eq=False)
class Caller:
    """Whose jobs get together what another caller's get."""

    served: float  # padded tokens picked for it, from what a caller had that was there all the time
    of_each_job: float = 0.0  # what a job of its would have got by now that was there all the time
    jobs: int = 0  # in the queue

    def serve(self, job: Job, tokens: int) -> None:
        """Count what was picked for one of its jobs."""
        job.served += tokens
        self.served += tokens
        self.of_each_job += tokens / self.jobs


@dataclass(eq=False)
class Job:
    """What one thread waits for."""

    until: float
    deadline: Deadline
    caller: Caller
    served: float = 0.0  # padded tokens picked for it, from what a job had that was there all the time
    queue: deque[Ticket] = field(default_factory=deque)  # not picked yet, the most wanted first
    begun: bool = False
    open: int = 0  # tickets neither finished nor given up
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def rank(self) -> tuple[float, float]:
        """The least served caller comes first, and of its jobs the least served."""
        return self.caller.served, self.served

    @property
    def called_off(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.deadline.cancelled or self.error is not None

    def close(self, tickets: int) -> None:
        """Count so many tickets as finished or given up."""
        self.open -= tickets
        if self.open == 0 or self.called_off:
            self.done.set()
