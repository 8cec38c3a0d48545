"""The application: from settings to a service."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from app.allocator import keep_memory
from app.engine import Engine
from app.errors import STATUS, Problem, problem_of
from app.loading import open_reranker
from app.loop_lag import watch_loop
from app.metrics import Metrics
from app.open_collections import OpenCollections
from app.request_id import RequestIdMiddleware
from app.routes import router
from app.settings import Settings

log = logging.getLogger(__name__)

_SWITCH_S = 0.0005  # a computing thread keeps the interpreter from the event loop for no longer than this

_ABOUT = """
Picks the passages a language model should see. Three methods: `classical` (cosine), `quantum` (fidelity of small
simulated circuits) and `hybrid` (both, with BM25; the default).
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The ASGI application; the settings are the environment's unless given."""
    settings = settings or Settings()
    app = FastAPI(
        title="quantum-rerank",
        version=version("quantum-rerank"),
        description=_ABOUT,
        lifespan=_lifespan,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.engine = Engine(
        partial(open_reranker, settings, _log_progress), settings.engine.requests, settings.engine.queue_requests
    )
    app.state.metrics = Metrics(app.state.engine.counts)
    app.state.collections = OpenCollections(settings.collections_dir)
    app.include_router(router)
    app.add_middleware(RequestIdMiddleware)
    for kind in STATUS:
        app.add_exception_handler(kind, _known_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unknown_error)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    keep_memory()
    sys.setswitchinterval(_SWITCH_S)
    # The model loads while the service already answers its liveness probe.
    tasks = [
        asyncio.create_task(app.state.engine.start()),
        asyncio.create_task(watch_loop(app.state.metrics.loop_lag.observe)),
    ]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    app.state.engine.close()


def _log_progress(step: str, done: int, total: int) -> None:
    log.info("%s (%d of %d)", step, done, total)


def _request_id(request: Request) -> str:
    return str(request.state.request_id)


async def _known_error(request: Request, error: Exception) -> Response:
    problem = problem_of(error, _request_id(request))
    if problem is None:
        return await _unknown_error(request, error)
    return problem.response()


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    detail = f"{request.method} {request.url.path}: {HTTPStatus(status).phrase}; see /docs for what there is"
    kind = HTTPStatus(status).phrase.lower().replace(" ", "-")
    return Problem(status, kind, detail, _request_id(request)).response()


async def _unknown_error(request: Request, error: Exception) -> Response:
    # The error itself is logged by the server; its text may hold the client's, so the client gets none of it.
    request_id = _request_id(request)
    log.error("request %s failed: %s", request_id, type(error).__name__)
    detail = f"the service failed on this request; its log says why under {request_id}"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail, request_id).response()
