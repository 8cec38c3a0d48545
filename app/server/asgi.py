"""How uvicorn is set up to serve the application."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI

from app.engine.malloc import keep_memory
from app.server.connections import Connections
from app.server.http_protocol import BoundedProtocol
from app.server.websocket_protocol import SPARE_BYTES, BoundedSocketProtocol
from app.settings import LimitSettings, Settings
from app.telemetry.logs import set_up
from retrieval.encoder.protocol import Encoder

_STOPS_WITHIN_S = 20  # a client that reads no more of its stream must not keep the server from stopping


def application(encoders: Mapping[str, Encoder] = MappingProxyType({})) -> FastAPI:
    """What a process serves, with the environment's settings; called in that process.

    encoders: models that are open already, by name.
    """
    keep_memory()  # in a worker nobody has yet; the process that serves alone has in `serve`
    from app.main import create_app  # not before: it decides where metrics are kept, and takes memory

    settings = Settings()
    set_up(settings.logs)
    return create_app(settings, encoders)


def options(limits: LimitSettings) -> dict[str, Any]:
    """Arguments of `uvicorn.run`."""
    connections = Connections(limits)
    return {
        "http": partial(BoundedProtocol, limits=limits, connections=connections),
        "ws": partial(BoundedSocketProtocol, limits=limits, connections=connections),
        "timeout_keep_alive": limits.keep_alive_seconds,
        "server_header": False,
        "ws_max_size": limits.body_bytes + SPARE_BYTES,  # so little too large gets an error, and what is larger a close
        "ws_per_message_deflate": False,  # compressing an answer would hold up the event loop
        "timeout_graceful_shutdown": _STOPS_WITHIN_S,
        "log_config": None,  # `app.telemetry.logs` is in charge,
        "access_log": False,  # and `app.telemetry.access_log`
        "reset_contextvars": True,  # else a connection's next request may begin as the last one
    }
