"""Detection of a body's dialect, by its fields and not by its path (shared facts: docs/clients.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.api.dialects import cohere, dashscope, mixedbread, nim, pinecone, tei, voyage
from app.api.dialects.body import Body, validate
from app.api.dialects.documents import with_text
from app.api.dialects.misnamed import refuse_misnamed
from app.errors import InvalidRequest
from app.service.request import RerankRequest
from app.service.result import RerankResult


@dataclass(frozen=True)
class Dialect:
    """Request body, response and error format of one family of clients."""

    name: str
    body: type[Body]
    respond: Callable[[RerankResult], object]
    detail_is_text: bool = False  # whether `detail` of a 422 is text; other clients expect FastAPI's list
    problem_type: str = "application/problem+json"  # the media type of errors

    def request(self, fields: object) -> RerankRequest:
        """Validate and translate a body's fields; InvalidRequest if they are not valid."""
        return validate(self.body, fields).to_request()


STANDARD = Dialect("standard", cohere.StandardBody, cohere.respond)
STANDARD_WITH_DATA = Dialect("standard", cohere.StandardBody, cohere.respond_with_data)
LITELLM = Dialect("standard", cohere.StandardBody, partial(cohere.respond, show=with_text))
LITELLM_WITH_DATA = Dialect("standard", cohere.StandardBody, partial(cohere.respond_with_data, show=with_text))
INFINITY = Dialect("infinity", cohere.StandardBody, cohere.respond_in_text)
TEI = Dialect("tei", tei.TeiBody, tei.respond, detail_is_text=True)
VOYAGE = Dialect("voyage", voyage.VoyageBody, voyage.respond, detail_is_text=True)
MIXEDBREAD = Dialect("mixedbread", mixedbread.MixedbreadBody, mixedbread.respond)
PINECONE = Dialect("pinecone", pinecone.PineconeBody, pinecone.respond)
NIM = Dialect("nim", nim.NimBody, nim.respond, detail_is_text=True)
DASHSCOPE = Dialect(  # its SDK reads errors of this media type only
    "dashscope", dashscope.DashScopeBody, dashscope.respond, detail_is_text=True, problem_type="application/json"
)

# The paths on which clients call a reranker. Each accepts every dialect.
PATHS = (
    *("/rerank", "/v1/rerank", "/v2/rerank", "/infinity/rerank", "/v1/reranking"),
    *(nim.PATH, dashscope.PATH, dashscope.COMPATIBLE_PATH),
)

_BY_PATH = {"/v1/rerank": STANDARD_WITH_DATA, "/infinity/rerank": INFINITY}
_FOR_LITELLM = {STANDARD: LITELLM, STANDARD_WITH_DATA: LITELLM_WITH_DATA}  # LiteLLM crashes on an object without `text`
_DIALECT_BY_OWN_PATH = {nim.PATH: NIM, dashscope.PATH: DASHSCOPE}  # paths that only this dialect's clients call
_KNOWN_FIELDS = {*cohere.StandardBody.model_fields, "candidates", "top_k"}
_NEVER_IN_VOYAGE = {"candidates", *cohere.StandardBody.model_fields} - {*voyage.VoyageBody.model_fields}


def dialect_of(fields: Mapping[str, Any], path: str, headers: Mapping[str, str]) -> Dialect:
    """Detect the dialect of a body; InvalidRequest if it is of two, or its texts are in a field that no dialect has.

    Voyage is detected by its field names, whatever their values, unless a field is present that Voyage clients never
    send. path: decides the form of standard responses. headers: with lower-case names.
    """
    if fields.get("texts") is not None:
        if fields.get("documents") is not None:
            raise InvalidRequest("send either `texts` or `documents`, not both")
        return TEI
    if fields.get("documents") is None:
        return _without_documents(fields, path, headers)
    if pinecone.HEADER in headers:
        return PINECONE
    if ("top_k" in fields or "truncation" in fields) and _NEVER_IN_VOYAGE.isdisjoint(fields):
        return VOYAGE
    return _standard(path, headers)


def home_of(path: str) -> Dialect:
    """The dialect whose clients alone call this path, else the standard one: of errors before the body is parsed."""
    return _DIALECT_BY_OWN_PATH.get(path, STANDARD)


def _without_documents(fields: Mapping[str, Any], path: str, headers: Mapping[str, str]) -> Dialect:
    if fields.get("input") is not None:
        return DASHSCOPE if isinstance(fields["input"], Mapping) else MIXEDBREAD
    if pinecone.HEADER in headers:
        return PINECONE
    if fields.get("candidates") is not None:
        return _standard(path, headers)
    if nim.is_nim(fields):
        return NIM
    refuse_misnamed(fields, _KNOWN_FIELDS)
    return _DIALECT_BY_OWN_PATH.get(path) or _standard(path, headers)


def _standard(path: str, headers: Mapping[str, str]) -> Dialect:
    dialect = _BY_PATH.get(path, STANDARD)
    return _FOR_LITELLM.get(dialect, dialect) if headers.get("user-agent", "").startswith("litellm/") else dialect
