"""A circuit breaker: during an outage one thread probes the other side, and all other calls fail fast."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from retrieval.errors import Fault
from retrieval.forks import begin

log = logging.getLogger(__name__)


class CircuitBreaker:
    """Tracks whether a dependency is available. Thread-safe.

    So many failures in a row open the circuit: it is logged once, and a thread probes the dependency every `retry_s`
    seconds until it answers (half-open: no other call is tried meanwhile). The log record and `last_fault` are written
    before `available` changes.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], object],
        retry_s: float,
        meanwhile: str,
        *,
        failures: tuple[type[Exception], ...],
        threshold: int = 1,
        describe: Callable[[Exception], str] = str,
        disconnect: Callable[[bool], object] = lambda idle_only: None,  # noqa: ARG005
    ) -> None:
        """Start with a closed circuit.

        Args:
            name: What may fail and where it is, for messages: "Redis at host:port".
            probe: Sends a request to it; raises one of `failures` if it does not answer.
            retry_s: Seconds between two probes, above 0.
            meanwhile: The effect of an outage, for the log.
            failures: What its client raises while it fails.
            threshold: Failures in a row that open the circuit, at least 1.
            describe: The text of an error, without secrets.
            disconnect: Closes connections; True: only the idle ones, which most likely are dead, too, after a failure.
        """
        self._name, self._probe, self._retry_s, self._meanwhile = name, probe, retry_s, meanwhile
        self._failures, self._threshold, self._describe, self._disconnect = failures, threshold, describe, disconnect
        self._closing = threading.Event()
        self._errors, self._due = 0, 0.0
        self.last_fault: Fault | None = None
        begin(self)

    def begin(self) -> None:
        """Close the circuit, unless all is closed; see `forks`: no thread probes in a forked process."""
        self.changed = threading.Condition()  # notified at the end of an outage; the owner may also use its lock
        self._available, self._in_a_row = not self._closing.is_set(), 0

    @property
    def available(self) -> bool:
        """Whether there is no outage."""
        return self._available

    @property
    def errors(self) -> int:
        """The number of failed requests."""
        return self._errors

    @property
    def retry_after_s(self) -> float:
        """Seconds until the next probe; 0 without an outage."""
        return 0.0 if self._available else max(0.0, self._due - time.monotonic())

    def fail(self, error: Exception) -> None:
        """Record a failed request: it opens the circuit if it is one too many in a row."""
        self._disconnect(True)
        fault = self.note("fails", error)
        with self.changed:
            self._errors += 1
            self._in_a_row += 1
            if self._closing.is_set() or not self._available or self._in_a_row < self._threshold:
                return
            log.warning("%s; %s until it answers", fault.text, self._meanwhile)
            self._due = time.monotonic() + self._retry_s
            self._available = False
        threading.Thread(target=self._watch, name="circuit-breaker", daemon=True).start()

    def succeed(self) -> None:
        """Record an answer: failures before it do not count any more."""
        self._in_a_row = 0

    def note(self, what: str, error: Exception) -> Fault:
        """Store and return the last fault. what: the verb of a sentence about the dependency."""
        self.last_fault = fault = Fault.now(f"{self._name} {what} ({self._describe(error)})")
        return fault

    def close(self) -> None:
        """Stop probing and close all connections; `available` stays False."""
        self._closing.set()
        with self.changed:
            self._available = False
        self._disconnect(False)

    def _watch(self) -> None:
        """Probe until there is an answer, then close the circuit."""
        while not self._closing.wait(self._retry_s):
            self._due = time.monotonic() + self._retry_s
            try:
                self._probe()
            except self._failures as error:
                self.fail(error)
            except Exception:  # worker boundary: if this thread died, the outage would never end
                log.exception("the probe of %s failed", self._name)
            else:
                self._recover()
                return

    def _recover(self) -> None:
        with self.changed:
            if not self._closing.is_set():
                log.info("%s answers again", self._name)
                self._available, self._in_a_row = True, 0
                self.changed.notify_all()
