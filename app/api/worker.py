"""The work of a request in a worker thread, for as long as its client waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request, Response

from app.api.dependencies import dependencies
from app.api.middleware.request_record import record_of
from app.service.request import ResolvedRequest
from app.telemetry.request_record import CLIENT_GONE
from retrieval.deadline import Cancelled, Deadline


async def answer(request: Request, resolved: ResolvedRequest[Any], work: Callable[[], bytes]) -> Response:
    """Answer a request with the JSON that its work returns. Its deadline is cancelled when its client leaves."""
    async with cancelled_with(request, resolved.deadline):
        try:
            body = await dependencies(request).engine.run(work, resolved, record_of(request).watch)
        except Cancelled:
            return Response(status_code=CLIENT_GONE)
        return Response(body, media_type="application/json")


@asynccontextmanager
async def cancelled_with(request: Request, deadline: Deadline) -> AsyncIterator[None]:
    """Within the block, cancel the deadline as soon as the client of a request whose body was read disconnects."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        deadline.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
