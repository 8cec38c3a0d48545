"""Work whose client leaves is called off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from retrieval.deadline import Deadline


@asynccontextmanager
async def cancelled_with(request: Request, deadline: Deadline) -> AsyncIterator[None]:
    """Within the block, cancel the deadline as soon as the client of a request whose body was read disconnects."""
    watcher = asyncio.create_task(_watch(request, deadline))
    try:
        yield
    finally:
        watcher.cancel()


async def _watch(request: Request, deadline: Deadline) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    deadline.cancel()
