"""The one place where a connection becomes an identity, and roles are checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection

from app.api.dependencies import dependencies
from app.auth import audit
from app.auth.credentials import presented
from app.errors import Forbidden, Unauthorized
from app.identity import ANONYMOUS, RANK, Identity, Role
from app.quotas.shares import address_of, caller_of

Check = Callable[[HTTPConnection], Awaitable[Identity]]


def allow(role: Role) -> Check:
    """A dependency that lets in whoever may do what this role may, and leaves who that is in the connection's state.

    On a connection that lasts, call it again for each thing that is asked: a moment after a key was revoked it refuses.
    """

    async def check(connection: HTTPConnection) -> Identity:
        try:
            identity = await _identify(connection)
        except Unauthorized:
            _tell(connection, role, "nobody", "unauthorized")
            raise
        connection.state.identity = identity
        if RANK[identity.role] < RANK[role]:
            _tell(connection, role, identity.name, "forbidden")
            raise Forbidden(_too_little(identity, role))
        return identity

    return check


async def allow_operators(connection: HTTPConnection) -> None:
    """A dependency that lets in everybody, or admins alone, as `operations.access` says."""
    if dependencies(connection).settings.operations.access == "admin":
        await _admins(connection)


def caller(connection: HTTPConnection) -> str:
    """By what the caller's shares are counted."""
    return caller_of(connection.state.identity, origin_of(connection))


def origin_of(connection: HTTPConnection) -> str:
    """Where a connection comes from, for logs."""
    return address_of(connection.client)


async def _identify(connection: HTTPConnection) -> Identity:
    auth = dependencies(connection).auth
    if auth is None:
        return ANONYMOUS
    identity: Identity = await auth.authenticator.identify(presented(connection.headers), origin_of(connection))
    return identity


def _tell(connection: HTTPConnection, role: Role, by: str, result: str) -> None:
    if role == "admin" and dependencies(connection).auth is not None:
        # The route's path, not the request's: there is no telling what stands in that.
        about = {"path": connection.scope["route"].path, "method": connection.scope["method"]}
        audit.record("admin.refused", by=by, origin=origin_of(connection), result=result, about=about)


def _too_little(identity: Identity, role: Role) -> str:
    if identity is ANONYMOUS:
        return (
            "this needs a key with the role admin, and keys are off: set QRERANK_AUTH__ENABLED=true, and make one with "
            "`qrerank keys create --role admin`"
        )
    return (
        f"this needs the role {role}, and yours is {identity.role}: ask whoever runs the service for a key of that role"
    )


_admins = allow("admin")
