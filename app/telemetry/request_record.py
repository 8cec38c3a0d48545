"""What is seen of one request, for whoever watches: metrics, logs, traces, usage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from app.identity import Identity
from app.ranking.methods import Method
from app.ranking.stopwatch import Lap, Stopwatch
from app.service.result import RerankResult

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
    method: Method | None = None
    model: str | None = None  # a served one's name
    documents: int | None = None  # that were ranked, compared or embedded
    units: int | None = None  # of work, as `app.service.cost` estimates it
    tokens: int | None = None  # that the encoder read for them, now or once
    known: int = 0  # documents whose states were remembered
    encoded: int = 0  # documents that were read for this request
    unread: int = 0  # documents that the deadline left unread
    cut: bool = False  # whether it left any, or parts of them
    watch: Stopwatch = field(default_factory=Stopwatch)

    def ranked(self, result: RerankResult) -> None:
        """Note what came of a ranking."""
        ranking = result.ranking
        self.worked(len(ranking.scores), ranking.tokens, ranking.laps, result.method, result.served)
        self.known = min(ranking.known, ranking.encoded)
        self.encoded = ranking.encoded - self.known
        self.unread = len(ranking.scores) - ranking.encoded
        self.cut = ranking.cut

    def worked(
        self, documents: int, tokens: int, laps: Iterable[Lap] = (), method: Method | None = None, model: str = ""
    ) -> None:
        """Note what was done. May be called in a worker."""
        self.documents, self.tokens, self.method, self.model = documents, tokens, method, model or None
        self.watch.laps.extend(laps)

    def failed(self, status: int, problem: str) -> None:
        """Note what was wrong."""
        self.status, self.problem = status, problem

    def end(self, watchers: Iterable[Watcher]) -> None:
        """It is over: show it."""
        self.seconds = time.perf_counter() - self.begun
        for watch in watchers:
            watch(self)


Watcher = Callable[[RequestRecord], None]  # called on the event loop once for each request, when it is over
