"""Every error that a client can get, and the one table from exception to status.

ServiceError
├── MalformedBody       400
├── UnknownCollection   404
├── TooLarge            413
├── InvalidRequest      422
├── NotReady            503
└── Overloaded          503
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import orjson
from fastapi import Response

from app.request_id import HEADER
from quantum.errors import InvalidVector


class ServiceError(Exception):
    """An error whose message is meant for the client: it says what to do and repeats none of the client's text."""


class MalformedBody(ServiceError):
    """The body is not JSON in UTF-8."""


class UnknownCollection(ServiceError):
    """No collection has this name."""


class TooLarge(ServiceError):
    """The body, or a count in it, is over a limit."""


class InvalidRequest(ServiceError):
    """The JSON is not a request."""


class NotReady(ServiceError):
    """The model is not loaded yet, or failed to load."""


class Overloaded(ServiceError):
    """As many requests wait as may wait."""


STATUS: dict[type[Exception], HTTPStatus] = {
    MalformedBody: HTTPStatus.BAD_REQUEST,
    UnknownCollection: HTTPStatus.NOT_FOUND,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidVector: HTTPStatus.UNPROCESSABLE_ENTITY,  # an exclusion equal to the query
    NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
}
RETRY_AFTER_S: dict[type[Exception], int] = {NotReady: 5, Overloaded: 1}


@dataclass(frozen=True)
class Problem:
    """RFC 9457 problem details, with the members that rerank clients read (`message`, `error`, `error_type`)."""

    status: int
    kind: str
    detail: str
    request_id: str
    retry_after_s: int | None = None

    def response(self) -> Response:
        """The answer as `application/problem+json`."""
        body = {
            "type": f"urn:quantum-rerank:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "message": self.detail,
            "error": self.detail,
            "error_type": self.kind,
            "request_id": self.request_id,
        }
        headers = {HEADER: self.request_id}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        return Response(orjson.dumps(body), self.status, headers, "application/problem+json")


def problem_of(error: Exception, request_id: str) -> Problem | None:
    """The problem that an exception of the table means; None for any other."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            status, name = STATUS[kind], _kebab(kind.__name__)
            return Problem(status, name, str(error), request_id, RETRY_AFTER_S.get(kind))
    return None


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
