"""What routes stand on, made once by `app.main`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from starlette.requests import HTTPConnection

from app.engine.engine import Engine
from app.health.health import Health
from app.quotas.quotas import Quotas
from app.quotas.shares import Shares
from app.service.collections import OpenCollections
from app.settings import Settings
from app.telemetry.gauges import Gauges
from app.telemetry.metrics import Metrics
from app.telemetry.request_record import Watcher

if TYPE_CHECKING:
    from app.auth.auth import Auth  # SQLAlchemy takes memory, and many do without
    from app.telemetry.tracing import Tracing


@dataclass(frozen=True)
class Dependencies:
    """The parts of one application."""

    settings: Settings
    engine: Engine
    collections: OpenCollections
    auth: Auth | None  # None: nobody is asked for a key
    quotas: Quotas  # which limit nobody without keys
    bodies: Shares  # bytes of memory for the bodies of all requests
    metrics: Metrics
    gauges: Gauges
    health: Health
    tracing: Tracing | None
    watchers: Sequence[Watcher]  # of every request


def dependencies(connection: HTTPConnection) -> Dependencies:
    """Those of the application that serves this request or WebSocket."""
    return cast("Dependencies", connection.app.state.dependencies)
