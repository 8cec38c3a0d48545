"""One encoder for many threads: their texts share forward passes, none is encoded twice, and callers share equally.

A worker for each stream of the encoder picks the next pass: the first text of the job that had least so far, of the
caller that had least so far, and beside it texts of the same padded length from any job.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

from retrieval.deadline import Deadline
from retrieval.encoder.protocol import PASS_TOKENS, Encoder, Tokens, pass_shapes, pass_size
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


_LOOKAHEAD = 32  # texts of a job among which a pass looks for its length
_LEARNING = 0.1  # weight of the newest pass in the learned cost


@dataclass(frozen=True)
class EncoderCounts:
    """What the encoder did since it started."""

    texts: int
    tokens: int
    passes: Mapping[int, int]  # by the number of texts in one, a power of two
    pending: int
    seconds_per_token: float


class SharedEncoder:
    """Encodes for callers in many threads. A bound on their number is the caller's to keep."""

    def __init__(self, encoder: Encoder) -> None:
        """Wrap an encoder; its `streams` workers start with the first text and rest when there is none."""
        self.encoder = encoder
        self._lock = threading.Lock()
        self._jobs: list[Job] = []
        self._tickets: dict[bytes, Ticket] = {}
        self._callers: dict[str, Caller] = {}  # that have jobs
        # Tokens that a caller would have got by now had it always had its equal share: where newcomers start, so that
        # they neither wait for their elders nor, however many come, hold them up for good.
        self._fair_share = 0.0
        self._workers = 0
        self._pool = ThreadPoolExecutor(encoder.streams, thread_name_prefix="encoder")
        self._cost = 0.0  # seconds per padded token of a pass, learned
        self._texts = self._tokens = 0
        self._passes: Counter[int] = Counter()
        self.wanted_s = 0.0  # that what was asked for takes all streams together, whether it was encoded in time or not

    def counts(self) -> EncoderCounts:
        """What was done, and what waits."""
        with self._lock:
            return EncoderCounts(self._texts, self._tokens, dict(self._passes), len(self._tickets), self._cost)

    def encode(
        self,
        keys: Sequence[bytes],
        texts: Sequence[Tokens],
        until: float,
        deadline: Deadline,
        *,
        counted: bool = True,
    ) -> list[Encoded | None]:
        """Encode n texts, the first most urgently, and wait.

        keys: what tells equal texts apart from others. until: `time.monotonic()` seconds; a text whose pass would not
        end by then is not begun and comes back as None. counted: whether it shows in the counts, and in what is learned
        of costs. Raises Cancelled when the deadline is cancelled meanwhile, or what the encoder raised for one of these
        texts.
        """
        with self._lock:
            caller = self._callers.get(deadline.caller) or Caller(self._fair_share)
            job = Job(until, deadline, caller, caller.of_each_job)
            tickets = self._admit(keys, texts, job, counted)
        job.done.wait()
        deadline.check()
        if job.error is not None:
            raise job.error
        return [ticket.encoded for ticket in tickets]

    def warm_up(self) -> None:
        """Run every shape of pass on every stream, so that kernels are compiled; learn the cost from full ones."""
        shapes = list(pass_shapes(self.encoder.max_tokens))
        full = {length: (size, length) for size, length in reversed(shapes)}
        for chosen in (shapes, list(full.values())[::4]):
            self._cost = 0.0  # so that what compiling took does not count
            list(self._pool.map(self._run_shapes, [chosen] * self.encoder.streams))
        self._texts = self._tokens = 0
        self._passes.clear()

    def _run_shapes(self, shapes: Iterable[tuple[int, int]]) -> None:
        sample = self.encoder.tokenize(["word " * self.encoder.max_tokens])[0]
        for size, length in shapes:
            text = replace(sample, ids=sample.ids[:length], content=sample.content[:length], padded=length)
            self._forward([text] * size)

    def _admit(self, keys: Sequence[bytes], texts: Sequence[Tokens], job: Job, counted: bool) -> list[Ticket]:
        tickets = []
        for key, tokens in zip(keys, texts, strict=True):
            ticket = self._tickets.get(key)
            if ticket is None:
                ticket = self._tickets[key] = Ticket(key, tokens)
            if counted and not ticket.counted:
                ticket.counted = True
                self.wanted_s += tokens.padded * self._cost / self.encoder.streams
            tickets.append(ticket)
            if job not in ticket.jobs:
                ticket.jobs.append(job)
                job.open += 1
                if not ticket.running:
                    job.queue.append(ticket)
        if not job.open:
            job.done.set()
        if job.queue:
            self._jobs.append(job)
            self._callers[job.deadline.caller] = job.caller
            job.caller.jobs += 1
            while self._workers < min(self.encoder.streams, len(self._tickets)):
                self._workers += 1
                self._pool.submit(self._work)
        return tickets

    def _work(self) -> None:
        """Run passes until there is nothing to run."""
        try:
            while batch := self._next():
                self._run(batch)
        except BaseException as error:
            self._fail(error)
            raise

    def _next(self) -> list[Ticket]:
        with self._lock:
            batch = self._pick()
            self._workers -= not batch
            return batch

    def _fail(self, error: BaseException) -> None:
        """A worker died, of a fault of this module or of what is no `Exception`: nobody may wait for it forever."""
        told: Exception = RuntimeError("a worker of the encoder died")  # SystemExit would end the caller's event loop
        told.__cause__ = error
        if isinstance(error, Exception):
            told = error
        with self._lock:
            self._workers -= 1
            for job in {job for ticket in self._tickets.values() for job in ticket.jobs}:
                job.error = told
                job.done.set()
            self._jobs.clear()
            self._callers.clear()
            self._tickets.clear()

    def _pick(self) -> list[Ticket]:
        """The tickets of the next pass; none when no job has anything to begin."""
        while True:
            for job in list(self._jobs):
                while job.queue and job.queue[0].running:
                    job.queue.popleft()  # picked for another job meanwhile
                if job.called_off or (job.queue and not self._fits(job, job.queue[0].tokens.padded)):
                    self._give_up(job)
                elif not job.queue:
                    self._remove(job)  # the rest of its tickets run already
            if not self._jobs:
                return []
            least = min(self._jobs, key=lambda job: job.rank)
            if batch := self._fill(least.queue[0].tokens.padded):  # none if its time ran out just now
                return batch

    def _fill(self, padded: int) -> list[Ticket]:
        """Take texts of one padded length for a pass, from the least served caller's least served job first."""
        most = pass_size(PASS_TOKENS, padded)
        found: list[tuple[Job, Ticket]] = []
        taken: set[bytes] = set()
        for job in sorted(self._jobs, key=lambda other: other.rank):
            for ticket in islice(job.queue, _LOOKAHEAD):
                if len(found) == most or job.called_off or not self._fits(job, (len(found) + 1) * padded):
                    break
                if ticket.tokens.padded == padded and not ticket.running and ticket.key not in taken:
                    found.append((job, ticket))
                    taken.add(ticket.key)
        del found[pass_size(len(found), padded) :]
        self._fair_share += padded * len(found) / len(self._callers)
        for job, ticket in found:
            job.caller.serve(job, padded)
            job.begun = True
            ticket.running = True
        return [ticket for _, ticket in found]

    def _fits(self, job: Job, tokens: int) -> bool:
        """Whether a pass of so many tokens should end in time. A job's first is always tried, or nothing is learned."""
        expected = tokens * self._cost if job.begun else 0.0
        return time.monotonic() + expected <= job.until

    def _run(self, batch: list[Ticket]) -> None:
        """One pass; where it fails, each text alone, so that only the guilty one's jobs see the error."""
        try:
            forward = self._forward if any(ticket.counted for ticket in batch) else self.encoder.forward
            encoded = forward([ticket.tokens for ticket in batch])
        except Exception as error:  # noqa: BLE001 - worker boundary: whoever waits for the text gets the error
            for ticket in batch:
                if len(batch) == 1:
                    self._finish(ticket, None, error)
                else:
                    self._run([ticket])
        else:
            for at, ticket in enumerate(batch):
                self._finish(ticket, encoded.take([at]), None)

    def _forward(self, batch: list[Tokens]) -> Encoded:
        start = time.monotonic()
        encoded = self.encoder.forward(batch)
        padded = len(batch) * batch[0].padded
        seconds = (time.monotonic() - start) / padded
        with self._lock:
            self._cost = seconds if self._cost == 0 else self._cost + _LEARNING * (seconds - self._cost)
            self._texts += len(batch)
            self._passes[len(batch)] += 1
            self._tokens += int(encoded.lengths.sum())
        return encoded

    def _finish(self, ticket: Ticket, encoded: Encoded | None, error: BaseException | None) -> None:
        with self._lock:
            ticket.encoded = encoded
            if self._tickets.get(ticket.key) is ticket:  # not if a worker died meanwhile
                del self._tickets[ticket.key]
            for job in ticket.jobs:
                job.error = job.error or error
                job.close(1)

    def _give_up(self, job: Job) -> None:
        """Drop what a job has not begun; other jobs that want the same texts still get them."""
        self._remove(job)
        dropped = [ticket for ticket in job.queue if not ticket.running]
        for ticket in dropped:
            ticket.jobs.remove(job)
            if not ticket.jobs:
                del self._tickets[ticket.key]
        job.queue.clear()
        job.close(len(dropped))

    def _remove(self, job: Job) -> None:
        self._jobs.remove(job)
        job.caller.jobs -= 1
        if not job.caller.jobs:
            del self._callers[job.deadline.caller]
