"""Every error that a client can get, and the one table from exception to status.

ServiceError
├── MalformedBody       400
├── Unauthorized        401
├── Forbidden           403
├── UnknownCollection   404
├── UnknownKey          404
├── TooSlow             408
├── TooLarge            413
├── InvalidRequest      422
├── TooManyRequests     429
├── NotReady            503
├── DamagedCollection   503
├── KeysUnavailable     503
├── Overloaded          503
└── TooLate             504
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import Response

from app.api.middleware.request_id import HEADER
from quantum.errors import InvalidVector

log = logging.getLogger(__name__)


class ServiceError(Exception):
    """An error whose message is meant for the client: it says what to do and repeats none of the client's text."""


class MalformedBody(ServiceError):
    """The body is not JSON in UTF-8."""


class Unauthorized(ServiceError):
    """No key, or none that is known."""


class Forbidden(ServiceError):
    """The caller's role may not do this."""


class UnknownCollection(ServiceError):
    """No collection has this name."""


class UnknownKey(ServiceError):
    """No key has this id."""


class TooSlow(ServiceError):
    """The body took longer to come than one may."""


class TooLarge(ServiceError):
    """The body, or a count in it, is over a limit."""


class InvalidRequest(ServiceError):
    """The JSON is not a request."""

    def __init__(self, message: str, where: Sequence[str | int] = ()) -> None:
        """where: the way to the first field at fault."""
        super().__init__(message)
        self.where = tuple(where)


class TooManyRequests(ServiceError):
    """A quota is used up."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        """retry_after_s: when there is some of it again."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReady(ServiceError):
    """The model is not loaded yet, or failed to load."""


class DamagedCollection(ServiceError):
    """The collection fails its self-check, or cannot be opened: no answer is better than a wrong one."""


class KeysUnavailable(ServiceError):
    """Whether a key is known cannot be told at the moment."""

    message = "keys cannot be checked at the moment, since what holds them does not answer; try again"

    def __init__(self, reason: str) -> None:
        """reason: for whoever runs the service; clients are not told it."""
        super().__init__(self.message)
        self.reason = reason


class KeysReadOnly(KeysUnavailable):
    """Keys can be checked, and neither changed nor their usage written."""

    message = "keys cannot be changed at the moment, since what holds them takes no writes; try again"


class KeysMisconfigured(KeysUnavailable):
    """The same, until somebody changes the settings."""


class Overloaded(ServiceError):
    """There is so much work that this would come to little."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        """retry_after_s: when it may be otherwise."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooLate(ServiceError):
    """The deadline passed before there was an answer, and half an answer would be wrong."""


STATUS: dict[type[Exception], HTTPStatus] = {
    MalformedBody: HTTPStatus.BAD_REQUEST,
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    UnknownCollection: HTTPStatus.NOT_FOUND,
    UnknownKey: HTTPStatus.NOT_FOUND,
    TooSlow: HTTPStatus.REQUEST_TIMEOUT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidVector: HTTPStatus.UNPROCESSABLE_ENTITY,  # an exclusion equal to the query
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    DamagedCollection: HTTPStatus.SERVICE_UNAVAILABLE,
    KeysUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    TooLate: HTTPStatus.GATEWAY_TIMEOUT,
}
# Of those that do not say it themselves.
RETRY_AFTER_S: dict[type[Exception], int] = {NotReady: 5, DamagedCollection: 60, KeysUnavailable: 1}


@dataclass(frozen=True)
class Problem:
    """RFC 9457 problem details, with the members that rerank clients read: `message`, `error`, `error_type`, `code`."""

    status: int
    kind: str
    message: str
    request_id: str
    retry_after_s: int | None = None
    where: tuple[str | int, ...] = ()  # the way to the field at fault

    def body(self, *, detail_is_text: bool = False) -> dict[str, Any]:
        """The members. On 422 `detail` is FastAPI's list, which clients made from OpenAPI insist on, or text."""
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
        }
        return body if self.retry_after_s is None else body | {"retry_after_s": self.retry_after_s}

    def response(self, *, detail_is_text: bool = False, media_type: str = "application/problem+json") -> Response:
        """The answer, as what clients want it to be called."""
        headers = {HEADER: self.request_id}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        body = orjson.dumps(self.body(detail_is_text=detail_is_text))
        return Response(body, self.status, headers, media_type)


def problem_of(error: Exception, request_id: str) -> Problem | None:
    """The problem that an exception of the table means; None for any other."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            status, name = STATUS[kind], _kebab(kind.__name__)
            where = error.where if isinstance(error, InvalidRequest) else ()
            retry_after_s = getattr(error, "retry_after_s", RETRY_AFTER_S.get(kind))
            return Problem(status, name, str(error), request_id, retry_after_s, where)
    return None


def unforeseen(error: Exception, request_id: str) -> Problem:
    """The problem that any other exception means: logged by its kind; its text may hold the client's."""
    log.error("request %s failed: %s", request_id, type(error).__name__)
    message = f"the service failed on this request; its log says why under {request_id}"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", message, request_id)


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")


KINDS = frozenset(_kebab(kind.__name__) for kind in STATUS)  # of problems that are foreseen
