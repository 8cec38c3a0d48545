"""Requests and responses about collections and their documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.api.dialects.body import Digits, Language, Selecting, StrictBody, fields_of, message_of, place_of
from app.errors import InvalidRequest, MalformedBody
from app.settings import CollectionName
from app.telemetry.printable import escaped
from retrieval.store.filters import Filter, FilterError, loads
from retrieval.store.rows import Document, check_metadata
from retrieval.text.sentences import VISIBLE
from retrieval.text.splitters import By, Chunking

ID_BYTES = 512
_METADATA_BYTES = 2**16
SHOWN = 100  # failures in a response

Wait = Literal["stored", "searchable"]
WAITS: tuple[Wait, ...] = get_args(Wait)


class ChunkingBody(StrictBody):
    """How documents are split. Sizes are in tokens of the model, those of `character` in characters."""

    by: By = Field(description="none: not at all; else where chunks end.")
    size: int | None = Field(None, ge=1, description="The most of a chunk. Absent: as much as the model reads.")
    overlap: int = Field(0, ge=0, description="The most that the next chunk repeats; at most half of the size.")

    def to_chunking(self) -> Chunking:
        """As the service takes it."""
        return Chunking(self.by, self.size, self.overlap)


class CollectionBody(StrictBody):
    """A collection to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"language": "de", "chunking": {"by": "sentence", "size": 128, "overlap": 16}}]
        },
    )

    model: str | None = Field(None, description="A served model. Absent: the default model.")
    language: Language = Field(None, description="Of its documents: a code, none or auto. Absent: QRERANK_LANGUAGE.")
    chunking: ChunkingBody | None = Field(None, description="Absent: QRERANK_CHUNKING__….")


class ChunkingResponse(BaseModel):
    """How documents are split."""

    by: By
    size: int | None = Field(description="null: none was chosen, so it is as much as the model reads.")
    overlap: int


class EncodeBody(StrictBody):
    """A model to encode a collection with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "multilingual-e5-small"}]})

    model: str = Field(description="A served model.")


class EncodingResponse(BaseModel):
    """How far the encoding of a collection with another model is."""

    model: str
    done: int = Field(description="Documents that are encoded.")
    total: int


class CollectionResponse(BaseModel):
    """A collection."""

    name: str
    documents: int
    passages: int = Field(description="Passages that a search can find.")
    waiting: int = Field(description="Documents whose content is not searchable yet.")
    failed: int = Field(description="Documents that are kept, and that the model cannot encode.")
    model: str
    language: str
    chunking: ChunkingResponse
    aliases: list[str] = Field(description="Other names that lead to it.")
    encoding: EncodingResponse | None = Field(
        description="With another model, which serves when all documents are encoded; null if there is none."
    )


class CollectionListResponse(BaseModel):
    """All collections."""

    object: Literal["list"]
    data: list[CollectionResponse]


class AliasBody(StrictBody):
    """What an alias leads to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"collection": "papers"}]})

    collection: CollectionName = Field(description="The name of a collection, not of an alias.")


class AliasResponse(BaseModel):
    """An alias."""

    object: Literal["alias"]
    alias: str
    collection: str


class AliasListResponse(BaseModel):
    """All aliases."""

    object: Literal["list"]
    data: list[AliasResponse]


class DocumentBody(StrictBody):
    """A document to keep."""

    id: Annotated[str, Field(min_length=1, max_length=ID_BYTES), Digits]
    text: str
    title: str = ""
    metadata: dict[str, Any] = Field({}, description="Kept with the document, not searched; a `filter` tests it.")

    @model_validator(mode="before")
    @classmethod
    def _take_id(cls, fields: Any) -> Any:
        """Take `_id`, as BEIR's corpora and the command line's exports have it."""
        if not isinstance(fields, Mapping) or "_id" not in fields or fields.get("id") is not None:
            return fields
        others = {name: value for name, value in fields.items() if name not in ("_id", "id")}
        return {"id": fields["_id"], **others}


class DocumentsBody(StrictBody):
    """Documents to insert or replace by id. As NDJSON: one document a line, and `wait` in the query string."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"documents": [{"id": "owl", "text": "An owl hunts at night."}], "wait": "searchable"}]
        },
    )

    documents: list[DocumentBody] = Field(min_length=1)
    wait: Wait = Field("stored", description="stored: on the disk; searchable: a search finds them.")


class Failure(BaseModel):
    """A document that was not taken."""

    index: int = Field(description="Its place among the documents of the request, from 0.")
    line: int | None = Field(None, description="Its line in an NDJSON stream, from 1.")
    id: str | None
    error: str


class DocumentsResponse(BaseModel):
    """What became of the documents."""

    stored: int = Field(description="Documents that are on the disk, the unchanged ones among them.")
    changed: int = Field(
        description="Documents whose content is new or changed, or that the model could not encode before."
    )
    searchable: bool = Field(
        description="Whether a search finds all of them; false, too, if the model cannot encode one: see its job."
    )
    rejected: int = Field(description="Documents that were not taken.")
    failed: list[Failure] = Field(description="The first 100 of them.")
    job: str = Field(description="Follow it at /v1/jobs/{job}.")


class DeletionBody(StrictBody):
    """Documents to delete: their ids, or conditions on their metadata."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ids": ["owl"]}, {"filter": {"eq": {"source": "old.pdf"}}}]},
    )

    ids: Annotated[list[Annotated[str, Digits]], Field(min_length=1, max_length=100_000)] | None = None
    filter: Selecting | None = None

    @model_validator(mode="after")
    def _check_one(self) -> DeletionBody:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("send either `ids` or `filter`")
        return self


class DeletedResponse(BaseModel):
    """How many documents there were."""

    deleted: int


class DocumentResponse(BaseModel):
    """A document."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any]


class DocumentListResponse(BaseModel):
    """Documents in the order in which their contents were written."""

    object: Literal["list"]
    data: list[DocumentResponse]
    next: int | None = Field(description="Send it as `after` to get the next ones. null: there are no more.")


def documents_of(body: bytes) -> tuple[list[Document], list[dict[str, Any]], Wait]:
    """The documents of a JSON body, why others were not taken, and what to wait for.

    Raises:
        MalformedBody: The body is no JSON.
        InvalidRequest: It holds no valid documents, or fields that are not known.
    """
    found, failed = list[Document](), list[dict[str, Any]]()
    records, wait = _records(body)
    for at, record in enumerate(records):
        try:
            found.append(_document(DocumentBody.model_validate(record)))
        except ValueError as error:  # pydantic's are ValueErrors
            failed.append({"index": at, "id": _id_of(record), "error": _reason(error)})
    if not records:
        raise no_documents()
    if not found:
        raise no_valid_document(failed[0])
    return found, failed, wait


def no_documents() -> InvalidRequest:
    """The error for a request without documents."""
    return InvalidRequest("there are no documents; send at least one", ("documents",))


def no_valid_document(first: Mapping[str, Any]) -> InvalidRequest:
    """The error for a request of which no document is valid. first: why the first one is not."""
    return InvalidRequest(f"no document is valid; the first one: {first['error']}", ("documents", 0))


def documents_of_lines(
    lines: Iterable[bytes | None], line: int, index: int
) -> tuple[list[Document], list[dict[str, Any]], int]:
    """The documents of some lines of an NDJSON stream.

    Args:
        lines: One document each, or nothing; None for a line that is too long.
        line: The number of the first one in the stream, from 1.
        index: How many documents came before, valid or not.

    Returns:
        The valid documents, why others were not taken, and how many there are of both.
    """
    found, failed, count = list[Document](), list[dict[str, Any]](), 0
    for number, text in enumerate(lines, start=line):
        if text is not None and not text.strip():
            continue
        fields = None
        try:
            fields = _fields_of_line(text)
            found.append(_document(DocumentBody.model_validate(fields)))
        except (MalformedBody, ValueError) as error:
            failed.append({"index": index + count, "line": number, "id": _id_of(fields), "error": _reason(error)})
        count += 1
    return found, failed, count


def _fields_of_line(line: bytes | None) -> Any:
    if line is None:
        raise MalformedBody("the line is longer than a body may be; send a shorter text")
    try:
        return fields_of(line)
    except MalformedBody as error:  # curl's -d takes line breaks out of a file
        joined = b"}{" in line
        hint = "; send one document a line, by curl with -T or --data-binary" if joined else ""
        raise MalformedBody(f"{error}{hint}") from None


_AS_LINES = "documents one a line need Content-Type: application/x-ndjson"


def _records(body: bytes) -> tuple[Sequence[Any], Wait]:
    try:
        fields = fields_of(body)
    except MalformedBody as error:
        raise (MalformedBody(f"{error}; {_AS_LINES}") if b"}\n{" in body else error) from None
    if not isinstance(fields, Mapping):
        raise InvalidRequest("the body must be a JSON object with `documents`")
    if unknown := sorted(fields.keys() - {"documents", "wait"}):
        raise InvalidRequest(f"{', '.join(unknown)[:200]} is not known here; send `documents` and `wait`; {_AS_LINES}")
    records, wait = fields.get("documents"), fields.get("wait")
    if not isinstance(records, list):
        raise InvalidRequest("documents: must be a list", ("documents",))
    return records, checked_wait("stored" if wait is None else wait)


def filter_of(text: str | None) -> Filter | None:
    """The filter in a query parameter; InvalidRequest."""
    try:
        return None if text is None else loads(text)
    except FilterError as error:
        raise InvalidRequest(f"filter: {error}", ("filter",)) from error


def checked_wait(wait: object) -> Wait:
    """What to wait for; InvalidRequest for anything else."""
    for known in WAITS:
        if wait == known:
            return known
    raise InvalidRequest(f"wait: must be {' or '.join(WAITS)}", ("wait",))


def _document(body: DocumentBody) -> Document:
    if not VISIBLE.search(body.title + body.text):  # corpora have articles of which only the title is known
        raise ValueError("text: must not be empty, unless there is a title")
    if escaped(body.id) != body.id:
        raise ValueError("id: has control characters")
    # DELETE …/documents/.. would be sent as DELETE of the collection.
    if not {".", ".."}.isdisjoint(body.id.split("/")):
        raise ValueError("id: must not be `.` or `..`, nor have one of them between slashes: clients resolve addresses")
    if len(body.id.encode()) > ID_BYTES:
        raise ValueError(f"id: has more than {ID_BYTES} bytes")
    if len(orjson.dumps(body.metadata)) > _METADATA_BYTES:
        raise ValueError(f"metadata: takes more than {_METADATA_BYTES} bytes")
    try:
        check_metadata(body.metadata)
    except ValueError as error:
        raise ValueError(f"metadata: {error}") from error
    return Document(body.id, body.text, body.title, body.metadata)


def _id_of(record: object) -> str | None:
    names = [record.get(name) for name in ("id", "_id")] if isinstance(record, Mapping) else []
    found = next((name for name in names if name is not None), None)
    return str(found)[:ID_BYTES] if isinstance(found, str) or type(found) is int else None


def _reason(error: MalformedBody | ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, place_of(first))) or "the document"
    remedy = "; put it into `metadata`" if first["type"] == "extra_forbidden" else ""
    return f"{where}: {message_of(first)}{remedy}"
