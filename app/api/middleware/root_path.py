"""The path below which a proxy serves the service: requests are served with and without it.

So it does not matter whether the proxy removes it, and probes need none. From here on the path of every request begins
with it, as ASGI has it, and the scope's `root_path` says so.
"""

from __future__ import annotations

from collections.abc import Container

from starlette.types import ASGIApp, Receive, Scope, Send


def path_of(scope: Scope) -> str:
    """The path of a request as routes have it: without the root path."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


class RootPathMiddleware:
    """Gives all requests the root path, whether the proxy left it in their path or not."""

    def __init__(self, app: ASGIApp, root_path: str, routes: Container[str]) -> None:
        """Wrap an ASGI application.

        Args:
            app: The application.
            root_path: Begins with a slash and does not end with one.
            routes: The paths of our routes: one that is the root path itself means the route, without its root path.
        """
        self._app, self._root_path, self._is_route = app, root_path, root_path in routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] in {"http", "websocket"}:
            root, path = self._root_path, scope["path"]
            scope["root_path"] = root
            if path == root and not self._is_route:
                scope["path"], scope["raw_path"] = f"{root}/", f"{root}/".encode()
            elif not path.startswith(f"{root}/"):
                scope["path"], scope["raw_path"] = root + path, root.encode() + (scope.get("raw_path") or path.encode())
        await self._app(scope, receive, send)
