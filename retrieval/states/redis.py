"""The shared Redis cache of text states: a second level below `StateCache`. Losing it only costs speed."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from retrieval.forks import begin
from retrieval.states.record import CorruptState, Seal, TextState, from_bytes, to_bytes
from retrieval.states.redis_client import FAILURES, breaker, connect

_PREFIX = b"qrerank:v2:"
_PROBES = (b"probe-1", b"probe-2")
_REPLY_BYTES = 8_000_000  # approximate limit of one MGET reply
_BATCH_BYTES = 1_000_000  # written in one pipeline; small enough for a slow network within the timeout
_PENDING_BYTES = 32_000_000  # limit of the write queue
_WRITER_TIMEOUT_FACTOR = 10  # no request waits for the writer, so its timeout is longer
_LIKELY_TOKENS = 512  # initial estimate of the tokens of a large text

_TALLIED = ("hits", "misses", "written", "dropped", "corrupt")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReplicaCounts:
    """Counters of a `RedisStates` since its creation."""

    hits: int
    misses: int
    written: int
    dropped: int  # states that were not written
    corrupt: int  # invalid records; they count as misses, too
    errors: int  # failed requests to the server
    available: bool


class RedisStates:
    """A cache of states by key in Redis. Thread-safe; no call raises if the server fails.

    During an outage (`CircuitBreaker`) every key is an immediate miss. An outage delays the requests in flight by
    about `timeout_s` at most, and later requests not at all.
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
        """Start the writer thread; the server need not be reachable yet.

        Args:
            url: A redis://, rediss:// or unix:// URL.
            pooled_dimension: P of the model.
            token_dimension: D of the model.
            secret: Signs the records (HMAC); only replicas with the same secret share states. None for a checksum.
            ttl_s: Seconds after which Redis deletes a written state.
            timeout_s: Seconds that a request waits for the server to connect or to send data.
            retry_s: Seconds between two probes during an outage.

        Raises:
            ValueError: A time is not positive.
            RedisUrlError: The URL cannot be parsed.
        """
        if not (ttl_s >= 1 and timeout_s > 0 and retry_s > 0):
            raise ValueError(f"Redis needs positive times, got ttl_s={ttl_s}, timeout_s={timeout_s}, retry_s={retry_s}")
        self._reader = connect(url, timeout_s)
        self._writer = connect(url, timeout_s * _WRITER_TIMEOUT_FACTOR)
        self._dimensions, self._seal = (pooled_dimension, token_dimension), Seal(secret)
        self._prefix = _PREFIX + self._seal.name  # a prefix per secret: no replica overwrites states of another secret
        self._largest = 4 * pooled_dimension + _LIKELY_TOKENS * token_dimension
        self._ttl_s = ttl_s
        self.breaker = breaker(
            [self._reader, self._writer], lambda: self._mget(_PROBES), retry_s, "no states are shared"
        )
        self._tally: Counter[str] = Counter()
        self._writes_refused = self._closing = False
        begin(self)

    def begin(self) -> None:
        """Start a writer thread with an empty queue; see `forks`."""
        self._pending: deque[tuple[bytes, TextState]] = deque()
        self._pending_bytes = 0
        self._thread = threading.Thread(target=self._work, name="redis-states", daemon=True)
        self._thread.start()

    @property
    def _changed(self) -> threading.Condition:
        """Guards the queue, the tally and what is closing."""
        return self.breaker.changed

    def get(self, keys: Sequence[bytes]) -> list[TextState | None]:
        """Return the states in the order of the keys, None for a miss or during an outage."""
        states: list[TextState | None] = []
        while len(states) < len(keys) and self.breaker.available:
            step = max(1, _REPLY_BYTES // self._largest)
            batch = keys[len(states) : len(states) + step]
            states += map(self._parse, batch, self._fetch(batch))
        states += [None] * (len(keys) - len(states))
        misses = states.count(None)
        with self._changed:
            self._tally.update(hits=len(states) - misses, misses=misses)
        return states

    def put(self, entries: Mapping[bytes, TextState]) -> None:
        """Queue these states for the writer thread and return at once; states beyond a full queue are dropped."""
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
        """Return a consistent snapshot of the counters."""
        with self._changed:
            tally = {name: self._tally[name] for name in _TALLIED}
            return ReplicaCounts(
                errors=self.breaker.errors + self._tally["refusals"], available=self.breaker.available, **tally
            )

    def check(self) -> None:
        """Probe the server unless there is an outage; blocks for `timeout_s` at most."""
        if self.breaker.available:
            self._fetch(_PROBES)

    def close(self, flush_s: float = 1.0) -> None:
        """Write the queue for at most `flush_s` seconds and stop; afterwards every key is a miss."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(flush_s)
        with self._changed:
            self._tally["dropped"] += len(self._pending)
            self._pending.clear()
        self.breaker.close()

    def _fetch(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of these keys; all None if the server fails."""
        try:
            return self._mget(keys)
        except FAILURES as error:
            self.breaker.fail(error)
            return [None] * len(keys)

    def _mget(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of these keys; ValueError for an invalid reply."""
        values: object = self._reader.mget([self._prefix + key for key in keys])
        if not isinstance(values, list) or len(values) != len(keys):
            raise ValueError("the MGET reply is not a list with one value for each key")
        if not all(value is None or isinstance(value, bytes) for value in values):
            raise ValueError("the MGET reply holds a value that is not a string")
        return values

    def _parse(self, key: bytes, value: bytes | None) -> TextState | None:
        if value is None:
            return None
        try:
            state = from_bytes(value, *self._dimensions, key, self._seal)
        except CorruptState as error:
            with self._changed:
                self._tally["corrupt"] += 1
                first = self._tally["corrupt"] == 1
            fault = self.breaker.note("holds an invalid record", error)
            if first:
                log.warning("%s; further invalid records are only counted, and all are overwritten", fault.text)
            return None
        self._largest = max(self._largest, len(value))
        return state

    def _work(self) -> None:
        """Write the queue until `close`, except during outages (the writer thread)."""
        while self._wait_for_work():
            try:
                self._write(self._take())
            except Exception as error:  # worker boundary: if this thread died, no state would be written any more
                log.exception("the state writer failed")
                self.breaker.fail(error)  # pauses the writer until a probe succeeds

    def _wait_for_work(self) -> bool:
        """Wait until there are states to write; False if the thread should end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or (self._pending and self.breaker.available))
            return bool(self._pending) and self.breaker.available

    def _take(self) -> list[tuple[bytes, TextState]]:
        """Take the next batch from the queue: at least one state, about `_BATCH_BYTES`."""
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
        commands = len(pipeline)
        try:
            replies: list[Any] = pipeline.execute(raise_on_error=False) if commands else []
        except FAILURES as error:
            with self._changed:
                self._tally["dropped"] += commands
            self.breaker.fail(error)
            return
        # A full or read-only server refuses writes and still answers reads, so this is not an outage.
        refusals = [reply for reply in replies if reply is not True]
        with self._changed:
            self._tally.update(written=commands - len(refusals), dropped=len(refusals), refusals=bool(refusals))
        if refusals:
            first = refusals[0]
            refusal = first if isinstance(first, redis.RedisError) else ValueError("unexpected reply to SET")
            fault = self.breaker.note("refuses new states", refusal)
            if not self._writes_refused:
                log.warning("%s", fault.text)
        self._writes_refused = bool(refusals)

    def _records(self, batch: list[tuple[bytes, TextState]]) -> Iterator[tuple[bytes, bytes]]:
        """Serialise these states; a state that cannot be serialised is dropped and does not affect the others."""
        for key, state in batch:
            try:
                record = to_bytes(state, key, self._seal)
            except Exception:
                with self._changed:
                    self._tally.update(dropped=1, malformed=1)
                if self._tally["malformed"] == 1:
                    log.exception("a state cannot be serialised and is dropped; further ones are only counted")
            else:
                yield key, record
