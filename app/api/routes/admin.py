"""Keys, for administrators: made, listed, rotated and revoked while the service runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.authorize import origin_of
from app.api.dependencies import dependencies
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
from app.api.exchange import parsed
from app.api.openapi import content, example, reference
from app.api.problems import PROBLEMS
from app.auth import audit
from app.auth.store import Key
from app.errors import ServiceError

if TYPE_CHECKING:
    from app.auth.auth import Auth

B = TypeVar("B", bound=BaseModel)

_MOST_BYTES = 2**16
_NAMED = re.compile(r"^(key_[0-9a-f]{12}|qr_[a-z0-9]{8})$")

router = APIRouter(tags=["admin"])


async def create_key(request: Request) -> Response:
    """Make a key. The response is the only one that shows it."""
    body = await _body(request, KeyBody)
    expires = None if body.expires_days is None else time.time() + body.expires_days * DAY_S
    create = partial(_auth(request).keys.create, body.name, body.role, body.tier, expires)
    about = {"role": body.role, "tier": body.tier, "expires": moment(expires)}
    return _answer(await _changed(request, "key.created", create, about), HTTPStatus.CREATED)


async def list_keys(request: Request) -> Response:
    """Every key there ever was. The keys themselves are kept nowhere."""
    auth = _auth(request)
    found = await auth.in_thread(auth.keys.all)
    audit.record("key.listed", by=request.state.identity.name, origin=origin_of(request), result="done")
    return _answer({"object": "list", "data": [describe(key) for key in found]})


async def rotate_key(request: Request) -> Response:
    """Replace a key by a new one with the same id, limits and usage; for a while the old one opens as well."""
    body = await _body(request, RotationBody)
    named = _named(request)
    rotate = partial(_auth(request).keys.rotate, named, body.overlap_hours * HOUR_S)
    about = {"id": named, "overlap_hours": body.overlap_hours}
    return _answer(await _changed(request, "key.rotated", rotate, about))


async def revoke_key(request: Request) -> Response:
    """End a key for good. Within seconds no replica lets it in."""
    named, keys = _named(request), _auth(request).keys
    return _answer(await _changed(request, "key.revoked", lambda: (keys.revoke(named), None), {"id": named}))


def _auth(request: Request) -> Auth:
    """What holds the keys: administrators have one, so there it is."""
    return cast("Auth", dependencies(request).auth)


def _named(request: Request) -> str:
    """The id or prefix that the path names. What is neither is not asked for, or told: it may be a whole key."""
    named: str = request.path_params["id"]
    return named if _NAMED.match(named) else "-"


async def _body(request: Request, model: type[B]) -> B:
    """The body, whose fields may all be left out, and it with them."""
    return await parsed(
        request, lambda raw: validate(model, fields_of(raw) if raw.strip() else {}), most_bytes=_MOST_BYTES
    )


async def _changed(
    request: Request, event: str, change: Callable[[], tuple[Key, str | None]], about: Mapping[str, object]
) -> dict[str, Any]:
    """The key that was changed, and what opens if that is new. The audit log is told of it, come what may."""
    auth = _auth(request)
    tell = partial(audit.record, event, by=request.state.identity.name, origin=origin_of(request))
    try:
        key, plain = await auth.in_thread(change)
    except ServiceError as error:
        tell(result="failed", about={**about, "error": str(error)})
        raise
    auth.authenticator.forget()  # what this process knows of keys may be wrong now
    tell(result="done", prefix=key.prefix, about={**about, "id": key.id})
    return describe(key) | ({"key": plain} if plain else {})


def _answer(body: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


MODELS: tuple[type[BaseModel], ...] = (  # that the description refers to
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
_READING = (*_COMMON, 400, 413, 422)


def _add(
    method: str,
    path: str,
    route: Callable[[Request], Any],
    summary: str,
    response: type[BaseModel],
    problems: tuple[int, ...],
    body: type[BaseModel] | None = None,
) -> None:
    status = HTTPStatus.CREATED if route is create_key else HTTPStatus.OK
    extra: dict[str, Any] = {"parameters": [_ID]} if "{id}" in path else {}
    if body:
        extra["requestBody"] = {"required": False, **content(reference(body), {"example": example(body)})}
    described: dict[int | str, dict[str, Any]] = {problem: PROBLEMS[problem] for problem in problems}
    if 404 in problems:
        described[400] = PROBLEMS[400]
        described[404] = PROBLEMS[404] | {"description": "No key has this id."}
        described[405] = PROBLEMS[404] | {"description": "There is no id."}
    router.add_api_route(
        path,
        route,
        methods=[method],
        summary=summary,
        status_code=status,
        responses=described | {status.value: {"description": response.__doc__, **content(reference(response))}},
        openapi_extra=extra,
    )


_KEYS = "/v1/admin/keys"
_add("POST", _KEYS, create_key, "Make a key", NewKeyResponse, _READING, KeyBody)
_add("GET", _KEYS, list_keys, "List the keys", KeyListResponse, _COMMON)
_add("DELETE", _KEYS + "/{id}", revoke_key, "Revoke a key", KeyResponse, (*_COMMON, 404))
_add("POST", _KEYS + "/{id}/rotate", rotate_key, "Rotate a key", NewKeyResponse, (*_READING, 404), RotationBody)
