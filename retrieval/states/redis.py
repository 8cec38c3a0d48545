"""The states that all replicas have met, in Redis: a second level whose loss costs speed and nothing else."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from retrieval.states.circuit_breaker import CircuitBreaker
from retrieval.states.record import CorruptState, Seal, TextState, from_bytes, to_bytes
from retrieval.states.redis_client import FAILURES, connect

_PREFIX = b"qrerank:v2:"
_PROBES = (b"probe-1", b"probe-2")
_REPLY_BYTES = 8_000_000  # about what one question may bring back
_BATCH_BYTES = 1_000_000  # written at once: little enough for a slow network within the time limit
_PENDING_BYTES = 32_000_000  # waiting to be written
_WRITER_PATIENCE = 10  # nobody waits for the writer, so it may wait this much longer than a request
_LIKELY_TOKENS = 512  # a guess at a large text, until larger ones are met

_TALLIED = ("hits", "misses", "written", "dropped", "corrupt")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReplicaCounts:
    """What a `RedisStates` has done since it was made."""

    hits: int
    misses: int
    written: int
    dropped: int  # states that were to be written and were not
    corrupt: int  # values that were no valid record; they count as misses, too
    errors: int  # failed exchanges with the server
    available: bool


class RedisStates:
    """States by key in Redis. Safe to use from several threads; no call raises because of the server.

    During an outage (`CircuitBreaker`) every key is a miss at once. So it costs each request then under way about
    `timeout_s` at most, and later requests nothing.
    """

    def __init__(
        self,
        url: str,
        pooled_dimension: int,
        token_dimension: int,
        *,
        secret: bytes | None = None,
        ttl_s: int = 86_400,
        timeout_s: float = 0.1,
        retry_s: float = 5.0,
    ) -> None:
        """Use the server at a redis://, rediss:// or unix:// URL, whether or not it can be reached yet.

        `secret`, where there is one, seals what is written, and nothing is taken that it did not seal: replicas share
        with those of the same secret. `ttl_s` is how long a state is kept after it was written, `timeout_s` how long a
        request waits for the server to connect or to send something. ValueError unless all are positive; RedisUrlError
        for anything but a URL.
        """
        if not (ttl_s >= 1 and timeout_s > 0 and retry_s > 0):
            raise ValueError(f"Redis needs positive times, got ttl_s={ttl_s}, timeout_s={timeout_s}, retry_s={retry_s}")
        self._reader = connect(url, timeout_s)
        self._writer = connect(url, timeout_s * _WRITER_PATIENCE)
        self._dimensions, self._seal = (pooled_dimension, token_dimension), Seal(secret)
        self._prefix = (
            _PREFIX + self._seal.name
        )  # so that replicas of different secrets overwrite nothing of each other
        self._largest = 4 * pooled_dimension + _LIKELY_TOKENS * token_dimension
        self._ttl_s = ttl_s
        self.breaker = CircuitBreaker(
            [self._reader, self._writer], lambda: self._mget(_PROBES), retry_s, "no states are shared"
        )
        self._changed = self.breaker.changed  # guards what follows
        self._pending: deque[tuple[bytes, TextState]] = deque()
        self._tally: Counter[str] = Counter()
        self._pending_bytes = 0
        self._refused = self._closing = False
        self._thread = threading.Thread(target=self._work, name="redis-states", daemon=True)
        self._thread.start()

    def get(self, keys: Sequence[bytes]) -> list[TextState | None]:
        """The states of these keys in their order, None for each that Redis does not have or cannot give now."""
        found: list[TextState | None] = []
        while len(found) < len(keys) and self.breaker.available:
            step = max(1, _REPLY_BYTES // self._largest)
            some = keys[len(found) : len(found) + step]
            found += map(self._read, some, self._ask(some))
        found += [None] * (len(keys) - len(found))
        misses = found.count(None)
        with self._changed:
            self._tally.update(hits=len(found) - misses, misses=misses)
        return found

    def put(self, entries: Mapping[bytes, TextState]) -> None:
        """Have these states written soon; returns at once. What finds the queue full is dropped and counted."""
        sized = [(key, state, state.nbytes) for key, state in entries.items()]
        with self._changed:
            for key, state, size in sized:
                if self._closing or self._pending_bytes + size > _PENDING_BYTES:
                    self._tally["dropped"] += 1
                else:
                    self._pending.append((key, state))
                    self._pending_bytes += size
            self._changed.notify_all()

    def counts(self) -> ReplicaCounts:
        """The counts of one moment."""
        with self._changed:
            tally = {name: self._tally[name] for name in _TALLIED}
            return ReplicaCounts(
                errors=self.breaker.errors + self._tally["refusals"], available=self.breaker.available, **tally
            )

    def check(self) -> None:
        """Ask the server whether it answers, unless it is known that it does not; blocks for `timeout_s` at most."""
        if self.breaker.available:
            self._ask(_PROBES)

    def close(self, flush_s: float = 1.0) -> None:
        """Write what is waiting, for at most this long, and stop; afterwards every key is a miss."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(flush_s)
        with self._changed:
            self._tally["dropped"] += len(self._pending)
            self._pending.clear()
        self.breaker.close()

    def _ask(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys, all None when the server fails."""
        try:
            return self._mget(keys)
        except FAILURES as error:
            self.breaker.fail(error)
            return [None] * len(keys)

    def _mget(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys; ValueError for an answer that holds anything else."""
        values: object = self._reader.mget([self._prefix + key for key in keys])
        if not isinstance(values, list) or len(values) != len(keys):
            raise ValueError("the answer to MGET is no list of as many values as were asked for")
        if not all(value is None or isinstance(value, bytes) for value in values):
            raise ValueError("the answer to MGET holds what is no string")
        return values

    def _read(self, key: bytes, value: bytes | None) -> TextState | None:
        if value is None:
            return None
        try:
            state = from_bytes(value, *self._dimensions, key, self._seal)
        except CorruptState as error:
            with self._changed:
                self._tally["corrupt"] += 1
                first = self._tally["corrupt"] == 1
            fault = self.breaker.note("Redis at {} holds what is no state ({})", error)
            if first:
                log.warning("%s; more of its kind are counted, and all are written anew", fault.text)
            return None
        self._largest = max(self._largest, len(value))
        return state

    def _work(self) -> None:
        """What the writer's thread does: write what is waiting, but for outages."""
        while self._rest():
            try:
                self._write(self._take())
            except Exception as error:  # worker boundary: without this thread nothing would be written any more
                log.exception("the writer of states failed")
                self.breaker.fail(error)  # and so it rests before it goes on

    def _rest(self) -> bool:
        """Sleep until there is something to do; False when there is nothing more to do, ever."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or (self._pending and self.breaker.available))
            return bool(self._pending) and self.breaker.available

    def _take(self) -> list[tuple[bytes, TextState]]:
        """The states to write next: about a batch, at least one of those waiting."""
        batch, size = [], 0
        with self._changed:
            while self._pending and size < _BATCH_BYTES:
                batch.append(self._pending.popleft())
                size += batch[-1][1].nbytes
            self._pending_bytes -= size
        return batch

    def _write(self, batch: list[tuple[bytes, TextState]]) -> None:
        pipeline = self._writer.pipeline(transaction=False)
        for key, record in self._records(batch):
            pipeline.set(self._prefix + key, record, ex=self._ttl_s)
        asked = len(pipeline)
        try:
            answers: list[Any] = pipeline.execute(raise_on_error=False) if asked else []
        except FAILURES as error:
            with self._changed:
                self._tally["dropped"] += asked
            self.breaker.fail(error)
            return
        # A server that is full or read-only refuses writes and still answers requests, so this is no outage.
        refusals = [answer for answer in answers if answer is not True]
        with self._changed:
            self._tally.update(written=asked - len(refusals), dropped=len(refusals), refusals=bool(refusals))
        if refusals:
            why = refusals[0] if isinstance(refusals[0], redis.RedisError) else ValueError("an odd answer to SET")
            fault = self.breaker.note("Redis at {} takes no new states ({})", why)
            if not self._refused:
                log.warning("%s", fault.text)
        self._refused = bool(refusals)

    def _records(self, batch: list[tuple[bytes, TextState]]) -> Iterator[tuple[bytes, bytes]]:
        """The records of these states; one of which none can be made is dropped, and keeps no other from its place."""
        for key, state in batch:
            try:
                record = to_bytes(state, key, self._seal)
            except Exception:
                with self._changed:
                    self._tally.update(dropped=1, malformed=1)
                if self._tally["malformed"] == 1:
                    log.exception("a state cannot be written down, and is dropped; more of its kind are counted")
            else:
                yield key, record
