"""Exception handlers: the responses to errors that routes raise, and to paths and methods without a route."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.api.dialects.detect import home_of
from app.api.error_catalogue import INTERNAL, MALFORMED, METHOD_NOT_ALLOWED, NOT_FOUND
from app.api.middleware.request_record import record_of, times
from app.api.middleware.root_path import path_of
from app.api.middleware.security_headers import ALWAYS
from app.api.problems import Problem, problem_of, unforeseen
from app.telemetry.request_record import CLIENT_GONE

_METHODS = {"GET": "GET, HEAD"} | {method: method for method in ("POST", "PUT", "DELETE")}
_SHOWN = 200  # characters of a path in a message
_WEBSOCKETS = {
    "/v1/ws": "it takes a WebSocket's handshake: a proxy before the service must pass `Upgrade` and `Connection` on"
}


def _request_id(request: Request) -> str:
    return str(request.state.request_id)


def _root_path(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _response(request: Request, problem: Problem) -> Response:
    """A problem in the format of the body's dialect, or of the path's dialect if no body was parsed."""
    dialect = getattr(request.state, "dialect", None) or home_of(path_of(request.scope))
    return problem.response(detail_is_text=dialect.detail_is_text, media_type=dialect.problem_type)


async def foreseen(request: Request, error: Exception) -> Response:
    """The response to an error in the catalogue."""
    where = (_request_id(request), _root_path(request))
    problem = problem_of(error, *where) or unforeseen(error, *where)
    record_of(request).failed(problem.status, problem.kind)
    return _response(request, problem)


async def client_gone(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    """The status 499 for a client that disconnected within its body: never read, but counted."""
    return Response(status_code=CLIENT_GONE)


_KINDS = {HTTPStatus.NOT_FOUND: NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED: METHOD_NOT_ALLOWED}


async def http_error(request: Request, error: Exception) -> Response:
    """The response to a path or method without a route."""
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    path = path_of(request.scope)[:_SHOWN]
    method = request.scope.get("method", "WebSocket")
    allowed = ", ".join(_allowed(request)) if status == HTTPStatus.METHOD_NOT_ALLOWED else ""
    remedy = f"it takes {allowed}" if allowed else _WEBSOCKETS.get(path, "see /docs for the routes")
    message = f"{method} {path}: {HTTPStatus(status).phrase}; {remedy}"
    kind = _KINDS.get(HTTPStatus(status), INTERNAL if status >= HTTPStatus.INTERNAL_SERVER_ERROR else MALFORMED)
    record_of(request).failed(status, kind)
    response = _response(request, Problem(status, kind, message, _request_id(request), root_path=_root_path(request)))
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = allowed
    return response


def _allowed(request: Request) -> list[str]:
    """The methods that routes accept on the request's path."""
    scope = {name: request.scope[name] for name in ("type", "path", "root_path", "headers") if name in request.scope}
    return [
        allowed
        for method, allowed in _METHODS.items()
        if any(route.matches(scope | {"method": method})[0] is Match.FULL for route in request.app.routes)
    ]


async def any_error(request: Request, error: Exception) -> Response:
    """The response to an unexpected exception; the server logs the exception itself."""
    response = _response(request, unforeseen(error, _request_id(request), _root_path(request)))
    response.headers.update({**ALWAYS, "Connection": "close"})  # it passes no middleware, and the server closes then
    record = getattr(request.state, "record", None)
    if record and request.method == "POST":
        response.raw_headers += times(record, response.status_code)
    return response
