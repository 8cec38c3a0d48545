"""Security headers on every response, and refusal of cross-site requests and unknown hosts.

DNS rebinding: a page of a site whose name resolves to 127.0.0.1 for a moment can send requests to a service on the
reader's machine, and the browser treats them as same-origin. Only their Host header shows the site's name. So without
authentication the service accepts only IP addresses and names that no public site can have.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.dialects.detect import home_of
from app.api.error_catalogue import MALFORMED, code_of
from app.api.middleware.root_path import path_of
from app.api.problems import Problem
from app.engine.engine import Engine
from app.errors import Forbidden
from app.settings import Settings
from app.telemetry.watchers import PROBES

_LOCAL = {
    "localhost",
    "local",
    "internal",
    "arpa",
}  # top-level labels that cannot be registered: RFC 6761, 6762, 8375; ICANN


@lru_cache(128)  # few names are used for one service
def is_served(host: str, names: tuple[str, ...], *, has_keys: bool) -> bool:
    """Whether requests with this Host header are served.

    Args:
        host: The header, with or without a port; "" if there is none.
        names: Allowed names: a name, `*.` and a name for its subdomains, or `*`. Empty: with `has_keys` all hosts, else
            only IP addresses and names that no public site can have.
        has_keys: Whether requests need an API key.
    """
    name = _name(host)
    if not names:
        return has_keys or name is None or "." not in name or name.rpartition(".")[2] in _LOCAL or _is_address(name)
    return any(_matches(name or "", allowed.lower()) for allowed in names)


def _name(host: str) -> str | None:
    """The host name or address without its port, in lower case; None without a header."""
    if not host:
        return None
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _matches(name: str, allowed: str) -> bool:
    return allowed in {"*", name} or (allowed.startswith("*.") and name.endswith(allowed[1:]))


ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}  # unless the route sets another
_HOST = "this host name is not served here; the operator can allow it: QRERANK_HOSTS"
_CROSS_SITE = "cross-site requests are not allowed; the operator can allow the origin: QRERANK_CORS__ORIGINS"
_READ_ONLY = {"GET", "HEAD", "OPTIONS"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # they can bypass a proxy's rules, and can end a route's pattern


class SecurityHeadersMiddleware:
    """Adds the security headers, refuses unsafe requests, and closes connections while the server drains."""

    def __init__(self, app: ASGIApp, settings: Settings, engine: Engine) -> None:
        """engine: its state says whether the server is draining."""
        self._app, self._engine = app, engine
        self._origins, self._hosts, self._has_keys = settings.cors.origins, settings.hosts, settings.auth.enabled
        hsts = {"Strict-Transport-Security": f"max-age={settings.hsts_s}"} if settings.hsts_s else {}
        self._headers = ALWAYS | hsts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"].endswith("http.response.start"):  # also of a WebSocket that is refused
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if self._engine.stops:
                    headers["Connection"] = "close"
            await send(message)

        if refusal := self._refusal(scope):
            scope["state"]["record"].failed(refusal.status, refusal.kind)
            response = refusal.response(media_type=home_of(path_of(scope)).problem_type)
            await response(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Problem | None:
        """The error of a request that no route may serve; None if it is allowed."""
        headers = Headers(scope=scope)
        if _CONTROL.search(scope["path"]):
            return _problem(scope, HTTPStatus.BAD_REQUEST, MALFORMED, "the path has control characters")
        host = headers.get("host", "")
        is_allowed = is_served(host, self._hosts, has_keys=self._has_keys)
        # Kubernetes, haproxy and Prometheus send probes to an address, or without the header.
        if not is_allowed and not (path_of(scope) in PROBES and is_served(host, (), has_keys=False)):
            return _problem(scope, HTTPStatus.FORBIDDEN, code_of(Forbidden), _HOST)
        # Cross-site request: a page of another site makes the browser change something here, or use up capacity.
        cross_site = headers.get("sec-fetch-site") == "cross-site" and scope.get("method", "GET") not in _READ_ONLY
        if cross_site and {"*", headers.get("origin", "")}.isdisjoint(self._origins):
            return _problem(scope, HTTPStatus.FORBIDDEN, code_of(Forbidden), _CROSS_SITE)
        return None


def _problem(scope: Scope, status: HTTPStatus, kind: str, message: str) -> Problem:
    return Problem(status, kind, message, scope["state"]["request_id"], root_path=scope.get("root_path", ""))
