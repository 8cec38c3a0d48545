"""A circuit breaker for Redis: during an outage one thread probes the server, and all other calls fail fast."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import redis

from retrieval.errors import Fault
from retrieval.states.redis_client import FAILURES, describe_failure

log = logging.getLogger(__name__)


class CircuitBreaker:
    """Tracks whether a Redis server is available. Thread-safe.

    A failure opens the circuit: it is logged once, and a thread probes the server every `retry_s` seconds until it
    answers. The log record and `last_fault` are written before `available` changes.
    """

    def __init__(
        self, clients: Sequence[redis.Redis], probe: Callable[[], object], retry_s: float, meanwhile: str
    ) -> None:
        """Start with a closed circuit.

        Args:
            clients: All clients of one server; their idle connections are closed when one of them fails.
            probe: Sends a request to the server; raises one of FAILURES if the server does not answer.
            retry_s: Seconds between two probes, above 0.
            meanwhile: The effect of an outage, for the log.
        """
        self._clients, self._probe, self._retry_s, self._meanwhile = clients, probe, retry_s, meanwhile
        self.changed = threading.Condition()  # notified at the end of an outage; the owner may also use its lock
        self._closing = threading.Event()
        self._available, self._errors = True, 0
        self.last_fault: Fault | None = None

    @property
    def available(self) -> bool:
        """Whether there is no outage."""
        return self._available

    @property
    def errors(self) -> int:
        """The number of failed requests to the server."""
        return self._errors

    def fail(self, error: Exception) -> None:
        """Record a failed request: open the circuit unless it is open."""
        # Idle connections most likely lead to the same dead server.
        for client in self._clients:
            client.connection_pool.disconnect(inuse_connections=False)
        fault = self.note("Redis at {} fails ({})", error)
        with self.changed:
            self._errors += 1
            if self._closing.is_set() or not self._available:
                return
            log.warning("%s; %s until it answers", fault.text, self._meanwhile)
            self._available = False
        threading.Thread(target=self._watch, name="circuit-breaker", daemon=True).start()

    def note(self, text: str, error: Exception) -> Fault:
        """Store and return the last fault. text: a format string for the server's address and the error."""
        self.last_fault = fault = Fault.now(text.format(*describe_failure(self._clients[0], error)))
        return fault

    def close(self) -> None:
        """Stop probing and close all connections; `available` stays False."""
        self._closing.set()
        with self.changed:
            self._available = False
        for client in self._clients:
            client.connection_pool.disconnect()

    def _watch(self) -> None:
        """Probe the server until it answers, then close the circuit."""
        while not self._closing.wait(self._retry_s):
            try:
                self._probe()
            except FAILURES as error:
                self.fail(error)
            except Exception:  # worker boundary: if this thread died, the outage would never end
                log.exception("the Redis probe failed")
            else:
                self._recover()
                return

    def _recover(self) -> None:
        with self.changed:
            if not self._closing.is_set():
                log.info("Redis answers again")
                self._available = True
                self.changed.notify_all()
