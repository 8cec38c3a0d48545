"""Paths as clients mistype them: doubled slashes, a slash at the end, a base URL that has `/v1` already.

Only those that rerank clients and probes call: for others proxies have rules, which a path of another form would pass.
"""

from __future__ import annotations

import re

from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from app.api.dialects.detect import PATHS

_SLASHES = re.compile(r"/{2,}")
_DOUBLED = re.compile(r"^/v1(?=/v[12]/)")
_WORK = ("similarity", "batch-similarity", "embeddings")
_MENDED = {
    *PATHS,
    *(f"{version}/{name}" for name in _WORK for version in ("", "/v1")),
    *("/v1/rerank/stream", "/v1/ws", "/info", "/v1/cluster/auth", "/v1/models", "/health", "/health/ready"),
}
_MODELS = "/v1/models/"


def canonical(path: str) -> str:
    """The path that was meant; clients do not follow redirects reliably, so none is sent."""
    meant = _DOUBLED.sub("", _SLASHES.sub("/", path)).rstrip("/") or "/"
    return meant if meant in _MENDED or meant.startswith(_MODELS) else path


class CanonicalPaths:
    """What a router does with a path that no route has: route it by the path that was meant, if that is another."""

    def __init__(self, router: Router) -> None:
        """Take the place of the router's own default."""
        self._router, self._not_found = router, router.default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        path = canonical(scope["path"])
        if path == scope["path"]:
            await self._not_found(scope, receive, send)
        else:
            scope["path"], scope["raw_path"] = path, path.encode()
            await self._router(scope, receive, send)
