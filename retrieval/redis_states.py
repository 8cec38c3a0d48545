"""The states that all replicas have met, in Redis: a second level whose loss costs speed and nothing else."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from retrieval.fault import Fault
from retrieval.redis_client import FAILURES, connect, told
from retrieval.text_state import CorruptState, TextState, from_bytes, to_bytes

_PREFIX = b"qrerank:v1:"
_REPLY_BYTES = 8_000_000  # about what one question may bring back
_BATCH_BYTES = 1_000_000  # written at once: little enough for a slow network within the time limit
_PENDING_BYTES = 32_000_000  # waiting to be written
_WRITER_PATIENCE = 10  # nobody waits for the writer, so it may wait this much longer than a request
_LIKELY_TOKENS = 512  # a guess at a large text, until larger ones are met

_TALLIED = ("hits", "misses", "written", "dropped", "corrupt", "errors")
_log = logging.getLogger(__name__)


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

    When an exchange fails, an outage begins: it is logged once, every key is a miss at once, and the writer's thread
    asks the server again every `retry_s` until it answers. So an outage costs each request then under way about
    `timeout_s` at most, and later requests nothing.
    """

    def __init__(
        self,
        url: str,
        pooled_dimension: int,
        token_dimension: int,
        *,
        ttl_s: int = 86_400,
        timeout_s: float = 0.1,
        retry_s: float = 5.0,
    ) -> None:
        """Use the server at a redis://, rediss:// or unix:// URL, whether or not it can be reached yet.

        `ttl_s` is how long a state is kept after it was written, `timeout_s` how long a request waits for the server
        to connect or to send something. ValueError unless all are positive; RedisUrlError for anything but a URL.
        """
        if not (ttl_s >= 1 and timeout_s > 0 and retry_s > 0):
            raise ValueError(f"Redis needs positive times, got ttl_s={ttl_s}, timeout_s={timeout_s}, retry_s={retry_s}")
        self._reader = connect(url, timeout_s)
        self._writer = connect(url, timeout_s * _WRITER_PATIENCE)
        self._dimensions = (pooled_dimension, token_dimension)
        self._largest = 4 * pooled_dimension + _LIKELY_TOKENS * token_dimension
        self._ttl_s, self._retry_s = ttl_s, retry_s
        self._changed = threading.Condition()  # guards what follows
        self._pending: deque[tuple[bytes, TextState]] = deque()
        self._tally: Counter[str] = Counter()
        self._pending_bytes = 0
        self._available, self._refused, self._closing = True, False, False
        self.last_fault: Fault | None = None
        self._thread = threading.Thread(target=self._work, name="redis-states", daemon=True)
        self._thread.start()

    def get(self, keys: Sequence[bytes]) -> list[TextState | None]:
        """The states of these keys in their order, None for each that Redis does not have or cannot give now."""
        found: list[TextState | None] = []
        while len(found) < len(keys) and self._available:
            step = max(1, _REPLY_BYTES // self._largest)
            found += map(self._read, self._ask(keys[len(found) : len(found) + step]))
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
            return ReplicaCounts(available=self._available, **{name: self._tally[name] for name in _TALLIED})

    def check(self) -> None:
        """Ask the server whether it answers, unless it is known that it does not; blocks for `timeout_s` at most."""
        if self._available:
            self._ask([b"probe-1", b"probe-2"])

    def close(self, flush_s: float = 1.0) -> None:
        """Write what is waiting, for at most this long, and stop; afterwards every key is a miss."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(flush_s)
        with self._changed:
            self._available = False
            self._tally["dropped"] += len(self._pending)
            self._pending.clear()
        self._reader.connection_pool.disconnect()
        self._writer.connection_pool.disconnect()

    def _ask(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys, all None when the server fails."""
        try:
            return cast("list[bytes | None]", self._reader.mget([_PREFIX + key for key in keys]))
        except FAILURES as error:
            self._fail(error)
            return [None] * len(keys)

    def _read(self, value: bytes | None) -> TextState | None:
        if value is None:
            return None
        try:
            state = from_bytes(value, *self._dimensions)
        except CorruptState:
            with self._changed:
                self._tally["corrupt"] += 1
            return None
        self._largest = max(self._largest, len(value))
        return state

    def _work(self) -> None:
        """What the writer's thread does: write what is waiting, and during an outage see whether it is over."""
        while self._rest():
            if self._available:
                self._write(self._take())
            else:
                self._probe()

    def _rest(self) -> bool:
        """Sleep until there is something to do; False when there is nothing more to do, ever."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closing or not self._available)
            if not self._available:
                self._changed.wait_for(lambda: self._closing, self._retry_s)
                return not self._closing
            return bool(self._pending)

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
        for key, state in batch:
            pipeline.set(_PREFIX + key, to_bytes(state), ex=self._ttl_s)
        try:
            answers: list[Any] = pipeline.execute(raise_on_error=False)
        except FAILURES as error:
            with self._changed:
                self._tally["dropped"] += len(batch)
            self._fail(error)
            return
        # A server that is full or read-only refuses writes and still answers requests, so this is no outage.
        refusals = [answer for answer in answers if isinstance(answer, redis.RedisError)]
        with self._changed:
            self._tally.update(written=len(batch) - len(refusals), dropped=len(refusals), errors=bool(refusals))
        if refusals:
            self.last_fault = Fault.now("Redis at {} takes no new states ({})".format(*told(self._reader, refusals[0])))
            if not self._refused:
                _log.warning("%s", self.last_fault.text)
        self._refused = bool(refusals)

    def _fail(self, error: Exception) -> None:
        """Begin an outage, or go on with one."""
        with self._changed:
            self._tally["errors"] += 1
            begins, self._available = self._available, False
            self._changed.notify_all()
        # Idle connections most likely lead to the same dead server.
        self._reader.connection_pool.disconnect(inuse_connections=False)
        self.last_fault = Fault.now("Redis at {} fails ({})".format(*told(self._reader, error)))
        if begins:
            _log.warning("%s; no states are shared until it answers", self.last_fault.text)

    def _probe(self) -> None:
        """End the outage if the server answers again. It is asked just as requests ask, for several keys at once."""
        try:
            self._reader.mget([_PREFIX + b"probe-1", _PREFIX + b"probe-2"])
        except FAILURES as error:
            self._fail(error)
            return
        with self._changed:
            self._available = not self._closing
        _log.info("Redis answers again")
