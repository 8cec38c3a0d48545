"""Aliases: other names of collections, which lead to another collection from one moment to the next."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.dialects.body import fields_of, validate
from app.api.dialects.collections import AliasBody, AliasListResponse, AliasResponse
from app.api.exchange import as_json, paid
from app.api.routes.collections import add_route, check_may_name, in_thread, name_in_path
from app.errors import UnknownCollection
from app.service.collection_check import check_visible
from app.service.ingestion import Ingestion

reading, writing = APIRouter(tags=["collections"]), APIRouter(tags=["collections"])  # by the role that they need


async def list_aliases(request: Request) -> Response:
    """All aliases of which the caller may see both names."""
    found, identity = await in_thread(request, Ingestion.aliases), request.state.identity
    seen = {alias: name for alias, name in found.items() if identity.may_see(alias) and identity.may_see(name)}
    return as_json({"object": "list", "data": [_described(alias, name) for alias, name in seen.items()]})


async def put_alias(request: Request) -> Response:
    """Let an alias lead to a collection, atomically. A search finds the old collection or the new one.

    409 if a collection has this name, or if what it is to lead to is an alias.
    """
    body = await paid(request, lambda raw: validate(AliasBody, fields_of(raw)))
    alias = name_in_path(request, "alias")
    check_may_name(request, alias)
    check_visible(request.state.identity, body.collection)
    await in_thread(request, Ingestion.set_alias, alias, body.collection)
    return as_json(_described(alias, body.collection))


async def delete_alias(request: Request) -> Response:
    """Delete an alias. The collection stays."""
    alias = name_in_path(request, "alias")
    if not (request.state.identity.may_see(alias) and await in_thread(request, Ingestion.delete_alias, alias)):
        raise UnknownCollection(f"there is no alias {alias!r}; GET /v1/aliases lists those that there are")
    return Response(status_code=204)


def _described(alias: str, collection: str) -> dict[str, str]:
    return {"object": "alias", "alias": alias, "collection": collection}


MODELS: tuple[type[BaseModel], ...] = (AliasBody, AliasListResponse, AliasResponse)  # referenced by the description

_ALL = "/v1/aliases"
_ONE = _ALL + "/{alias}"
add_route(reading, "GET", _ALL, list_aliases, "List the aliases", AliasListResponse)
add_route(
    writing, "PUT", _ONE, put_alias, "Let an alias lead to a collection", AliasResponse, AliasBody, conflicts=True
)
add_route(writing, "DELETE", _ONE, delete_alias, "Delete an alias", None)
