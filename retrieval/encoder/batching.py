"""Batching: one encoder for many threads, with shared forward passes, deduplication and fair scheduling.

Each stream of the encoder has a worker, which picks the next batch: the first text of the least served job of the least
served caller, filled up with texts of the same padded length from any job.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Generic, Protocol, TypeVar

from retrieval.circuit_breaker import CircuitBreaker
from retrieval.deadline import Deadline
from retrieval.encoder.jobs import Caller, Interrupted, Job, Out, Results, Ticket
from retrieval.encoder.protocol import PASS_TOKENS, Tokens, pass_shapes, pass_size
from retrieval.errors import EncoderUnavailable
from retrieval.forks import begin

Out_co = TypeVar("Out_co", bound=Results, covariant=True)


class Model(Protocol[Out_co]):
    """What runs batches: an encoder, a cross-encoder."""

    @property
    def streams(self) -> int:
        """The number of forward passes that may run concurrently."""

    @property
    def max_tokens(self) -> int:
        """The most tokens that it reads at once."""

    @property
    def breaker(self) -> CircuitBreaker | None:
        """See `Encoder.breaker`."""

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise texts."""

    def forward(self, batch: Sequence[Tokens]) -> Out_co:
        """Run one pass over texts of equal padded length."""


_LOOKAHEAD = 32  # queued texts of each job that are searched for the padded length of a batch, at least
_LEARNING_RATE = 0.1  # weight of the newest pass in the moving average of the cost
_MOST_LATE = 1024  # states of another machine's encoder that are kept for whoever asks again


@dataclass(frozen=True)
class EncoderCounts:
    """Counters of the encoder since it started."""

    texts: int
    tokens: int
    passes: Mapping[int, int]  # number of passes by batch size, a power of two
    pending: int
    seconds_per_token: float


class SharedEncoder(Generic[Out]):
    """Encodes texts, or scores pairs of them, for many threads. How many there are is limited by admission control."""

    def __init__(self, encoder: Model[Out]) -> None:
        """Wrap an encoder; up to `streams` workers run while there are texts to encode."""
        self.encoder = encoder
        self._late: dict[bytes, Out] = {}  # by key, the oldest first; came after their requests had left
        # Padded tokens that a caller with an equal share would have got since the start. New callers start there: they
        # do not wait for older callers, and cannot starve them, however many arrive.
        self._fair_share = 0.0
        self._cost = 0.0  # moving average of the seconds per padded token of a pass
        self._texts = self._tokens = 0
        self._passes: Counter[int] = Counter()
        self.wanted_s = 0.0  # encoding time of all requested texts, on all streams together, encoded in time or not
        begin(self)

    def begin(self) -> None:
        """Make an empty queue without workers; see `forks`."""
        self._lock = threading.Lock()
        self._jobs: list[Job[Out]] = []
        self._tickets: dict[bytes, Ticket[Out]] = {}
        self._callers: dict[str, Caller] = {}  # callers with queued jobs
        self._workers = 0
        self._pool = ThreadPoolExecutor(self.encoder.streams, thread_name_prefix="encoder")

    def counts(self) -> EncoderCounts:
        """Return the counters and the number of queued texts."""
        with self._lock:
            return EncoderCounts(self._texts, self._tokens, dict(self._passes), len(self._tickets), self._cost)

    @property
    def is_busy(self) -> bool:
        """Whether more waits to be encoded than one pass takes: whoever waits for it needs no processor meanwhile."""
        with self._lock:
            return sum(ticket.tokens.padded for ticket in self._tickets.values()) > PASS_TOKENS

    def encode(
        self,
        keys: Sequence[bytes],
        texts: Sequence[Tokens],
        until: float,
        deadline: Deadline,
        *,
        counted: bool = True,
    ) -> list[Out | None]:
        """Announce n texts and wait for their states; see `announce` and `result`."""
        return self.result(self.announce(keys, texts, until, deadline, counted=counted))

    def announce(
        self,
        keys: Sequence[bytes],
        texts: Sequence[Tokens],
        until: float,
        deadline: Deadline,
        *,
        counted: bool = True,
    ) -> Job[Out]:
        """Queue n texts; they are encoded once somebody waits for a result, together with whatever is queued then.

        Whoever does not wait for the result must `withdraw` the job.

        Args:
            keys: The key of each text; texts with equal keys are encoded once.
            texts: The tokens of each text, the most urgent first.
            until: Time limit, in `time.monotonic()` seconds; no pass starts that would end later.
            deadline: Names the caller; may be cancelled from another thread.
            counted: Whether the texts change the counters and the cost estimate.
        """
        with self._lock:
            caller = self._callers.get(deadline.caller) or Caller(self._fair_share)
            job: Job[Out] = Job(until, deadline, caller, caller.served_per_job)
            self._admit(keys, texts, job, counted)
        return job

    def result(self, job: Job[Out]) -> list[Out | None]:
        """Wait for the states of a job's n texts; None for each that cannot be encoded in time.

        Raises:
            Cancelled: The deadline was cancelled while waiting.
            Interrupted: The encoder is on another machine and became unavailable; the error has what was encoded.
            Exception: The encoder's error for one of these texts.
        """
        with self._lock:
            while job.queue and self._workers < min(self.encoder.streams, len(self._tickets)):
                self._workers += 1
                self._pool.submit(self._work)
        if not job.done.wait(self._patience(job.until)):
            self.withdraw(job)
        job.deadline.check()
        encoded = [ticket.encoded for ticket in job.tickets]
        if isinstance(job.error, EncoderUnavailable):
            raise Interrupted(job.error, encoded)
        if job.error is not None:
            raise job.error
        return encoded

    def warm_up(self, shapes: Iterable[tuple[int, int]] | None = None) -> None:
        """Run the small batch shapes so that kernels are compiled; measure the cost with the largest of them.

        The first pass of a shape takes about 5 ms more, whatever its size and on whichever stream: all share what it
        compiles. That doubles the time of a small one; the large ones, of 40 ms and more, are left out, since they
        would take most of the time of a start. Another machine's encoder has no kernels here, and its passes may cost
        money.

        shapes: (batch size, padded length) of each, the longest first; by default of all passes.
        """
        if self.encoder.breaker:
            return
        shapes = list(shapes or pass_shapes(self.encoder.max_tokens))
        small = [(size, length) for size, length in shapes if size * length <= PASS_TOKENS // 2]
        largest = max(small, key=math.prod)
        streams = range(self.encoder.streams)
        list(self._pool.map(self._run_shapes, [small[stream :: len(streams)] for stream in streams]))
        self._cost = 0.0  # drops the passes that compiled kernels
        list(self._pool.map(self._run_shapes, [[largest] for _ in streams]))
        self._texts = self._tokens = 0
        self._passes.clear()

    def _run_shapes(self, shapes: Iterable[tuple[int, int]]) -> None:
        sample = self.encoder.tokenize(["word " * self.encoder.max_tokens])[0]
        for size, length in shapes:
            text = replace(sample, ids=sample.ids[:length], content=sample.content[:length], padded=length)
            self._forward([text] * size)

    def _admit(self, keys: Sequence[bytes], texts: Sequence[Tokens], job: Job[Out], counted: bool) -> None:
        for key, tokens in zip(keys, texts, strict=True):
            ticket = self._ticket(key, tokens, counted)
            job.tickets.append(ticket)
            if ticket.encoded is None and job not in ticket.jobs:
                ticket.jobs.append(job)
                job.pending += 1
                if not ticket.running:
                    job.queue.append(ticket)
        if not job.pending:
            job.done.set()
        if job.queue:
            self._jobs.append(job)
            self._callers[job.deadline.caller] = job.caller
            job.caller.jobs += 1

    def _ticket(self, key: bytes, tokens: Tokens, counted: bool) -> Ticket[Out]:
        """The ticket of a text: with its state if that came too late for others, else the one in the queue."""
        if key in self._late:
            return Ticket(key, tokens, encoded=self._late.pop(key))
        ticket = self._tickets.setdefault(key, Ticket(key, tokens))
        if counted and not ticket.counted:
            ticket.counted = True
            self.wanted_s += tokens.padded * self._cost / self.encoder.streams
        return ticket

    def _work(self) -> None:
        """Run batches until the queue is empty (a worker)."""
        try:
            while batch := self._next_batch():
                self._run(batch)
        except BaseException as error:
            self._fail(error)
            raise

    def _next_batch(self) -> list[Ticket[Out]]:
        with self._lock:
            batch = self._pick()
            self._workers -= not batch
            return batch

    def _fail(self, error: BaseException) -> None:
        """Fail all jobs after a worker died of a bug here or of a non-`Exception`, so that no thread waits forever."""
        job_error: Exception = RuntimeError("an encoder worker died")  # SystemExit would end the caller's event loop
        job_error.__cause__ = error
        if isinstance(error, Exception):
            job_error = error
        with self._lock:
            self._workers -= 1
            for job in {job for ticket in self._tickets.values() for job in ticket.jobs}:
                job.error = job_error
                job.done.set()
            self._jobs.clear()
            self._callers.clear()
            self._tickets.clear()

    def _pick(self) -> list[Ticket[Out]]:
        """Return the tickets of the next batch; empty if no job has a text to start."""
        while True:
            for job in list(self._jobs):
                while job.queue and job.queue[0].running:
                    job.queue.popleft()  # already picked for another job
                if job.abandoned or (job.queue and not self._fits(job, job.queue[0].tokens.padded)):
                    self._drop(job)
                elif not job.queue:
                    self._remove(job)  # all its remaining tickets are running
            if not self._jobs:
                return []
            least_served = min(self._jobs, key=lambda job: job.rank)
            if batch := self._fill(least_served.queue[0].tokens.padded):  # empty if its time has just run out
                return batch

    def _fill(self, padded: int) -> list[Ticket[Out]]:
        """Pick texts of one padded length for a batch, in the order of `Job.rank`."""
        max_size = pass_size(PASS_TOKENS, padded)
        picked: list[tuple[Job[Out], Ticket[Out]]] = []
        picked_keys: set[bytes] = set()
        for job in sorted(self._jobs, key=lambda other: other.rank):
            for ticket in islice(job.queue, max(_LOOKAHEAD, max_size)):
                if len(picked) == max_size or job.abandoned or not self._fits(job, (len(picked) + 1) * padded):
                    break
                if ticket.tokens.padded == padded and not ticket.running and ticket.key not in picked_keys:
                    picked.append((job, ticket))
                    picked_keys.add(ticket.key)
        del picked[pass_size(len(picked), padded) :]
        self._fair_share += padded * len(picked) / len(self._callers)
        for job, ticket in picked:
            job.caller.serve(job, padded)
            job.started = True
            ticket.running = True
        return [ticket for _, ticket in picked]

    def _fits(self, job: Job[Out], tokens: int) -> bool:
        """Whether a pass of this many padded tokens ends in time. A job's first text always fits, to learn the cost."""
        is_first = not job.started and tokens <= job.queue[0].tokens.padded
        expected = 0.0 if is_first else tokens * self._cost
        return time.monotonic() + expected <= job.until

    def _run(self, batch: list[Ticket[Out]]) -> None:
        """Run one batch; if it fails, retry each text alone so that only the jobs of the failing text get the error.

        Where the encoder does not answer, no text is to blame, and another try would take as long.
        """
        try:
            forward = self._forward if any(ticket.counted for ticket in batch) else self.encoder.forward
            encoded = forward([ticket.tokens for ticket in batch])
        except Exception as error:  # noqa: BLE001 - worker boundary: the jobs of the text get the error
            for ticket in batch:
                if len(batch) == 1 or isinstance(error, EncoderUnavailable):
                    self._finish(ticket, None, error)
                else:
                    self._run([ticket])
        else:
            for at, ticket in enumerate(batch):
                self._finish(ticket, encoded.take([at]), None)

    def _forward(self, batch: list[Tokens]) -> Out:
        start = time.monotonic()
        encoded = self.encoder.forward(batch)
        padded = len(batch) * batch[0].padded
        seconds = (time.monotonic() - start) / padded
        with self._lock:
            self._cost = seconds if self._cost == 0 else self._cost + _LEARNING_RATE * (seconds - self._cost)
            self._texts += len(batch)
            self._passes[len(batch)] += 1
            self._tokens += int(encoded.lengths.sum())
        return encoded

    def _finish(self, ticket: Ticket[Out], encoded: Out | None, error: BaseException | None) -> None:
        with self._lock:
            ticket.encoded = encoded
            if self._tickets.get(ticket.key) is ticket:  # False after another worker died
                del self._tickets[ticket.key]
            if encoded is not None and self.encoder.breaker and all(job.abandoned for job in ticket.jobs):
                self._keep(ticket.key, encoded)
            for job in ticket.jobs:
                job.error = job.error or error
                job.close(1)

    def _keep(self, key: bytes, encoded: Out) -> None:
        """Keep a state that came too late: else requests with short deadlines would never get one."""
        self._late[key] = encoded
        if len(self._late) > _MOST_LATE:
            del self._late[next(iter(self._late))]

    def _patience(self, until: float) -> float | None:
        """Seconds to wait for a job's texts; None for as long as its last pass takes.

        No pass of this process starts that would end late. How long another machine takes, nobody knows.
        """
        if self.encoder.breaker is None:
            return None
        return min(max(0.0, until - time.monotonic()), threading.TIMEOUT_MAX)

    def withdraw(self, job: Job[Out]) -> None:
        """Take a job out whose thread waits no longer, or has its result. Its running texts go on."""
        with self._lock:
            job.left = True
            if job in self._jobs:
                self._drop(job)

    def _drop(self, job: Job[Out]) -> None:
        """Remove a job and its texts that have not started; other jobs still get texts that they share with it."""
        self._remove(job)
        unstarted = [ticket for ticket in job.queue if not ticket.running]
        for ticket in unstarted:
            ticket.jobs.remove(job)
            if not ticket.jobs:
                del self._tickets[ticket.key]
        job.queue.clear()
        job.close(len(unstarted))

    def _remove(self, job: Job[Out]) -> None:
        self._jobs.remove(job)
        job.caller.jobs -= 1
        if not job.caller.jobs:
            del self._callers[job.deadline.caller]
