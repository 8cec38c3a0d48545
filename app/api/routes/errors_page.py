"""The catalogue of errors as a page, to which the `help` of every problem leads. It needs neither scripts nor a key."""

from __future__ import annotations

import re
from html import escape

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from app.api.error_catalogue import CATALOGUE, Entry
from app.api.problems import ERRORS_PAGE

router: APIRouter = APIRouter(include_in_schema=False)

_CODE = re.compile(r"`([^`]+)`")
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Errors of quantum-rerank</title>
</head>
<body>
<main>
<h1>Errors</h1>
<p>By the <code>code</code> of the response. Its <code>message</code> says what is wrong with this request.</p>
{sections}
</main>
</body>
</html>
"""


@router.get(ERRORS_PAGE)
async def errors() -> Response:
    """The page, with an anchor for each code."""
    return HTMLResponse(_RENDERED, headers={"Cache-Control": "public, max-age=3600"})


def _section(code: str, entry: Entry) -> str:
    statuses = ", ".join(f"{status.value} {status.phrase}" for status in (entry.status, *entry.also))
    return (
        f'<section id="{code}">\n<h2><a href="#{code}">{code}</a></h2>\n<p>{statuses}</p>\n<dl>\n'
        f"<dt>Cause</dt><dd>{_html(entry.cause)}</dd>\n<dt>What to do</dt><dd>{_html(entry.fix)}</dd>\n"
        f"<dt>Send it again?</dt><dd>{_html(entry.retry)}</dd>\n</dl>\n</section>"
    )


def _html(text: str) -> str:
    """A sentence of the catalogue, its `code` as code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


_RENDERED = _PAGE.format(sections="\n".join(_section(code, entry) for code, entry in CATALOGUE.items()))
