"""Collections: made, filled, searched and deleted while the service runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.dependencies import dependencies
from app.api.dialects.body import check_lists, fields_of, validate
from app.api.dialects.cohere import RerankResponse, StandardBody
from app.api.dialects.collections import (
    CollectionBody,
    CollectionListResponse,
    CollectionResponse,
    EncodeBody,
)
from app.api.dialects.detect import STANDARD
from app.api.dialects.jobs import JobResponse, describe_job
from app.api.exchange import as_json, paid, parsed
from app.api.middleware.request_record import record_of
from app.api.openapi import content, example, reference
from app.api.problems import PROBLEMS, problems
from app.api.routes.rerank import decided, ranked
from app.errors import Forbidden, InvalidRequest
from app.identity import Identity
from app.service.collection_check import check_visible
from app.service.ingestion import Description, Ingestion
from app.service.request import RerankRequest, ResolvedRerank
from app.settings import NAME_RULE, is_collection_name
from retrieval.store.collection import Collection

T = TypeVar("T")

_PATTERNS_SHOWN = 10

reading, writing, searching = (APIRouter(tags=["collections"]) for _ in range(3))  # by the role that they need


async def list_collections(request: Request) -> Response:
    """All collections that the caller may see."""
    found = await in_thread(request, Ingestion.describe_all, request.state.identity)
    return as_json({"object": "list", "data": [_described(request, each) for each in found]})


async def create(request: Request) -> Response:
    """Make a collection. One that exists is left as it is; 409 if it has another model, language or chunking."""
    settings = dependencies(request).settings
    body = await paid(request, lambda raw: validate(CollectionBody, fields_of(raw) if raw.strip() else {}))
    language = body.language or settings.language
    chunking = body.chunking.to_chunking() if body.chunking else settings.chunking.to_chunking()
    name = name_in_path(request)
    check_may_name(request, name)
    description, is_new = await in_thread(request, Ingestion.create, name, body.model, language, chunking)
    return as_json(_described(request, description), HTTPStatus.CREATED if is_new else HTTPStatus.OK)


async def describe(request: Request) -> Response:
    """What is in a collection."""
    return as_json(_described(request, await in_thread(request, Ingestion.describe, name_of(request))))


def _described(request: Request, description: Description) -> dict[str, Any]:
    visible = [alias for alias in description.aliases if request.state.identity.may_see(alias)]
    return asdict(description) | {"aliases": visible}


async def delete_collection(request: Request) -> Response:
    """Delete a collection with all its documents. Searches that have begun end as they would have."""
    await in_thread(request, Ingestion.delete_collection, name_of(request))
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def encode(request: Request) -> Response:
    """Encode all documents with another served model in the background: a job. The old one serves until it is done.

    409 if an encoding with another model is on its way. To send it again changes nothing.
    """
    body = await paid(request, lambda raw: validate(EncodeBody, fields_of(raw)))
    name, found = await named(request)
    return as_json(describe_job(name, await in_thread(request, Ingestion.encode, found, body.model)))


async def cancel_encoding(request: Request) -> Response:
    """Forget the encoding with another model, if there is one. The model that serves goes on."""
    return as_json(_described(request, await in_thread(request, Ingestion.cancel_encoding, name_of(request))))


async def search(request: Request) -> Response:
    """Search a collection by meaning and words, and rerank what is found: /rerank without documents."""
    request.state.dialect, record_of(request).dialect = STANDARD, STANDARD.name
    return await ranked(request, partial(_read_search, request))


async def _read_search(request: Request) -> ResolvedRerank:
    name, most = name_in_path(request), dependencies(request).settings.limits.documents

    def parse(raw: bytes) -> RerankRequest:
        fields = fields_of(raw)
        if not isinstance(fields, Mapping):
            raise InvalidRequest("the body must be a JSON object")
        check_lists(fields, most)
        asked = STANDARD.request({**fields, "collection": name})
        if asked.documents is not None or fields.get("collection") not in (None, name):
            raise InvalidRequest("a search is of the collection in its path; send documents to /rerank")
        return asked

    return decided(request, await parsed(request, parse), record_of(request))


async def in_thread(request: Request, method: Callable[..., T], *arguments: Any) -> T:
    """Call a method of Ingestion, which blocks."""
    ingestion = dependencies(request).ingestion
    return await ingestion.in_thread(partial(method, ingestion, *arguments))


def name_of(request: Request) -> str:
    """The collection in the path; UnknownCollection if the caller may not see it. Call it just before it is opened."""
    name = name_in_path(request)
    check_visible(request.state.identity, name)
    return name


async def named(request: Request) -> tuple[str, Collection]:
    """The collection in the path, and what its jobs call it: its own name, which stays when an alias moves.

    The caller's alias, if that alone may be seen. UnknownCollection, DamagedCollection as of `Ingestion.find`.
    """
    asked = name_of(request)
    found = await in_thread(request, Ingestion.find, asked)
    return found.name if request.state.identity.may_see(found.name) else asked, found


def check_may_name(request: Request, name: str) -> None:
    """Forbidden if the caller may not give this name to anything."""
    if not request.state.identity.may_see(name):
        raise Forbidden(_outside(request.state.identity))


def _outside(identity: Identity) -> str:
    """Why a collection of another name is not made."""
    seen = ", ".join((identity.collections or ("none",))[:_PATTERNS_SHOWN])
    return (
        f"your key or token is limited to collections: {seen}; choose a name among these, or ask the operator for "
        "another key"
    )


def name_in_path(request: Request, parameter: str = "name") -> str:
    """The collection in the path; InvalidRequest if no collection can have this name."""
    name: str = request.path_params[parameter]
    if not is_collection_name(name):
        raise InvalidRequest(f"a collection's name {NAME_RULE}", (parameter,))
    return name


MODELS: tuple[type[BaseModel], ...] = (  # referenced by the OpenAPI description
    CollectionBody,
    CollectionListResponse,
    CollectionResponse,
    EncodeBody,
)


def _parameter(name: str, where: str, description: str, kind: str = "string") -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": description,
        "schema": {"type": kind},
    }


PARAMETERS = {
    "name": _parameter("name", "path", "The collection's name."),
    "alias": _parameter("alias", "path", "The alias."),
    "job": _parameter("job", "path", "The job's id."),
    "id": _parameter("id", "path", "The document's id."),
    "after": _parameter("after", "query", "`next` of the page before.", "integer"),
    "filter": _parameter("filter", "query", "Conditions on the documents' metadata, as JSON."),
    "limit": _parameter("limit", "query", "Documents in a page, 1 to 1000.", "integer"),
}


def add_route(
    router: APIRouter,
    method: str,
    path: str,
    route: Callable[[Request], Any],
    summary: str,
    response: type[BaseModel] | None,
    body: type[BaseModel] | None = None,
    query: tuple[str, ...] = (),
    *,
    conflicts: bool = False,
) -> None:
    """Add a route with its description.

    response: None for 204. query: the names of its query parameters. conflicts: whether it may answer 409.
    """
    status = HTTPStatus.OK if response else HTTPStatus.NO_CONTENT
    named = [name for name in ("name", "alias", "job", "id") if f"{{{name}" in path] + list(query)
    extra: dict[str, Any] = {"parameters": [PARAMETERS[name] for name in named]} if named else {}
    if body:
        extra["requestBody"] = {
            "required": body is not CollectionBody,
            # the last one of reranking is a search, which takes no documents
            **content(reference(body), {"example": example(body, -1 if body is StandardBody else 0)}),
        }
    described_as = content(reference(response)) if response else {}
    filters = "filter" in (*query, *(body.model_fields if body else ()))
    responses = _problems_of(method, path, body, filters=filters, conflicts=conflicts)
    responses[status.value] = {"description": (response.__doc__ if response else "It is deleted."), **described_as}
    if route is create:
        responses[HTTPStatus.CREATED.value] = {"description": "It is new.", **described_as}
    router.add_api_route(
        path,
        route,
        methods=[method],
        summary=summary,
        status_code=status,
        responses=responses,
        openapi_extra=extra,
    )


def _problems_of(
    method: str, path: str, body: type[BaseModel] | None, *, filters: bool, conflicts: bool
) -> dict[int | str, dict[str, Any]]:
    """The errors that a route may answer with, by status."""
    statuses = [401, 503]
    if method != "GET":
        statuses.append(403)
    if "{" in path:
        statuses += [400, 404, 422]
    if body:
        statuses += [408, 413, 429]
    if filters:
        statuses.append(504)
    described = problems(*statuses)
    if conflicts:
        conflict = "There is something else of this name, it is in use, or its model is not served: see the message."
        described[HTTPStatus.CONFLICT.value] = PROBLEMS[404] | {"description": conflict}
    return described


_ALL = "/v1/collections"
ONE = _ALL + "/{name}"
add_route(reading, "GET", _ALL, list_collections, "List the collections", CollectionListResponse)
add_route(writing, "PUT", ONE, create, "Make a collection", CollectionResponse, CollectionBody, conflicts=True)
add_route(reading, "GET", ONE, describe, "Describe a collection", CollectionResponse)
add_route(writing, "DELETE", ONE, delete_collection, "Delete a collection", None, conflicts=True)
add_route(
    writing,
    "POST",
    ONE + "/encode",
    encode,
    "Encode with another model",
    JobResponse,
    EncodeBody,
    conflicts=True,
)
add_route(writing, "DELETE", ONE + "/encode", cancel_encoding, "Cancel an encoding", CollectionResponse)
add_route(
    searching, "POST", ONE + "/search", search, "Search a collection", RerankResponse, StandardBody, conflicts=True
)
