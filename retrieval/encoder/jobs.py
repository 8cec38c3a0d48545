"""What waits for the encoder: texts, the jobs of the threads that wait for them, and the callers of the jobs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.deadline import Deadline
from retrieval.encoder.protocol import Tokens
from retrieval.errors import EncoderUnavailable


class Results(Protocol):
    """What a model makes of a batch: states of texts, scores of pairs."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(b,) tokens that were read."""

    def take(self, indices: Sequence[int]) -> Self:
        """Those of some of the batch."""


Out = TypeVar("Out", bound=Results)


@dataclass(eq=False)
class Ticket(Generic[Out]):
    """One text in the queue, requested by one or more jobs."""

    key: bytes
    tokens: Tokens
    jobs: list[Job[Out]] = field(default_factory=list)
    counted: bool = False  # whether it changes the counters and the cost estimate
    running: bool = False
    encoded: Out | None = None


@dataclass(eq=False)
class Caller:
    """A caller with queued jobs; all callers get equal shares of the encoder, however many jobs each has."""

    served: float  # padded tokens picked for it; starts at the current fair share of a caller
    served_per_job: float = 0.0  # fair share of each of its jobs so far, in padded tokens
    jobs: int = 0  # jobs in the queue

    def serve(self, job: Job[Out], tokens: int) -> None:
        """Count padded tokens that were picked for one of its jobs."""
        job.served += tokens
        self.served += tokens
        self.served_per_job += tokens / self.jobs


@dataclass(eq=False)
class Job(Generic[Out]):
    """The texts that one thread waits for."""

    until: float
    deadline: Deadline
    caller: Caller
    served: float = 0.0  # padded tokens picked for it; starts at the caller's `served_per_job`
    tickets: list[Ticket[Out]] = field(default_factory=list)  # of all its texts
    queue: deque[Ticket[Out]] = field(default_factory=deque)  # not picked yet, the most urgent first
    started: bool = False  # whether one of its texts was picked
    pending: int = 0  # tickets neither finished nor dropped
    error: BaseException | None = None
    left: bool = False  # whether its thread went on without what is not encoded yet
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def rank(self) -> tuple[float, float]:
        """Sort key: the least served caller first, then its least served job."""
        return self.caller.served, self.served

    @property
    def abandoned(self) -> bool:
        """Whether its thread no longer waits for results."""
        return self.deadline.cancelled or self.error is not None or self.left

    def close(self, tickets: int) -> None:
        """Count this many tickets as finished or dropped."""
        self.pending -= tickets
        if self.pending == 0 or self.abandoned:
            self.done.set()


class Interrupted(EncoderUnavailable, Generic[Out]):
    """The encoder became unavailable after some of the texts were encoded."""

    def __init__(self, error: EncoderUnavailable, encoded: Sequence[Out | None]) -> None:
        """encoded: the states of the texts, None for each without."""
        super().__init__(str(error), error.retry_after_s)
        self.encoded = encoded
