"""The page with the API documentation. All its files are served from here, so it works without internet access."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

router: APIRouter = APIRouter(include_in_schema=False)

_FILES = Path(str(files("fastapi_offline"))) / "static"  # the package contains Swagger UI
_CACHE_HEADERS = {"Cache-Control": "public, max-age=3600"}
_POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>quantum-rerank</title>
<link rel="icon" href="{root}/docs/favicon.png">
<link rel="stylesheet" href="{root}/docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="{root}/docs/swagger-ui-bundle.js"></script>
<script src="{root}/docs/start.js" data-description="{root}/openapi.json"></script>
</body>
</html>
"""
_START = """const description = document.currentScript.dataset.description;
SwaggerUIBundle({url: description, dom_id: "#page", deepLinking: true, validatorUrl: null});
"""


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The page, without inline scripts, as the content security policy requires."""
    return HTMLResponse(_PAGE.format(root=escape(request.scope.get("root_path", ""))), headers=_POLICY)


@router.get("/docs/start.js")
async def start() -> Response:
    """The script that starts Swagger UI."""
    return Response(_START, media_type="text/javascript", headers=_CACHE_HEADERS)


async def file(request: Request) -> Response:
    """A file of Swagger UI."""
    return FileResponse(_FILES / request.url.path.rsplit("/", 1)[1], headers=_CACHE_HEADERS)


for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
    router.add_api_route(f"/docs/{name}", file, methods=["GET", "HEAD"])
