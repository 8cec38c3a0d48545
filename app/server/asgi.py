"""uvicorn's configuration, and the application factory that its workers call."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI

from app.engine.malloc import keep_memory
from app.server.connections import Connections
from app.server.http_protocol import BoundedProtocol
from app.server.websocket_protocol import BoundedSocketProtocol
from app.settings import Settings
from app.telemetry.logs import set_up
from retrieval.encoder.protocol import Encoder

_STOPS_WITHIN_S = 20  # a client that stops reading its stream must not block the shutdown
# One of several workers takes no connections before its models are loaded: the others can answer them. The server of a
# remote model is waited for no longer than this.
_LOADS_WITHIN_S = 20
# A new worker answers once its imports are done. uvicorn's 5 s are too short where the processors are busy: it would
# kill every worker that starts, for ever.
_WORKER_ANSWERS_WITHIN_S = 30


def application(encoders: Mapping[str, Encoder] = MappingProxyType({})) -> FastAPI:
    """The application of one worker process, configured from the environment; called in that process.

    encoders: models that are already loaded, by name; none for one of several workers.
    """
    keep_memory()  # for worker processes; a single process calls it in `serve`
    from app.main import create_app  # imported late: the import fixes the metrics' directory, and takes memory

    settings = Settings()
    set_up(settings.logs)
    return create_app(settings, encoders, loads_within_s=0 if encoders else _LOADS_WITHIN_S)


def options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of `uvicorn.run`."""
    limits, server = settings.limits, settings.server
    connections = Connections(limits)
    return {
        "http": partial(BoundedProtocol, limits=limits, connections=connections, root_path=server.root_path),
        "ws": partial(BoundedSocketProtocol, limits=limits, connections=connections),
        "timeout_keep_alive": limits.keep_alive_seconds,
        "server_header": False,
        "ws_max_size": 2 * limits.body_bytes,  # a larger frame closes the connection; one in between gets an error
        "ws_per_message_deflate": False,  # compressing a response would block the event loop
        "timeout_graceful_shutdown": _STOPS_WITHIN_S,
        "timeout_worker_healthcheck": _WORKER_ANSWERS_WITHIN_S,
        "log_config": None,  # configured by `app.telemetry.logs`
        "access_log": False,  # written by `app.telemetry.watchers`
        "proxy_headers": bool(server.trusted),
        "forwarded_allow_ips": server.trusted,  # the root path is ours: uvicorn's adds it to every path
        "reset_contextvars": True,  # else context variables leak into a connection's next request
    }
