"""Readiness and the detailed health report, computed on request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from app.engine.engine import Engine
from app.engine.self_test import check_order
from app.errors import IndexUnavailable
from app.health import components as parts
from app.health.components import Component, Status
from app.health.probe import Probe
from app.health.targets import (
    EVERY_S,
    MEMORY_BYTES,
    RERANK_MS,
    SIMILARITY_MS,
    Past,
    Target,
    Window,
    all_met,
    latency,
    read,
)
from app.quotas.quotas import Quotas
from app.ranking.reranker import Reranker
from app.service.collections import OpenCollections
from app.settings import Settings
from app.telemetry.memory import resident_bytes
from app.telemetry.periodic import run_periodically

if TYPE_CHECKING:
    from app.auth.auth import Auth

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """The health of the service."""

    status: Status
    reason: str | None  # why it is not ready; None if it is ready
    components: Mapping[str, Component]
    targets: Mapping[str, Target]
    meets_targets: bool | None
    window_s: float  # seconds over which the targets were measured


class Health:
    """The health checks of one application. Used on the event loop, which they never block."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        collections: OpenCollections,
        quotas: Quotas,
        auth: Auth | None,
        histograms: Callable[[], Iterable[Metric]],
        rerank_routes: Container[str],
    ) -> None:
        """Create the probes; none runs yet.

        Args:
            settings: The service's settings.
            engine: The models and their threads.
            collections: The open collections.
            quotas: The quotas, whose Redis is checked.
            auth: Authentication, whose key database and token issuer are checked; None where it is off.
            histograms: Returns the histograms of all workers.
            rerank_routes: The routes that the latency target of reranking covers.
        """
        self._engine, self._collections, self._quotas, self._auth = engine, collections, quotas, auth
        self._settings, self._default = settings.health, settings.default_collection
        every_s = self._settings.probe_every_s
        self._probe = Probe("a probe", self._rerank, every_s, self._settings.probe_deadline_ms / 1e3)
        self._index = Probe("opening the default collection", self._open_default, every_s)
        dependencies = {"cache_redis": self._check_replicas}
        if quotas.shared:
            dependencies["quota_redis"] = quotas.shared.check
        if collections.milvus:
            dependencies["milvus"] = collections.milvus.check
        if auth:
            dependencies["keys"] = auth.database.check
        self._dependencies = [Probe(name, check, every_s) for name, check in dependencies.items()]
        self._window = Window(lambda: read(histograms(), rerank_routes), resident_bytes)
        self._isolated: dict[str, Reranker] = {}
        self._probe_numbers = count(1)
        self._probe_ms: dict[str, float] = {}
        self._reason: str | None = None  # why it is not ready, as the log knows it

    async def run(self, loading: asyncio.Task[None]) -> None:
        """Sample the metrics every ten seconds; verify collections once the models are loaded. Runs until cancelled."""
        sampling = run_periodically(EVERY_S, self._window.past, "sampling the health metrics")
        await asyncio.gather(sampling, self._keep_verifying(loading))

    async def wrong(self) -> str | None:
        """Why the service is not ready; None if it is. Returns within a bounded time, even if a probe hangs."""
        state = self._engine.state
        if state.phase != "ready":
            return state.reason
        errors = await asyncio.gather(*(probe.wrong() for probe in self._required_probes()))
        return self._told(next(filter(None, errors), None))

    def _told(self, reason: str | None) -> str | None:
        """The reason why the service is not ready, told in the log when it changes."""
        if reason != self._reason:
            self._reason = reason
            if reason:
                log.warning("not ready: %s", reason)
            else:
                log.info("ready again")
        return reason

    @property
    def is_ready(self) -> bool:
        """Whether the service is ready by the latest probe results. Before the first probe, loaded models suffice."""
        if self._engine.state.phase != "ready" or self._probe.fails:
            return False
        return self._default is None or self._index.known() is None

    async def report(self) -> Report:
        """The health of all components. Dependencies are probed, so that a loss shows before a request needs them."""
        if self._auth and self._auth.issuer:
            self._auth.issuer.check()
        dependencies = asyncio.gather(*(probe.wrong() for probe in self._dependencies))
        reason, past = await asyncio.gather(self.wrong(), asyncio.to_thread(self._window.past))
        await dependencies
        components = self._components(past)
        status: Status = "ok"
        if reason:
            status = "unavailable"
        elif any(component.status != "ok" for component in components.values()):
            status = "degraded"
        targets = {
            "rerank_p95_ms": latency(past.buckets["rerank"], RERANK_MS),
            "similarity_p95_ms": latency(past.buckets["similarity"], SIMILARITY_MS),
            "memory_bytes": Target(MEMORY_BYTES, past.most_bytes, None, past.most_bytes <= MEMORY_BYTES),
        }
        return Report(status, reason, components, targets, all_met(targets.values()), past.seconds)

    def _required_probes(self) -> list[Probe]:
        return [self._probe, self._index] if self._default else [self._probe]

    def _components(self, past: Past) -> dict[str, Component]:
        models, counts, quotas, auth = self._engine.models, self._engine.counts(), self._quotas, self._auth
        components = {
            "engine": parts.engine(self._engine.state, counts),
            "models": parts.models(models.served if models else (), self._probe, self._probe_ms),
            **parts.cross_encoder(models.default.cross if models else None),
        }
        default, opened = self._default, self._collections
        if default or opened.counts():
            default_error = self._index.known() if default else None
            last = parts.latest([self._index.last_fault, opened.last_fault])
            components["index"] = parts.index(opened.counts(), default, default_error, last)
        if breakers := self._engine.breakers():
            components["encoder"] = parts.leaning(
                lost=not all(breaker.available for breaker in breakers),
                fault=parts.latest(breaker.last_fault for breaker in breakers),
                errors=sum(breaker.errors for breaker in breakers),
            )
        if milvus := opened.milvus:
            lost = not milvus.breaker.available
            components["milvus"] = parts.leaning(lost=lost, fault=milvus.breaker.last_fault)
        if counts:
            components["cache"] = parts.cache(counts.cache)
            if counts.replicas:
                lost = not all(replicas.available for replicas in counts.replicas.values())
                fault = parts.latest(replicas.breaker.last_fault for replicas in self._engine.replicas())
                components["cache_redis"] = parts.leaning(lost=lost, fault=fault, **parts.replicas(counts))
        if quotas.shared:
            shared = quotas.shared
            components["quota_redis"] = parts.leaning(
                lost=not shared.breaker.available, fault=shared.breaker.last_fault, counters_reset=shared.resets
            )
        if auth:
            components["keys"] = parts.keys(auth.usage, lost=auth.database.lost, fault=auth.database.last_fault)
            if auth.issuer:
                components["issuer"] = parts.leaning(lost=auth.issuer.lost, fault=auth.issuer.last_fault)
        components["event_loop"] = parts.event_loop(past.buckets["lag"])
        components["memory"] = parts.memory(past.bytes_now, past.most_bytes)
        return components

    def _rerank(self) -> None:
        """Rerank new texts, which no cache holds, with every model that runs here. Runs in the probe's own thread.

        A remote model's server costs money, and without it this service still has its cache: it is a component.
        """
        models = self._engine.models
        for name, reranker in models.served.items() if models else ():
            if reranker.encoder.breaker:
                continue
            if name not in self._isolated:
                self._isolated[name] = reranker.isolated_copy()
            start = monotonic()
            check_order(self._isolated[name], next(self._probe_numbers))
            self._probe_ms[name] = 1e3 * (monotonic() - start)

    def _open_default(self) -> None:
        """Open the default collection if needed; its error if it cannot be searched, or is of no served model."""
        if self._default and self._engine.models:
            with suppress(IndexUnavailable):  # requests with documents need no Milvus
                self._collections.get(self._default)

    def _check_replicas(self) -> None:
        for replicas in self._engine.replicas():
            replicas.check()

    async def _keep_verifying(self, loading: asyncio.Task[None]) -> None:
        await asyncio.wait([loading])
        try:
            state = self._engine.state
            # The default collection is opened before the first search.
            self._told(state.reason if state.phase == "failed" else await self._index.wrong())
        except Exception:  # worker boundary: the first request for it opens it
            log.exception("opening the default collection failed")
        if every_s := self._settings.certify_every_s:
            await asyncio.sleep(every_s)
            await run_periodically(every_s, self._collections.verify, "verifying the collections")
