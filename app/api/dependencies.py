"""What routes depend on: the components of the application, and the caller, authenticated and authorized by role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from starlette.requests import HTTPConnection

from app.auth import audit
from app.auth.authenticator import presented
from app.engine.engine import Engine
from app.errors import Forbidden, Unauthorized
from app.health.health import Health
from app.identity import ANONYMOUS, RANK, Identity, Role
from app.quotas.fair_share import Shares, address_of, caller_of
from app.quotas.quotas import Quotas
from app.service.collections import OpenCollections
from app.service.ingestion import Ingestion
from app.settings import Settings
from app.telemetry.gauges import Gauges
from app.telemetry.metrics import Metrics
from app.telemetry.request_record import Watcher

if TYPE_CHECKING:
    from app.auth.auth import Auth  # imported for types only: SQLAlchemy takes memory
    from app.feedback.feedback import Feedback
    from app.telemetry.tracing import Tracing


@dataclass(frozen=True)
class Dependencies:
    """The components of one application."""

    settings: Settings
    engine: Engine
    collections: OpenCollections
    ingestion: Ingestion
    auth: Auth | None  # None: authentication is disabled
    feedback: Feedback | None  # None: it is off
    quotas: Quotas  # without authentication they limit nobody
    bodies: Shares  # of the memory for all requests' bodies, in bytes
    job_followers: Shares  # of the places for clients that follow jobs
    metrics: Metrics
    gauges: Gauges
    health: Health
    tracing: Tracing | None
    watchers: Sequence[Watcher]  # called with every request's record


def dependencies(connection: HTTPConnection) -> Dependencies:
    """The components of the application that serves this request or WebSocket."""
    return cast("Dependencies", connection.app.state.dependencies)


_CHANGES = "this changes a collection, and your key or token may only read: ask the operator for one that may write"

Check = Callable[[HTTPConnection], Awaitable[Identity]]


def allow(role: Role, *, to_write: bool = False) -> Check:
    """A dependency that requires a role of at least this rank, and stores the identity in the connection's state.

    to_write: whether the route changes collections, which some callers may only read.
    """

    async def check(connection: HTTPConnection) -> Identity:
        connection.state.check = check
        try:
            identity = await _identify(connection)
        except Unauthorized:
            _audit_refusal(connection, role, "nobody", "unauthorized")
            raise
        connection.state.identity = identity
        if RANK[identity.role] < RANK[role]:
            _audit_refusal(connection, role, identity.name, "forbidden")
            raise Forbidden(_forbidden_message(identity, role))
        if to_write and not identity.can_write:
            raise Forbidden(_CHANGES)
        return identity

    return check


async def still_allowed(connection: HTTPConnection) -> None:
    """Check again what `allow` did: a revoked key is refused within moments, also on what lasts for hours."""
    await connection.state.check(connection)


async def allow_operators(connection: HTTPConnection) -> None:
    """A dependency that allows everybody, or admins only, as `operations.access` says."""
    if dependencies(connection).settings.operations.access == "admin":
        await _check_admin(connection)


def caller(connection: HTTPConnection) -> str:
    """The caller's id, under which its shares are counted."""
    return caller_of(connection.state.identity, origin_of(connection))


def origin_of(connection: HTTPConnection) -> str:
    """The client's address, for logs."""
    return address_of(connection.client)


async def _identify(connection: HTTPConnection) -> Identity:
    if (auth := dependencies(connection).auth) is None:
        return ANONYMOUS
    return await auth.authenticator.identify(presented(connection.headers), origin_of(connection))


def _audit_refusal(connection: HTTPConnection, role: Role, by: str, result: str) -> None:
    if role == "admin" and dependencies(connection).auth is not None:
        # The route's path: the request's own may contain a key.
        about = {"path": connection.scope["route"].path, "method": connection.scope["method"]}
        audit.record("admin.refused", by=by, origin=origin_of(connection), result=result, about=about)


def _forbidden_message(identity: Identity, role: Role) -> str:
    if identity is ANONYMOUS:
        return (
            "this needs a key with the role admin, and authentication is disabled: set QRERANK_AUTH__ENABLED=true, and "
            "create one with `qrerank keys create --role admin`"
        )
    return f"this needs the role {role}, and yours is {identity.role}: ask the operator for a key with that role"


_check_admin = allow("admin")
