"""The record of one request, from which metrics, logs, traces and usage are derived."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.identity import Identity
from app.ranking.job import Stopwatch
from app.service.result import WorkDone

UNKNOWN = "unknown"  # the route of a request that matched none
CLIENT_GONE = 499  # nginx's status for a client that closed the connection


@dataclass
class RequestRecord:
    """A request over HTTP or on a WebSocket. Middleware, dependencies and routes fill it in until its end."""

    request_id: str
    http_method: str  # "WS" on a WebSocket
    route: str = UNKNOWN  # the route's path template, so that the number of values is bounded
    begun: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0  # duration, set at the end
    status: int = CLIENT_GONE  # until a response starts
    problem: str | None = None  # the error kind
    identity: Identity | None = None  # None: not authenticated
    origin: str | None = None  # the client's address
    root_path: str = ""  # below which a proxy serves the service
    dialect: str | None = None
    units: int | None = None  # estimated work, see `app.service.request`
    done: WorkDone = field(default_factory=WorkDone)
    watch: Stopwatch = field(default_factory=Stopwatch)

    def failed(self, status: int, problem: str) -> None:
        """Set the status and the error kind."""
        self.status, self.problem = status, problem


Watcher = Callable[[RequestRecord], None]  # called on the event loop once per request, at its end
