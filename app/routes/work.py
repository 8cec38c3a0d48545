"""Work of a request in a worker, for as long as its client waits."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request, Response

from app.models import Models
from app.routes.disconnect import CLIENT_GONE, cancelled_with
from retrieval.deadline import Cancelled, Deadline


async def worked(request: Request, deadline: Deadline, work: Callable[[Models], bytes], size: int) -> Response:
    """The JSON that work of a size gives.

    When the client of a request whose body was read leaves, the deadline is cancelled.
    """
    async with cancelled_with(request, deadline):
        try:
            return Response(await request.app.state.engine.run(work, size, deadline), media_type="application/json")
        except Cancelled:
            return Response(status_code=CLIENT_GONE)
