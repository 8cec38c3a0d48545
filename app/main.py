"""The application: from settings to a service."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from app.api.dependencies import Dependencies
from app.api.dialects.detect import PATHS
from app.api.exception_handlers import any_error, client_gone, foreseen, http_error
from app.api.middleware.body_limits import BodyLimitsMiddleware
from app.api.middleware.path_normalization import CanonicalPaths, canonical
from app.api.middleware.request_record import TIMES, RequestRecordMiddleware
from app.api.middleware.security_headers import SecurityHeadersMiddleware
from app.api.openapi import describe
from app.api.problems import HEADER, KINDS, STATUS
from app.api.rate_limit import QuotaHeadersMiddleware
from app.api.routes import MODELS, router
from app.api.routes.docs_page import router as docs_page
from app.api.routes.metrics import metrics_router
from app.auth.usage import UsageCounts
from app.engine.engine import Engine
from app.engine.graceful_shutdown import drained
from app.engine.loader import log_progress, open_models
from app.engine.malloc import GIVE_BACK_EVERY_S, give_back
from app.health.health import Health
from app.quotas.quotas import Quotas
from app.quotas.shares import Shares
from app.service.collections import OpenCollections
from app.settings import Settings
from app.telemetry.access_log import PROBES, log_requests
from app.telemetry.gauges import EVERY_S as COLLECT_EVERY_S
from app.telemetry.gauges import Gauges, Sources
from app.telemetry.loop_lag import watch_loop
from app.telemetry.metrics import Metrics
from app.telemetry.periodic import run_periodically
from app.telemetry.request_metrics import count_requests
from app.telemetry.usage import count_usage
from retrieval.encoder.protocol import Encoder

if TYPE_CHECKING:
    from app.auth.auth import Auth
    from app.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

_SWITCH_S = 0.0005  # a computing thread keeps the interpreter from the event loop for no longer than this

# Headers that pages of the allowed origins may read.
_LIMITS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Resource")
_READABLE = (HEADER, "Retry-After", *_LIMITS, *TIMES)

# FastAPI would send spans, and errors with their messages, wherever the environment says.
_UNTRACED = TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False)

_ABOUT = """
Picks the passages a language model should see. Three methods: `classical` (cosine), `quantum` (fidelity of small
simulated circuits) and `hybrid` (both, with BM25; the default).
"""


def create_app(settings: Settings | None = None, encoders: Mapping[str, Encoder] = MappingProxyType({})) -> FastAPI:
    """The ASGI application; the settings are the environment's unless given.

    encoders: models that are open already, by name.
    """
    settings = settings or Settings()
    tracing = _trace(settings)
    app = FastAPI(
        title="quantum-rerank",
        version=version("quantum-rerank"),
        description=_ABOUT,
        lifespan=_lifespan,
        docs_url=None,  # ours is in routes/pages.py
        redoc_url=None,
        redirect_slashes=False,
        telemetry=tracing.telemetry if tracing else _UNTRACED,
    )
    app.state.dependencies = on = _open(settings, encoders, tracing)
    app.include_router(router)
    if settings.operations.metrics_port is None:
        app.include_router(metrics_router)
    app.include_router(docs_page)
    app.router.default = CanonicalPaths(app.router)
    app.openapi = partial(describe, app, MODELS)  # type: ignore[method-assign] # as FastAPI's documentation does
    _surround(app, on)
    for kind in STATUS:
        app.add_exception_handler(kind, foreseen)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, client_gone)
    app.add_exception_handler(Exception, any_error)
    return app


def _open(settings: Settings, encoders: Mapping[str, Encoder], tracing: Tracing | None) -> Dependencies:
    """Make the parts of the application."""
    engine, collections, metrics = _engine(settings, encoders), OpenCollections(settings.collections_dir), Metrics()
    auth = _open_auth(settings)
    redis_url = settings.quotas.redis_url or settings.cache.redis_url
    quotas = Quotas(settings.quotas, redis_url.get_secret_value() if redis_url else None)
    health = Health(settings, engine, collections, quotas, auth, metrics.histograms, PATHS)
    watchers = [count_requests(metrics, KINDS), log_requests(settings.logs.access_sample)]
    if auth:
        watchers.append(count_usage(auth.usage))
    if tracing:
        watchers.append(tracing.watch)
    return Dependencies(
        settings,
        engine,
        collections,
        auth,
        quotas,
        Shares(settings.limits.all_bodies_bytes),
        metrics,
        Gauges(metrics, _sources(engine, collections, quotas, auth, health), settings.model),
        health,
        tracing,
        watchers,
    )


def _surround(app: FastAPI, on: Dependencies) -> None:
    """Add what every request passes on its way in and out; the last added comes first."""
    settings = on.settings
    if settings.cors.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],  # SDKs send many of their own; cookies are never allowed
            expose_headers=[*_READABLE],
        )
    app.add_middleware(SecurityHeadersMiddleware, settings, on.engine)
    if settings.auth.enabled:  # else nobody has a quota
        app.add_middleware(QuotaHeadersMiddleware)
    app.add_middleware(RequestRecordMiddleware, on.watchers, settings.cors.origins)
    app.add_middleware(BodyLimitsMiddleware, settings.limits, on.bodies)
    if on.tracing:
        app.add_middleware(on.tracing.middleware)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    sys.setswitchinterval(_SWITCH_S)
    on: Dependencies = app.state.dependencies
    # The model loads while the service already answers its liveness probe.
    loading = asyncio.create_task(on.engine.start())
    tasks = [
        loading,
        asyncio.create_task(on.health.run(loading)),
        asyncio.create_task(watch_loop(on.metrics.event_loop_lag_seconds.observe)),
        asyncio.create_task(run_periodically(COLLECT_EVERY_S, on.gauges.publish, "publishing what is counted")),
        asyncio.create_task(run_periodically(GIVE_BACK_EVERY_S, give_back, "giving free memory back")),
    ]
    if on.auth:
        tasks.append(asyncio.create_task(on.auth.run()))
    else:
        log.warning(
            "QRERANK_AUTH__ENABLED is false: nobody is asked for a key, and whoever reaches the service uses it"
        )
    async with AsyncExitStack() as last:  # from the bottom up, whichever of them fails
        if on.tracing:
            last.push_async_callback(asyncio.to_thread, on.tracing.close)
        if on.auth:
            last.push_async_callback(on.auth.close)
        last.callback(on.engine.close)
        last.callback(on.quotas.close)
        last.callback(on.gauges.publish)  # once more, so that other workers may tell of it
        last.push_async_callback(_cancel, tasks)
        with drained(on.engine, on.settings.engine.drain_seconds):
            yield {"bodies": on.bodies}  # which the server's WebSockets share


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _sources(
    engine: Engine, collections: OpenCollections, quotas: Quotas, auth: Auth | None, health: Health
) -> Sources:
    def lost() -> dict[str, bool]:
        if auth is None:
            return {}
        return {"keys": auth.database.lost} | ({"issuer": auth.issuer.lost} if auth.issuer else {})

    usage = auth.usage.counts if auth else UsageCounts
    return Sources(engine, quotas.counts, usage, collections.counts, lambda: health.is_ready, lost)


def _open_auth(settings: Settings) -> Auth | None:
    if not settings.auth.enabled:
        return None
    from app.auth.auth import Auth  # not before: SQLAlchemy takes memory

    return Auth(settings.auth, settings.data_dir)


def _engine(settings: Settings, encoders: Mapping[str, Encoder]) -> Engine:
    engine = settings.engine
    return Engine(
        partial(open_models, settings, log_progress, encoders),
        engine.requests,
        engine.queue_requests,
        engine.least_part,
    )


def _trace(settings: Settings) -> Tracing | None:
    if settings.tracing.endpoint is None:
        return None
    from app.telemetry.tracing import Tracing  # not before: its libraries are extra

    return Tracing(settings.tracing, untraced=lambda path: canonical(path) in PROBES)
