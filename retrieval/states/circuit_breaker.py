"""A circuit breaker: while a Redis server fails, only one thread asks it, and everybody else does without at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import redis

from retrieval.errors import Fault
from retrieval.states.redis_client import FAILURES, told

log = logging.getLogger(__name__)


class CircuitBreaker:
    """Says whether a server may be asked. Safe to use from several threads.

    A failure begins an outage: it is logged once, and a thread probes the server every `retry_s` seconds until it
    answers. What is logged of a change, and `last_fault`, is there before `available` tells of it.
    """

    def __init__(
        self, clients: Sequence[redis.Redis], probe: Callable[[], object], retry_s: float, meanwhile: str
    ) -> None:
        """Begin without an outage.

        Args:
            clients: All of one server; their idle connections are dropped when one of them fails.
            probe: Asks the server as requests do; raises one of FAILURES where it does not answer.
            retry_s: Seconds between two probes, above 0.
            meanwhile: What is so during an outage, for the log.
        """
        self._clients, self._probe, self._retry_s, self._meanwhile = clients, probe, retry_s, meanwhile
        self.changed = threading.Condition()  # notified at the end of an outage; its owner may guard more with it
        self._closing = threading.Event()
        self._available, self._errors = True, 0
        self.last_fault: Fault | None = None

    @property
    def available(self) -> bool:
        """Whether there is no outage."""
        return self._available

    @property
    def errors(self) -> int:
        """Exchanges with the server that failed."""
        return self._errors

    def fail(self, error: Exception) -> None:
        """Begin an outage, or go on with one."""
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
        """Keep as the last fault what went wrong. text: takes where the server is, and the error."""
        self.last_fault = fault = Fault.now(text.format(*told(self._clients[0], error)))
        return fault

    def close(self) -> None:
        """Ask no more: from now on the server is not available."""
        self._closing.set()
        with self.changed:
            self._available = False
        for client in self._clients:
            client.connection_pool.disconnect()

    def _watch(self) -> None:
        """End the outage as soon as the server answers."""
        while not self._closing.wait(self._retry_s):
            try:
                self._probe()
            except FAILURES as error:
                self.fail(error)
            except Exception:  # worker boundary: without this thread the outage would not end
                log.exception("asking whether Redis answers failed")
            else:
                self._mend()
                return

    def _mend(self) -> None:
        with self.changed:
            if not self._closing.is_set():
                log.info("Redis answers again")
                self._available = True
                self.changed.notify_all()
