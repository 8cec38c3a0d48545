"""Normalization of mistyped paths: doubled slashes, a trailing slash, `/v1` twice (base URL and path).

Only the paths that rerank clients and probes call are normalized: proxies have rules for the others, and a path in
another form would bypass such a rule.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from app.api.dialects.detect import PATHS
from app.api.middleware.root_path import path_of

_SLASHES = re.compile(r"/{2,}")
_DOUBLED = re.compile(r"^/v1(?=/v[12]/)")
_COMPUTE_ROUTES = ("similarity", "batch-similarity", "embeddings")
NORMALIZED = {
    *PATHS,
    *(f"{version}/{name}" for name in _COMPUTE_ROUTES for version in ("", "/v1")),
    *("/v1/rerank/stream", "/v1/ws", "/info", "/v1/cluster/auth", "/v1/models", "/health", "/health/ready"),
}
_MODELS = "/v1/models/"


def canonical(path: str) -> str:
    """The normalized path. It is served without a redirect, since clients do not follow redirects reliably."""
    normalized = _DOUBLED.sub("", _SLASHES.sub("/", path)).rstrip("/") or "/"
    return normalized if normalized in NORMALIZED or normalized.startswith(_MODELS) else path


class CanonicalPaths:
    """The router's default handler: route a path that no route has by its normalized path, if that differs."""

    def __init__(self, router: Router) -> None:
        """router: whose present default handles paths that stay unknown."""
        self._router, self._not_found = router, router.default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        path, root_path = path_of(scope), scope.get("root_path", "")
        if canonical(path) == path:
            if scope["type"] == "websocket":  # the default would close it, and the client get 403 without a reason
                raise HTTPException(HTTPStatus.NOT_FOUND)
            await self._not_found(scope, receive, send)
        else:
            path = root_path + canonical(path)
            scope["path"], scope["raw_path"] = path, path.encode()
            await self._router(scope, receive, send)
