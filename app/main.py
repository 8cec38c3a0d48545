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

from app.api.dialects.detect import PATHS
from app.api.exception_handlers import any_error, client_gone, foreseen, http_error
from app.api.middleware.body_limits import UnreadBodyMiddleware
from app.api.middleware.path_normalization import CanonicalPathMiddleware, HeadMiddleware, canonical
from app.api.middleware.request_id import RequestIdMiddleware
from app.api.middleware.request_record import ObserveMiddleware
from app.api.middleware.security_headers import HeadersMiddleware
from app.api.middleware.server_timing import TOLD as TIMES
from app.api.middleware.server_timing import TimingMiddleware
from app.api.openapi import describe
from app.api.problems import HEADER, KINDS, STATUS
from app.api.rate_limit import QuotaHeadersMiddleware
from app.api.routes import MODELS, router
from app.api.routes.docs_page import router as pages
from app.api.routes.metrics import metrics_router
from app.api.routes.usage import count_usage
from app.auth.usage import Usage
from app.engine.engine import Engine
from app.engine.graceful_shutdown import drained
from app.engine.loader import log_progress, open_models
from app.engine.malloc import GIVE_BACK_EVERY_S, give_back
from app.health.health import Health
from app.quotas.quotas import Quotas
from app.quotas.shares import Shares
from app.service.collections import OpenCollections
from app.service.rerank import Service
from app.settings import Settings
from app.telemetry.access_log import PROBES, log_requests
from app.telemetry.gauges import EVERY_S as COLLECT_EVERY_S
from app.telemetry.gauges import Collected, Sources
from app.telemetry.loop_lag import watch_loop
from app.telemetry.metrics import Metrics
from app.telemetry.periodic import every
from app.telemetry.request_metrics import count_requests
from app.telemetry.request_record import Watcher
from retrieval.encoder.protocol import Encoder

if TYPE_CHECKING:
    from app.auth.auth import Auth
    from app.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

_SWITCH_S = 0.0005  # a computing thread keeps the interpreter from the event loop for no longer than this

# Headers that pages of the allowed origins may read.
_LIMITS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Resource")
_TOLD = (HEADER, "Retry-After", *_LIMITS, *TIMES)

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
    app.state.service = Service(settings, OpenCollections(settings.collections_dir))
    app.state.auth = _open_auth(settings)
    app.state.usage = app.state.auth.usage if app.state.auth else Usage(None)
    app.state.engine = _engine(settings, encoders)
    app.state.bodies = Shares(settings.limits.all_bodies_bytes)
    redis_url = settings.quotas.redis_url or settings.cache.redis_url
    app.state.quotas = Quotas(settings.quotas, redis_url.get_secret_value() if redis_url else None)
    app.state.metrics = Metrics()
    app.state.collected = Collected(app.state.metrics, _sources(app), settings.model)
    app.state.health = Health(
        app.state.engine, app.state.service, app.state.quotas, app.state.auth, app.state.metrics.histograms, PATHS
    )
    app.state.tracing = tracing
    app.state.watchers = _watchers(app, settings)
    app.include_router(router)
    if settings.operations.metrics_port is None:
        app.include_router(metrics_router)
    app.include_router(pages)
    app.openapi = partial(describe, app, MODELS)  # type: ignore[method-assign] # as FastAPI's documentation does
    _surround(app, settings)
    for kind in STATUS:
        app.add_exception_handler(kind, foreseen)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, client_gone)
    app.add_exception_handler(Exception, any_error)
    return app


def _surround(app: FastAPI, settings: Settings) -> None:
    """Add what every request passes on its way in and out; the last added comes first."""
    app.add_middleware(HeadMiddleware)
    if settings.cors.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],  # SDKs send many of their own; cookies are never allowed
            expose_headers=[*_TOLD],
        )
    app.add_middleware(HeadersMiddleware, settings, lambda: app.state.engine.stops)
    app.add_middleware(TimingMiddleware, settings.cors.origins)
    app.add_middleware(ObserveMiddleware, app.state.watchers)
    app.add_middleware(CanonicalPathMiddleware)
    if settings.auth.enabled:  # else nobody has a quota
        app.add_middleware(QuotaHeadersMiddleware)
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(UnreadBodyMiddleware, settings.limits, app.state.bodies)
    if app.state.tracing:
        app.add_middleware(app.state.tracing.middleware)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    sys.setswitchinterval(_SWITCH_S)
    # The model loads while the service already answers its liveness probe.
    loading = asyncio.create_task(app.state.engine.start())
    tasks = [
        loading,
        asyncio.create_task(app.state.health.run(loading)),
        asyncio.create_task(watch_loop(app.state.metrics.event_loop_lag_seconds.observe)),
        asyncio.create_task(every(COLLECT_EVERY_S, app.state.collected.publish, "publishing what is counted")),
        asyncio.create_task(every(GIVE_BACK_EVERY_S, give_back, "giving free memory back")),
    ]
    auth: Auth | None = app.state.auth
    if auth:
        tasks.append(asyncio.create_task(auth.run()))
    else:
        log.warning(
            "QRERANK_AUTH__ENABLED is false: nobody is asked for a key, and whoever reaches the service uses it"
        )
    async with AsyncExitStack() as last:  # from the bottom up, whichever of them fails
        if app.state.tracing:
            last.push_async_callback(asyncio.to_thread, app.state.tracing.close)
        if auth:
            last.push_async_callback(auth.close)
        last.callback(app.state.engine.close)
        last.callback(app.state.quotas.close)
        last.callback(app.state.collected.publish)  # once more, so that other workers may tell of it
        last.push_async_callback(_cancel, tasks)
        with drained(app.state.engine, app.state.service.settings.engine.drain_seconds):
            yield {"bodies": app.state.bodies}  # which the server's WebSockets share


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _sources(app: FastAPI) -> Sources:
    state = app.state
    auth: Auth | None = state.auth

    def lost() -> dict[str, bool]:
        if auth is None:
            return {}
        return {"keys": auth.database.lost} | ({"issuer": auth.issuer.lost} if auth.issuer else {})

    collections, usage = state.service.collections, state.usage
    return Sources(
        state.engine, state.quotas.counts, usage.counts, collections.counts, lambda: state.health.is_ready, lost
    )


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


def _watchers(app: FastAPI, settings: Settings) -> list[Watcher]:
    watchers = [
        count_usage(app.state.usage),
        count_requests(app.state.metrics, KINDS),
        log_requests(settings.logs.access_sample),
    ]
    return [*watchers, app.state.tracing.watch] if app.state.tracing else watchers


def _trace(settings: Settings) -> Tracing | None:
    if settings.tracing.endpoint is None:
        return None
    from app.telemetry.tracing import Tracing  # not before: its libraries are extra

    return Tracing(settings.tracing, untraced=lambda path: canonical(path) in PROBES)
