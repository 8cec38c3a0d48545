"""The documents of collections: inserted, replaced, listed and deleted while the service runs."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.dependencies import caller, dependencies
from app.api.dialects.body import fields_of, validate
from app.api.dialects.collections import (
    DeletedResponse,
    DocumentListResponse,
    DocumentResponse,
    DocumentsBody,
    DocumentsResponse,
    IdsBody,
    checked_wait,
    documents_of,
)
from app.api.exchange import as_json, parsed
from app.api.rate_limit import counted, pay
from app.api.routes.collections import ONE, add_route, in_thread, name_of
from app.errors import InvalidRequest, UnknownDocument
from app.quotas.quotas import Cost
from app.service.ingestion import Ingestion
from app.service.request import deadline_of
from retrieval.deadline import Deadline

_PAGE, _LARGEST_PAGE = 100, 1000
_NDJSON = {"application/x-ndjson", "application/ndjson", "application/jsonl"}

reading, writing = APIRouter(tags=["collections"]), APIRouter(tags=["collections"])  # by the role that they need


async def put_documents(request: Request) -> Response:
    """Insert or replace documents by id, as JSON or NDJSON.

    They are on the disk when the response comes. What is unchanged is not encoded again. A document that is not valid
    is named in `failed`, and the others are kept; 422 if none is valid.
    """
    deps = dependencies(request)
    lines = request.headers.get("content-type", "").partition(";")[0].strip().lower() in _NDJSON
    documents, failed, wait = await counted(
        request, lambda: parsed(request, lambda raw: documents_of(raw, lines=lines))
    )
    if lines:
        wait = checked_wait(request.query_params.get("wait", "stored"))
    if not documents:
        raise InvalidRequest(f"no document is valid; the first one: {failed[0]['error']}", ("documents", 0))
    await pay(request, Cost(len(documents), len(documents), "embedding"))
    name = name_of(request)
    changed = await in_thread(request, Ingestion.put, name, documents)
    ids = [document.id for document in documents]
    until = deadline_of(0, deps.settings, caller(request)) if wait == "searchable" else Deadline.after(0)
    searchable = await deps.ingestion.searchable(name, ids, until)
    return as_json({"stored": len(set(ids)), "changed": len(set(changed)), "searchable": searchable, "failed": failed})


async def list_documents(request: Request) -> Response:
    """Documents in the order in which their contents were written, page by page."""
    after = _number(request, "after", 0, 2**62)
    limit = max(1, _number(request, "limit", _PAGE, _LARGEST_PAGE))
    page = await in_thread(request, Ingestion.page, name_of(request), after, limit)
    following = page[-1][0] if len(page) == limit else None
    return as_json({"object": "list", "data": [asdict(each) for _, each in page], "next": following})


async def get_document(request: Request) -> Response:
    """One document."""
    found = await in_thread(request, Ingestion.get, name_of(request), [request.path_params["id"]])
    if not found:
        raise UnknownDocument("the collection has no document with this id")
    return as_json(asdict(found[0]))


async def delete_document(request: Request) -> Response:
    """Delete one document."""
    if not await in_thread(request, Ingestion.delete, name_of(request), [request.path_params["id"]]):
        raise UnknownDocument("the collection has no document with this id")
    return as_json({"deleted": 1})


async def delete_documents(request: Request) -> Response:
    """Delete documents by id. Ids that the collection does not have are passed over."""
    body = await counted(request, lambda: parsed(request, lambda raw: validate(IdsBody, fields_of(raw))))
    await pay(request, Cost())
    return as_json({"deleted": await in_thread(request, Ingestion.delete, name_of(request), body.ids)})


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise InvalidRequest(f"{name}: must be a whole number up to {most}", (name,))
    return int(text)


MODELS: tuple[type[BaseModel], ...] = (  # referenced by the OpenAPI description
    DeletedResponse,
    DocumentListResponse,
    DocumentResponse,
    DocumentsBody,
    DocumentsResponse,
    IdsBody,
)

_ALL = ONE + "/documents"
_EACH = _ALL + "/{id:path}"
add_route(writing, "POST", _ALL, put_documents, "Insert or replace documents", DocumentsResponse, DocumentsBody)
add_route(reading, "GET", _ALL, list_documents, "List documents", DocumentListResponse, None, ("after", "limit"))
add_route(writing, "POST", _ALL + "/delete", delete_documents, "Delete documents by id", DeletedResponse, IdsBody)
add_route(reading, "GET", _EACH, get_document, "Get a document", DocumentResponse)
add_route(writing, "DELETE", _EACH, delete_document, "Delete a document", DeletedResponse)
