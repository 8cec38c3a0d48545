"""What is seen of one request, for whoever watches: metrics, logs, traces, usage."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.identity import Identity
from app.ranking.job import Stopwatch
from app.service.result import WorkDone

UNKNOWN = "unknown"  # the route of a request that met none
CLIENT_GONE = 499  # nginx's status for a request whose client left


@dataclass
class RequestRecord:
    """A request over HTTP, or one on a WebSocket; filled in by whoever learns it, until it is over."""

    request_id: str
    http_method: str  # "WS" on a WebSocket
    route: str = UNKNOWN  # the route's own path, so that there are as many as routes
    begun: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0  # that it took, once it is over
    status: int = CLIENT_GONE  # until there is a response
    problem: str | None = None  # the kind of what was wrong
    identity: Identity | None = None  # None: nobody was let in
    origin: str | None = None  # the address that the connection comes from
    dialect: str | None = None
    units: int | None = None  # of work, as `app.service.request` estimates it
    done: WorkDone = field(default_factory=WorkDone)
    watch: Stopwatch = field(default_factory=Stopwatch)

    def failed(self, status: int, problem: str) -> None:
        """Note what was wrong."""
        self.status, self.problem = status, problem


Watcher = Callable[[RequestRecord], None]  # called on the event loop once for each request, when it is over
