"""The documents of collections: inserted, replaced, listed and deleted while the service runs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from app.api.dependencies import caller, dependencies, still_allowed
from app.api.dialects.body import fields_of, validate
from app.api.dialects.collections import (
    SHOWN,
    DeletedResponse,
    DeletionBody,
    DocumentListResponse,
    DocumentResponse,
    DocumentsBody,
    DocumentsResponse,
    Wait,
    checked_wait,
    documents_of,
    filter_of,
)
from app.api.dialects.jobs import job_id
from app.api.exchange import as_json, check_parameters, check_plain, counted, paid, whole_number
from app.api.routes.collections import ONE, add_route, in_thread, name_of, named
from app.api.upload import Upload
from app.errors import UnknownDocument
from app.quotas.quotas import Cost
from app.service.ingestion import Ingestion
from app.service.request import deadline_of
from retrieval.deadline import Deadline
from retrieval.store.collection import Collection
from retrieval.store.documents import is_full
from retrieval.store.filters import Filter
from retrieval.store.jobs import Writing, new_key
from retrieval.store.rows import Document

_PAGE, _LARGEST_PAGE = 100, 1000
_NDJSON = {
    f"application/{name}"
    for name in ("x-ndjson", "ndjson", "jsonl", "x-jsonl", "jsonlines", "x-jsonlines", "json-lines", "x-json-lines")
}
_WEIGHT = re.compile(r"[01](\.\d{0,3})?")

reading, writing = APIRouter(tags=["collections"]), APIRouter(tags=["collections"])  # by the role that they need


async def put_documents(request: Request) -> Response:
    """Insert or replace documents by id, as JSON or as an NDJSON stream of any length.

    They are on the disk when the response comes. What is unchanged is not encoded again. A document that is not valid
    is named in `failed`, and the others are kept; 422 if none is valid. A stream is stored as it comes: what was read
    before it breaks off is kept, and may be sent again.
    """
    check_parameters(request, "wait")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() in _NDJSON:
        return await _put_stream(request)

    def parse(raw: bytes) -> tuple[list[Document], list[dict[str, Any]], Wait]:
        documents, failed, wait = documents_of(raw)
        return documents, failed, checked_wait(request.query_params.get("wait", wait))

    documents, failed, wait = await paid(request, parse, _cost)
    (name, found), key = await named(request), new_key()
    changed = await in_thread(request, Ingestion.put, found, documents, Writing(key, len(failed)))
    return as_json(
        {
            "stored": len({document.id for document in documents}),
            "changed": len(set(changed)),
            "searchable": await _searchable(request, found, key, wait),
            "rejected": len(failed),
            "failed": failed[:SHOWN],
            "job": job_id(name, key),
        }
    )


def _cost(read: tuple[Sequence[Document], object, object]) -> Cost:
    count = len(read[0])
    return Cost(count, count, "embedding")


async def _put_stream(request: Request) -> Response:
    async def begin() -> tuple[Upload, Wait]:
        wait = checked_wait(request.query_params.get("wait", "stored"))
        check_plain(request)
        return Upload(request, *await named(request)), wait  # before the client sends a gigabyte

    upload, wait = await counted(request, begin)
    await upload.run()
    return as_json(
        {
            "stored": upload.stored,
            "changed": upload.changed,
            "searchable": await _searchable(request, upload.collection, upload.key, wait),
            "rejected": upload.rejected,
            "failed": upload.failed,
            "job": upload.job,
        }
    )


async def _searchable(request: Request, collection: Collection, key: str, wait: Wait) -> bool:
    deps = dependencies(request)
    until = deadline_of(0, deps.settings, caller(request)) if wait == "searchable" else Deadline.after(0)
    return await deps.ingestion.searchable(collection, key, until)


async def list_documents(request: Request) -> Response:
    """Documents in the order in which their contents were written: page by page, or all of them as NDJSON."""
    check_parameters(request, "after", "filter", "limit")
    after, wanted = whole_number(request, "after", 0, 0, 2**62), filter_of(request.query_params.get("filter"))
    if _prefers_lines(request.headers.get("accept", "")):
        collection = await in_thread(request, Ingestion.find, name_of(request))
        return StreamingResponse(_export(request, collection, after, wanted), media_type="application/x-ndjson")
    limit = whole_number(request, "limit", _PAGE, 1, _LARGEST_PAGE)
    page = await in_thread(request, Ingestion.page, name_of(request), after, limit, wanted)
    following = page[-1][0] if is_full(page, limit) else None
    return as_json({"object": "list", "data": [asdict(each) for _, each in page], "next": following})


def _prefers_lines(accept: str) -> bool:
    """Whether an Accept header gives NDJSON at least the weight of JSON (RFC 9110, section 12.4.2)."""
    weights = {"application/json": 0.0}
    for each in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        given = [parameter.removeprefix("q=") for parameter in parameters if parameter.startswith("q=")]
        weights[kind] = float(given[0]) if given and _WEIGHT.fullmatch(given[0]) else 1.0
    lines = max(weights.get(kind, 0.0) for kind in _NDJSON)
    return lines > 0 and lines >= weights["application/json"]


async def _export(request: Request, collection: Collection, after: int, wanted: Filter | None) -> AsyncIterator[bytes]:
    """All documents that a filter leaves, as `put_documents` takes them; also of one that is deleted meanwhile.

    It breaks off where the caller's key is revoked.
    """
    in_thread = dependencies(request).ingestion.in_thread
    while found := await in_thread(partial(collection.page, after, _LARGEST_PAGE, wanted)):
        yield await asyncio.to_thread(_lines, [each for _, each in found])
        await still_allowed(request)
        after = found[-1][0]


def _lines(documents: Iterable[Document]) -> bytes:
    return b"".join(orjson.dumps(asdict(each), option=orjson.OPT_APPEND_NEWLINE) for each in documents)


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
    """Delete documents by id, or those that a filter leaves. Ids that the collection does not have are passed over."""
    body = await paid(request, lambda raw: validate(DeletionBody, fields_of(raw)))
    name = name_of(request)
    if body.filter is not None:
        return as_json({"deleted": await in_thread(request, Ingestion.delete_where, name, body.filter)})
    return as_json({"deleted": await in_thread(request, Ingestion.delete, name, body.ids)})


MODELS: tuple[type[BaseModel], ...] = (  # referenced by the OpenAPI description
    DeletedResponse,
    DeletionBody,
    DocumentListResponse,
    DocumentResponse,
    DocumentsBody,
    DocumentsResponse,
)

_ALL = ONE + "/documents"
_EACH = _ALL + "/{id:path}"
add_route(
    writing,
    "POST",
    _ALL,
    put_documents,
    "Insert or replace documents",
    DocumentsResponse,
    DocumentsBody,
    conflicts=True,
)
add_route(
    reading, "GET", _ALL, list_documents, "List documents", DocumentListResponse, None, ("after", "limit", "filter")
)
add_route(
    writing,
    "POST",
    _ALL + "/delete",
    delete_documents,
    "Delete documents by id or filter",
    DeletedResponse,
    DeletionBody,
)
add_route(reading, "GET", _EACH, get_document, "Get a document", DocumentResponse)
add_route(writing, "DELETE", _EACH, delete_document, "Delete a document", DeletedResponse)
