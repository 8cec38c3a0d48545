"""The components that routes use, created once by `app.main`."""

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
    from app.auth.auth import Auth  # imported for types only: SQLAlchemy takes memory
    from app.telemetry.tracing import Tracing


@dataclass(frozen=True)
class Dependencies:
    """The components of one application."""

    settings: Settings
    engine: Engine
    collections: OpenCollections
    auth: Auth | None  # None: authentication is disabled
    quotas: Quotas  # without authentication they limit nobody
    bodies: Shares  # of the memory for all requests' bodies, in bytes
    metrics: Metrics
    gauges: Gauges
    health: Health
    tracing: Tracing | None
    watchers: Sequence[Watcher]  # called with every request's record


def dependencies(connection: HTTPConnection) -> Dependencies:
    """The components of the application that serves this request or WebSocket."""
    return cast("Dependencies", connection.app.state.dependencies)
