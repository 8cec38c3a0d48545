"""Key management for administrators: create, list, rotate and revoke keys while the service runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.dependencies import dependencies, origin_of
from app.api.dialects.body import fields_of, validate
from app.api.dialects.keys import (
    DAY_S,
    HOUR_S,
    KeyBody,
    KeyListResponse,
    KeyResponse,
    NewKeyResponse,
    RotationBody,
    describe,
    moment,
)
from app.api.exchange import as_json, parsed
from app.api.openapi import content, example, reference
from app.api.problems import PROBLEMS, problems
from app.auth import audit
from app.auth.store import Key
from app.errors import ServiceError

if TYPE_CHECKING:
    from app.auth.auth import Auth

B = TypeVar("B", bound=BaseModel)

_MAX_BYTES = 2**16
_ID_OR_PREFIX = re.compile(r"^(key_[0-9a-f]{12}|qr_[a-z0-9]{8})$")

router = APIRouter(tags=["admin"])


async def create_key(request: Request) -> Response:
    """Create a key. Only this response shows it."""
    body = await _body(request, KeyBody)
    expires = None if body.expires_days is None else time.time() + body.expires_days * DAY_S
    create = partial(
        _auth(request).keys.create,
        body.name,
        body.role,
        body.tier,
        expires,
        body.collections,
        can_write=not body.read_only,
    )
    details = body.model_dump(include={"role", "tier", "collections", "read_only"}) | {"expires": moment(expires)}
    return as_json(await _audited_change(request, "key.created", create, details), HTTPStatus.CREATED)


async def list_keys(request: Request) -> Response:
    """All keys, expired and revoked ones included, without the keys themselves: they are not stored."""
    auth = _auth(request)
    keys = await auth.in_thread(auth.keys.all)
    audit.record("key.listed", by=request.state.identity.name, origin=origin_of(request), result="done")
    return as_json({"object": "list", "data": [describe(key) for key in keys]})


async def rotate_key(request: Request) -> Response:
    """Replace a key by a new one with the same id, limits and usage; the old one stays valid for a while."""
    body = await _body(request, RotationBody)
    key_id = _key_id(request)
    rotate = partial(_auth(request).keys.rotate, key_id, body.overlap_hours * HOUR_S)
    details = {"id": key_id, "overlap_hours": body.overlap_hours}
    return as_json(await _audited_change(request, "key.rotated", rotate, details))


async def revoke_key(request: Request) -> Response:
    """Revoke a key permanently. All replicas refuse it within seconds."""
    key_id, keys = _key_id(request), _auth(request).keys
    return as_json(await _audited_change(request, "key.revoked", lambda: (keys.revoke(key_id), None), {"id": key_id}))


def _auth(request: Request) -> Auth:
    """The key management; an administrator has a key, so it is not None."""
    return cast("Auth", dependencies(request).auth)


def _key_id(request: Request) -> str:
    """The key's id or prefix in the path, else "-": other text may be a whole key, which is never logged."""
    key_id: str = request.path_params["id"]
    return key_id if _ID_OR_PREFIX.match(key_id) else "-"


async def _body(request: Request, model: type[B]) -> B:
    """Parse the body; all its fields are optional, so it may be empty."""
    return await parsed(
        request, lambda raw: validate(model, fields_of(raw) if raw.strip() else {}), most_bytes=_MAX_BYTES
    )


async def _audited_change(
    request: Request, event: str, change: Callable[[], tuple[Key, str | None]], details: Mapping[str, object]
) -> dict[str, Any]:
    """Change a key and write the audit log; the response describes the key, with its secret if that is new."""
    auth = _auth(request)
    log_event = partial(audit.record, event, by=request.state.identity.name, origin=origin_of(request))
    try:
        key, plain = await auth.in_thread(change)
    except ServiceError as error:
        log_event(result="failed", about={**details, "error": str(error)})
        raise
    auth.authenticator.forget()  # clears this process's credential cache
    log_event(result="done", prefix=key.prefix, about={**details, "id": key.id})
    return describe(key) | ({"key": plain} if plain else {})


MODELS: tuple[type[BaseModel], ...] = (  # referenced by the OpenAPI description
    KeyBody,
    RotationBody,
    KeyResponse,
    NewKeyResponse,
    KeyListResponse,
)
_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "A key's id or prefix.",
    "schema": {"type": "string"},
}
_COMMON = (401, 403, 503)
_READS_BODY = (*_COMMON, 400, 408, 413, 422)


def _add(
    method: str,
    path: str,
    route: Callable[[Request], Any],
    summary: str,
    response: type[BaseModel],
    errors: tuple[int, ...],
    body: type[BaseModel] | None = None,
) -> None:
    status = HTTPStatus.CREATED if route is create_key else HTTPStatus.OK
    extra: dict[str, Any] = {"parameters": [_ID]} if "{id}" in path else {}
    if body:
        extra["requestBody"] = {"required": False, **content(reference(body), {"example": example(body)})}
    responses = problems(*errors)
    if 404 in errors:
        responses[400] = PROBLEMS[400]
        responses[404] = PROBLEMS[404] | {"description": "There is no key with this id."}
        responses[405] = PROBLEMS[404] | {"description": "The path has no id."}
    router.add_api_route(
        path,
        route,
        methods=[method],
        summary=summary,
        status_code=status,
        responses=responses | {status.value: {"description": response.__doc__, **content(reference(response))}},
        openapi_extra=extra,
    )


_KEYS = "/v1/admin/keys"
_add("POST", _KEYS, create_key, "Create a key", NewKeyResponse, _READS_BODY, KeyBody)
_add("GET", _KEYS, list_keys, "List the keys", KeyListResponse, _COMMON)
_add("DELETE", _KEYS + "/{id}", revoke_key, "Revoke a key", KeyResponse, (*_COMMON, 404))
_add("POST", _KEYS + "/{id}/rotate", rotate_key, "Rotate a key", NewKeyResponse, (*_READS_BODY, 404), RotationBody)
