"""The FastAPI application, built from the settings."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from app import version
from app.api.dependencies import Dependencies
from app.api.dialects.detect import PATHS
from app.api.error_catalogue import ERRORS
from app.api.exception_handlers import any_error, client_gone, foreseen, http_error
from app.api.middleware.body_limits import BodyLimitsMiddleware
from app.api.middleware.path_normalization import NORMALIZED, CanonicalPaths, canonical
from app.api.middleware.request_record import TIMES, RequestRecordMiddleware
from app.api.middleware.root_path import RootPathMiddleware
from app.api.middleware.security_headers import SecurityHeadersMiddleware
from app.api.openapi import describe
from app.api.problems import HEADER, KINDS
from app.api.routes import MODELS, router
from app.api.routes.docs_page import router as docs_page
from app.api.routes.errors_page import router as errors_page
from app.api.routes.metrics import metrics_router
from app.auth.usage import UsageCounts
from app.engine.engine import Engine, ModelRegistry
from app.engine.graceful_shutdown import drained
from app.engine.loader import log_progress, open_models
from app.engine.malloc import GIVE_BACK_EVERY_S, give_back
from app.health.health import Health
from app.pages.router import pages_router
from app.quotas.fair_share import Shares
from app.quotas.quotas import Quotas
from app.service.collections import OpenCollections
from app.service.indexing import Indexing
from app.service.ingestion import Ingestion
from app.settings import Settings
from app.telemetry.gauges import EVERY_S as COLLECT_EVERY_S
from app.telemetry.gauges import Gauges, Sources
from app.telemetry.loop_lag import watch_loop
from app.telemetry.metrics import Metrics
from app.telemetry.periodic import run_periodically
from app.telemetry.watchers import PROBES, count_requests, count_usage, log_requests
from retrieval.encoder.protocol import Encoder

if TYPE_CHECKING:
    from app.auth.auth import Auth
    from app.feedback.feedback import Feedback
    from app.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

_SWITCH_S = 0.0005  # the longest time that a computing thread keeps the GIL from the event loop

# Headers that pages of the allowed origins may read.
_LIMITS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Resource")
_READABLE = (HEADER, "Retry-After", *_LIMITS, *TIMES)

# Otherwise FastAPI exports spans and error messages wherever the environment configures.
_UNTRACED = TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False)

_ABOUT = """
Reranks passages for a language model. Three methods: `classical` (cosine), `quantum` (fidelity of small
simulated circuits) and `hybrid` (both, with BM25; the default).
"""


def create_app(
    settings: Settings | None = None,
    encoders: Mapping[str, Encoder] = MappingProxyType({}),
    *,
    loads_within_s: float = 0,
) -> FastAPI:
    """Create the ASGI application; settings come from the environment unless given.

    Args:
        settings: The service's settings.
        encoders: Models that are already loaded, by name.
        loads_within_s: How long the start waits for the models at most. Meanwhile no connection is taken.
    """
    settings = settings or Settings()
    tracing = _trace(settings)
    app = FastAPI(
        title="quantum-rerank",
        version=version(),
        description=_ABOUT,
        lifespan=partial(_lifespan, loads_within_s=loads_within_s),
        docs_url=None,  # replaced by routes/docs_page.py
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": settings.server.root_path}] if settings.server.root_path else None,
        telemetry=tracing.telemetry if tracing else _UNTRACED,
    )
    app.state.dependencies = deps = _create_components(settings, encoders, tracing)
    app.include_router(router)
    if settings.operations.metrics_port is None:
        app.include_router(metrics_router)
    app.include_router(docs_page)
    app.include_router(errors_page)
    if settings.pages.enabled:
        app.include_router(pages_router())
    app.router.default = CanonicalPaths(app.router)
    app.openapi = partial(describe, app, MODELS)  # type: ignore[method-assign] # as FastAPI's documentation does
    _add_middleware(app, deps)
    for kind in ERRORS:
        app.add_exception_handler(kind, foreseen)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, client_gone)
    app.add_exception_handler(Exception, any_error)
    return app


def _create_components(settings: Settings, encoders: Mapping[str, Encoder], tracing: Tracing | None) -> Dependencies:
    """Create the components of the application."""
    engine, metrics = _engine(settings, encoders), Metrics()
    collections = _collections(settings, engine)
    auth = _open_auth(settings)
    feedback = _open_feedback(settings, auth)
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
        Ingestion(collections, engine, Indexing(collections, engine)),
        auth,
        feedback,
        quotas,
        Shares(settings.limits.all_bodies_bytes),
        Shares(settings.limits.job_followers),
        metrics,
        Gauges(metrics, _sources(engine, collections, quotas, auth, health), settings.model),
        health,
        tracing,
        watchers,
    )


def _add_middleware(app: FastAPI, deps: Dependencies) -> None:
    """Add the middleware; the last one added is the outermost."""
    settings = deps.settings
    if settings.cors.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors.origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["*"],  # SDKs send many headers of their own; credentials are never allowed
            expose_headers=[*_READABLE],
        )
    app.add_middleware(SecurityHeadersMiddleware, settings, deps.engine)
    app.add_middleware(RequestRecordMiddleware, deps.watchers, settings.cors.origins)
    app.add_middleware(BodyLimitsMiddleware, settings.limits, deps.bodies)
    if deps.tracing:
        app.add_middleware(deps.tracing.middleware)
    if root_path := settings.server.root_path:
        app.add_middleware(RootPathMiddleware, root_path, NORMALIZED)


@asynccontextmanager
async def _lifespan(app: FastAPI, loads_within_s: float) -> AsyncIterator[dict[str, object]]:
    sys.setswitchinterval(_SWITCH_S)
    deps: Dependencies = app.state.dependencies
    # The service answers liveness probes while the model loads, unless another worker does.
    loading = asyncio.create_task(deps.engine.start())
    deps.ingestion.indexing.start()
    tasks = [
        loading,
        asyncio.create_task(deps.health.run(loading)),
        asyncio.create_task(watch_loop(deps.metrics.event_loop_lag_seconds.observe)),
        asyncio.create_task(run_periodically(COLLECT_EVERY_S, deps.gauges.publish, "publishing the gauges")),
        asyncio.create_task(run_periodically(GIVE_BACK_EVERY_S, give_back, "returning free memory")),
    ]
    if deps.auth:
        tasks.append(asyncio.create_task(deps.auth.run()))
    else:
        log.warning(
            "QRERANK_AUTH__ENABLED is false: requests need no API key, and everybody who reaches the service can use it"
        )
    if deps.feedback:
        tasks.append(asyncio.create_task(deps.feedback.run()))
    async with AsyncExitStack() as shutdown:  # called in reverse order, even if some fail
        if deps.tracing:
            shutdown.push_async_callback(asyncio.to_thread, deps.tracing.close)
        if deps.auth:
            shutdown.push_async_callback(deps.auth.close)
        if deps.feedback:
            shutdown.push_async_callback(deps.feedback.close)
        shutdown.callback(deps.engine.close)
        if deps.collections.milvus:
            shutdown.callback(deps.collections.milvus.close)
        shutdown.callback(deps.ingestion.close)
        shutdown.callback(deps.ingestion.indexing.stop)
        shutdown.callback(deps.quotas.close)
        shutdown.callback(deps.gauges.publish)  # a last time, so that other workers can report the values
        shutdown.push_async_callback(_cancel, tasks)
        await asyncio.wait([loading], timeout=loads_within_s)
        with drained(deps.engine, deps.settings.engine.drain_seconds):
            yield {"bodies": deps.bodies}  # shared with the server's WebSocket protocol


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _sources(
    engine: Engine, collections: OpenCollections, quotas: Quotas, auth: Auth | None, health: Health
) -> Sources:
    def lost_connections() -> dict[str, bool]:
        lost = {"milvus": not milvus.breaker.available} if (milvus := collections.milvus) else {}
        if auth:
            lost["keys"] = auth.database.lost
            if auth.issuer:
                lost["issuer"] = auth.issuer.lost
        return lost

    usage = auth.usage.counts if auth else UsageCounts
    return Sources(engine, quotas.counts, usage, collections.counts, lambda: health.is_ready, lost_connections)


def _open_auth(settings: Settings) -> Auth | None:
    if not settings.auth.enabled:
        return None
    from app.auth.auth import Auth  # imported late: SQLAlchemy takes memory

    return Auth(settings.auth, settings.data_dir)


def _open_feedback(settings: Settings, auth: Auth | None) -> Feedback | None:
    if not settings.feedback.enabled:
        return None
    from app.auth.stores import open_records  # imported late: SQLAlchemy takes memory
    from app.feedback.feedback import Feedback

    if settings.fusion.algorithm != "weighted":
        log.warning(
            "feedback learns the weights of the fusion `weighted`, and QRERANK_FUSION__ALGORITHM is %s: only requests "
            "that ask for `weighted` can be judged",
            settings.fusion.algorithm,
        )
    database = auth.database if auth else open_records(settings.auth, settings.data_dir).database
    return Feedback(database, settings.feedback)


def _engine(settings: Settings, encoders: Mapping[str, Encoder]) -> Engine:
    engine = settings.engine
    return Engine(partial(_open_models, settings, encoders), engine.requests, engine.queue_requests, engine.least_part)


def _open_models(settings: Settings, encoders: Mapping[str, Encoder]) -> ModelRegistry:
    models = open_models(settings, log_progress, encoders)
    slow = [name for name, reranker in models.served.items() if reranker.encoder.arithmetic == "openvino-f32"]
    if slow and settings.encoder.precision == "auto":
        log.warning(
            "%s computes in f32: texts that are not cached take more than twice as long as on a processor with VNNI or "
            "AMX; index what is searched often, or raise QRERANK_ENGINE__DEADLINE_MS",
            ", ".join(slow),
        )
    return models


def _collections(settings: Settings, engine: Engine) -> OpenCollections:
    milvus = settings.index.open(settings.engine.requests)
    return OpenCollections(settings.collections_dir, milvus, lambda: engine.models)


def _trace(settings: Settings) -> Tracing | None:
    if settings.tracing.endpoint is None:
        return None
    from app.telemetry.tracing import Tracing  # imported late: its libraries are optional

    root_path = settings.server.root_path
    return Tracing(settings.tracing, untraced=lambda path: canonical(path.removeprefix(root_path)) in PROBES)
