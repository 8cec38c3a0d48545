"""How long an answer took, in its headers: stage by stage for browsers, and as text-embeddings-inference tells it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.telemetry.request_record import Observed

# Headers that pages of allowed origins may read.
TOLD = (
    "Server-Timing",
    "X-Total-Time",
    "X-Queue-Time",
    "X-Inference-Time",
    "X-Compute-Type",
    "X-Compute-Time",
    "X-Compute-Tokens",
)

Told = list[tuple[bytes, bytes]]


class TimingMiddleware:
    """Puts the times onto every answer to a POST; what streams tell is known when they begin."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """Wrap an ASGI application that `ObserveMiddleware` wraps. origins: of pages that may call."""
        self._app, self._origins = app, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        seen: Observed = scope["state"]["observed"]
        origin = self._timed_for(Headers(scope=scope).get("origin")) if self._origins else None

        async def send_with_times(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = times(seen, message["status"])
                if origin:
                    told.append((b"timing-allow-origin", origin.encode("latin-1")))
                message["headers"] = [*message.get("headers", ()), *told]
            await send(message)

        await self._app(scope, receive, send_with_times)

    def _timed_for(self, origin: str | None) -> str | None:
        """Whose pages may see the times in their browser's own measurements."""
        if "*" in self._origins:
            return "*"
        return origin if origin in self._origins else None


def times(seen: Observed, status: int) -> Told:
    """The headers of a request that is being answered now: of an error, the total alone."""
    total = 1e3 * (time.perf_counter() - seen.begun)
    stages = seen.watch.ms if status < HTTPStatus.BAD_REQUEST else {}
    timing = ", ".join([f"{stage};dur={ms:.3f}" for stage, ms in (stages | {"total": total}).items()])
    told = [(b"server-timing", timing.encode()), _whole(b"x-total-time", total)]
    if stages:
        told += _as_tei(stages, total)
        if seen.tokens is not None:
            told.append(_whole(b"x-compute-tokens", seen.tokens))
    return told


def _as_tei(stages: Mapping[str, float], total: float) -> Told:
    """Its headers that mean the same here. What it tells of tokenising is within the time of encoding."""
    return [
        _whole(b"x-queue-time", stages.get("queue", 0.0) + stages.get("wait", 0.0)),
        _whole(b"x-inference-time", stages.get("encode_query", 0.0) + stages.get("encode", 0.0)),
        (b"x-compute-type", b"cpu"),
        _whole(b"x-compute-time", total),
    ]


def _whole(name: bytes, value: float) -> tuple[bytes, bytes]:
    return name, b"%d" % value
