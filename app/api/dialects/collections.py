"""Requests and responses about collections and their documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from app.api.dialects.body import Language, fields_of
from app.errors import InvalidRequest, MalformedBody
from app.telemetry.printable import escaped
from retrieval.store.rows import Document
from retrieval.text.sentences import VISIBLE
from retrieval.text.splitters import By, Chunking

ID_BYTES = 512
_METADATA_BYTES = 2**16
_SHOWN = 100  # failures in a response

Wait = Literal["stored", "searchable"]
WAITS: tuple[Wait, ...] = get_args(Wait)


class ChunkingBody(BaseModel):
    """How documents are split. Sizes are in tokens of the model, those of `character` in characters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: By = Field(description="none: not at all; else where chunks end.")
    size: int | None = Field(None, ge=1, description="The most of a chunk. Absent: as much as the model reads.")
    overlap: int = Field(0, ge=0, description="The most that the next chunk repeats; at most half of the size.")

    def to_chunking(self) -> Chunking:
        """As the service takes it."""
        return Chunking(self.by, self.size, self.overlap)


class CollectionBody(BaseModel):
    """A collection to make."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
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
    size: int | None
    overlap: int


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


class CollectionListResponse(BaseModel):
    """All collections."""

    object: Literal["list"]
    data: list[CollectionResponse]


def _visible(text: str) -> str:
    if not VISIBLE.search(text):
        raise ValueError("must not be empty")
    return text


class DocumentBody(BaseModel):
    """A document to keep."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=ID_BYTES)]
    text: Annotated[str, AfterValidator(_visible)]
    title: str = ""
    metadata: dict[str, Any] = Field({}, description="Kept with the document, not searched.")


class DocumentsBody(BaseModel):
    """Documents to insert or replace by id. As NDJSON: one document a line, and `wait` in the query string."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [{"documents": [{"id": "owl", "text": "An owl hunts at night."}], "wait": "searchable"}]
        },
    )

    documents: list[DocumentBody] = Field(min_length=1)
    wait: Wait = Field("stored", description="stored: on the disk; searchable: a search finds them.")


class Failure(BaseModel):
    """A document that was not taken."""

    index: int = Field(description="Its place in the request, from 0.")
    id: str | None
    error: str


class DocumentsResponse(BaseModel):
    """What became of the documents."""

    stored: int = Field(description="Documents that are on the disk, the unchanged ones among them.")
    changed: int = Field(description="Documents whose content is new or changed.")
    searchable: bool = Field(description="Whether a search finds all of them.")
    failed: list[Failure] = Field(description="Documents that were not taken, the first 100.")


class IdsBody(BaseModel):
    """Ids of documents."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={"examples": [{"ids": ["owl"]}]})

    ids: list[str] = Field(min_length=1, max_length=100_000)


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


def documents_of(body: bytes, *, lines: bool) -> tuple[list[Document], list[dict[str, Any]], Wait]:
    """The documents of a body, why others were not taken, and what to wait for.

    lines: whether the body is NDJSON.

    Raises:
        MalformedBody: The body is no JSON.
        InvalidRequest: It holds no documents, or fields that are not known.
    """
    found = list[Document]()
    failed = list[dict[str, Any]]()
    records, wait = ([line for line in body.splitlines() if line.strip()], WAITS[0]) if lines else _records(body)
    for at, record in enumerate(records):
        fields = None
        try:
            fields = fields_of(record) if lines else record
            found.append(_document(DocumentBody.model_validate(fields)))
        except (MalformedBody, ValueError) as error:  # pydantic's are ValueErrors
            failed.append({"index": at, "id": _id_of(fields), "error": _reason(error)})
    if not found and not failed:
        raise InvalidRequest("there are no documents; send at least one", ("documents",))
    return found, failed[:_SHOWN], wait


def _records(body: bytes) -> tuple[Sequence[Any], Wait]:
    fields = fields_of(body)
    if not isinstance(fields, Mapping):
        raise InvalidRequest("the body must be a JSON object with `documents`")
    if unknown := sorted(fields.keys() - {"documents", "wait"}):
        raise InvalidRequest(f"{', '.join(unknown)[:200]} is not known here; send `documents` and `wait`")
    records, wait = fields.get("documents"), fields.get("wait", "stored")
    if not isinstance(records, list):
        raise InvalidRequest("documents: must be a list", ("documents",))
    return records, checked_wait(wait)


def checked_wait(wait: object) -> Wait:
    """What to wait for; InvalidRequest for anything else."""
    for known in WAITS:
        if wait == known:
            return known
    raise InvalidRequest(f"wait: must be {' or '.join(WAITS)}", ("wait",))


def _document(body: DocumentBody) -> Document:
    if escaped(body.id) != body.id:
        raise ValueError("id: has control characters")
    if len(body.id.encode()) > ID_BYTES:
        raise ValueError(f"id: has more than {ID_BYTES} bytes")
    if len(orjson.dumps(body.metadata)) > _METADATA_BYTES:
        raise ValueError(f"metadata: takes more than {_METADATA_BYTES} bytes")
    return Document(body.id, body.text, body.title, body.metadata)


def _id_of(record: object) -> str | None:
    found = record.get("id") if isinstance(record, Mapping) else None
    return found[:ID_BYTES] if isinstance(found, str) else None


def _reason(error: MalformedBody | ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "the document"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"
