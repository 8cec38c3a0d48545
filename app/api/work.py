"""Work of a request in a worker, for as long as its client waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import Request, Response

from app.api.disconnect import cancelled_with
from app.api.middleware.request_record import observed, queued
from app.engine.model_registry import Models
from app.quotas.quotas import Cost
from app.telemetry.request_record import CLIENT_GONE
from retrieval.deadline import Cancelled, Deadline


async def worked(
    request: Request,
    deadline: Deadline,
    work: Callable[[Models], bytes],
    cost: Cost,
    texts: Sequence[str],
    model: object,
) -> Response:
    """The JSON that work gives for which these texts are to be read by the model that this means.

    When the client of a request whose body was read leaves, the deadline is cancelled.
    """
    async with cancelled_with(request, deadline):
        try:
            body = await request.app.state.engine.run(
                queued(observed(request), work), texts, deadline, model, cost.units
            )
            return Response(body, media_type="application/json")
        except Cancelled:
            return Response(status_code=CLIENT_GONE)
