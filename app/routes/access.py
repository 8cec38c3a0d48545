"""Who may call."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from app.auth.credentials import presented
from app.errors import Unauthorized


async def check_key(connection: HTTPConnection) -> None:
    """Unauthorized unless keys are off, or one of those that the connection's headers offer is known."""
    keys = connection.app.state.keys
    if keys is None:
        return
    offered = presented(connection.headers)
    if not offered:
        raise Unauthorized("this service needs a key: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
    if not keys.know(offered):
        raise Unauthorized("this key is not known here; ask whoever runs the service for one")
