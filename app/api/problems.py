"""Problem details (RFC 9457): the problems of exceptions, the body of errors, and their OpenAPI description."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel, Field

from app.api.error_catalogue import ERRORS, INTERNAL, code_of
from app.api.openapi import reference
from app.errors import InvalidRequest, ServiceError

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
ERRORS_PAGE = "/errors"

KINDS = frozenset(code_of(kind) for kind in ERRORS)  # the `error_type` of every exception in the catalogue


@dataclass(frozen=True)
class Problem:
    """RFC 9457 problem details, with the members that rerank clients read: `message`, `error`, `error_type`, `code`."""

    status: int
    kind: str
    message: str
    request_id: str
    retry_after_s: int | None = None
    where: tuple[str | int, ...] = ()  # path of the invalid field in the body
    members: Mapping[str, object] = field(default_factory=dict)  # further ones, of this error
    root_path: str = ""  # below which a proxy serves the service

    def body(self, *, detail_is_text: bool = False) -> dict[str, Any]:
        """The members. On 422 `detail` is FastAPI's list, which clients generated from OpenAPI require, or text."""
        detail: object = self.message
        if self.status == HTTPStatus.UNPROCESSABLE_ENTITY and not detail_is_text:
            detail = [{"loc": ["body", *self.where], "msg": self.message, "type": "value_error"}]
        body = {
            "type": f"urn:quantum-rerank:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": detail,
            "message": self.message,
            "error": self.message,
            "error_type": self.kind,
            "code": self.kind,
            "request_id": self.request_id,
            "help": f"{self.root_path}{ERRORS_PAGE}#{self.kind}",
            **self.members,
        }
        return body if self.retry_after_s is None else body | {"retry_after_s": self.retry_after_s}

    def response(self, *, detail_is_text: bool = False, media_type: str = "application/problem+json") -> Response:
        """The response, with the media type that the client expects."""
        headers = {HEADER: self.request_id}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        body = orjson.dumps(self.body(detail_is_text=detail_is_text))
        return Response(body, self.status, headers, media_type)


def problem_of(error: Exception, request_id: str, root_path: str = "") -> Problem | None:
    """The problem of an exception in the catalogue; None for any other."""
    for kind in type(error).__mro__:
        if entry := ERRORS.get(kind):
            where = error.where if isinstance(error, InvalidRequest) else ()
            retry_after_s = getattr(error, "retry_after_s", entry.retry_after_s)
            members = error.members if isinstance(error, ServiceError) else {}
            return Problem(
                entry.status, code_of(kind), str(error), request_id, retry_after_s, where, members, root_path
            )
    return None


def unforeseen(error: Exception, request_id: str, root_path: str = "") -> Problem:
    """The problem of any other exception. Only its type is logged: its message may contain the client's text."""
    log.error("request %s failed: %s", request_id, type(error).__name__)
    message = f"the service failed on this request; its log says why under {request_id}"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, INTERNAL, message, request_id, root_path=root_path)


class ProblemResponse(BaseModel):
    """The body of every error."""

    type: str
    title: str
    status: int
    detail: str | list[dict[str, Any]] = Field(description="What is wrong and what to do; on 422 as FastAPI's list.")
    message: str = Field(description="The same as `detail`, always as text.")
    error: str
    error_type: str
    code: str = Field(description="The same as `error_type`; DashScope's SDK reads it.")
    request_id: str
    help: str = Field(description="Where this service says what causes this error and what to do: a path and its part.")
    retry_after_s: int | None = Field(
        None, description="On 429 and 503: seconds until a retry makes sense, as in Retry-After."
    )
    stored: int | None = Field(None, description="Of an NDJSON upload that ended early: documents that are kept.")
    lines: int | None = Field(None, description="Of such an upload: lines that are done; send the later ones again.")
    job: str | None = Field(None, description="Of such an upload: its job.")


PROBLEMS: dict[int | str, dict[str, Any]] = {  # what FastAPI is told of each status
    status: {"description": text, "content": {"application/problem+json": {"schema": reference(ProblemResponse)}}}
    for status, text in {
        400: "The body is not JSON, or the path has control characters.",
        401: "The API key is missing, unknown, expired or revoked.",
        403: "The key's role does not allow this.",
        404: "There is no such collection, or no such document or job in it.",
        408: "The body did not arrive in time.",
        409: "The collection was made with a model that is not served.",
        413: "The body, or a count in it, is over a limit.",
        422: "The JSON is not a valid request.",
        429: "The caller's quota is used up; see Retry-After.",
        503: "Not ready, or too busy; see Retry-After.",
        504: "A filter could not be checked on all documents in time.",
    }.items()
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What FastAPI is told of these statuses."""
    return {status: PROBLEMS[status] for status in statuses}
