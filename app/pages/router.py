"""The playground at `/`, the admin page at `/admin`, and their files below `/pages`.

Each file is in memory, with a tag of its content: browsers ask whether it changed, so that after an upgrade no page
mixes files of two versions. Nothing comes from another host, and scripts and styles come from files alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from html import escape
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

PAGES = MappingProxyType({"/": "playground", "/admin": "admin"})
_MEDIA_TYPES = MappingProxyType(
    {
        "css": "text/css",
        "html": "text/html",
        "js": "text/javascript",
        "json": "application/json",
        "svg": "image/svg+xml",
    }
)
_FRAME = "page.html"  # of both pages
_ROOT = "{root}"  # in it, where the addresses of its files begin
_PAGE = "{page}"  # and the page's name
_HEADERS = MappingProxyType(
    {
        "Cache-Control": "no-cache",  # the browser keeps it, and asks whether it changed
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }
)


@dataclass(frozen=True)
class StaticFile:
    """A file that is sent as it is."""

    content: bytes
    media_type: str

    @cached_property
    def tag(self) -> str:
        """What changes with the content."""
        return f'"{hashlib.sha256(self.content).hexdigest()}"'

    def respond(self, request: Request) -> Response:
        """The file; 304 if the browser has it."""
        headers = {**_HEADERS, "ETag": self.tag}
        if request.url.scheme == "https":  # elsewhere browsers ignore it, and log an error
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
        known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
        if self.tag in known:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def static_files() -> dict[str, StaticFile]:
    """All files of the pages, by their names below `static/`."""
    return dict(_read(files("app.pages") / "static", ""))


def _read(folder: Traversable, prefix: str) -> list[tuple[str, StaticFile]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = prefix + entry.name
        if entry.is_dir():
            found += _read(entry, name + "/")
        elif media_type := _MEDIA_TYPES.get(name.rpartition(".")[2]):
            found.append((name, StaticFile(entry.read_bytes(), media_type)))
    return found


def pages_router() -> APIRouter:
    """The routes of the pages. They need no key: what a page shows it asks of the other routes, with its user's key."""
    router, served = APIRouter(include_in_schema=False), static_files()
    frame = served.pop(_FRAME)
    for path, name in PAGES.items():
        router.add_api_route(path, _page(frame, name), methods=["GET"])

    async def file(request: Request) -> Response:
        found = served.get(request.path_params["name"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return found.respond(request)

    router.add_api_route("/pages/{name:path}", file, methods=["GET"])  # one route: metrics count by route
    return router


def _page(frame: StaticFile, name: str) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        """Below a sub-path that the service knows, files have whole paths; else they are found beside the page."""
        path = request.scope.get("root_path", "").rstrip("/")
        content = frame.content.decode().replace(_PAGE, name).replace(_ROOT, escape(f"{path}/") if path else "")
        return StaticFile(content.encode(), frame.media_type).respond(request)

    return show
