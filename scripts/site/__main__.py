"""Build the documentation site: `make docs`, after which build/site/index.html opens it.

Links and anchors must lead somewhere, and no page may ask another host for anything.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fastapi_offline
import typer

from scripts.site import notebooks
from scripts.site.staging import DOCS, ROOT, stage

BUILD = ROOT / "build"
SOURCES, SITE = BUILD / "docs", BUILD / "site"
MERMAID = BUILD / "mermaid.min.js"  # draws the diagrams in the reader's browser, from the site itself
# What a browser fetches by itself: not links, which a reader follows.
_FETCHED = re.compile(
    r"<(?:script|link(?![^>]*\brel=\"?(?:canonical|alternate|license))|img|iframe|source|video|audio)\b"
    r"[^>]*?\b(?:src|href)=\"?((?:https?:)?//[^\" >]+)"
)
_REDOC = Path(fastapi_offline.__file__).parent / "static" / "redoc.standalone.js"
_REMOTE = re.compile(r"https://cdn[\w./-]+")  # what ReDoc would fetch: its logo
_API = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>quantum-rerank: API reference</title></head>
<body style="margin: 0"><main></main></body>
<script src="assets/redoc.standalone.js"></script>
<script>Redoc.init({described}, {{}}, document.querySelector("main"))</script>
</html>
"""


def main() -> None:
    """Build the site; the exit status is 0 if there is nothing wrong."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    SOURCES.mkdir(parents=True)
    stage(SOURCES)
    (SOURCES / "notebooks").mkdir()
    notebooks.write(SOURCES / "notebooks")
    (SOURCES / "assets").mkdir(exist_ok=True)
    shutil.copyfile(MERMAID, SOURCES / "assets" / "mermaid.min.js")
    write_api(SOURCES)
    zensical = Path(sys.executable).with_name("zensical")
    status = subprocess.run([zensical, "build", "--clean", "--strict"], cwd=ROOT, check=False).returncode  # noqa: S603
    fetched = sorted(set(foreign(SITE)))
    for page, address in fetched:
        print(f"{page} asks another host: {address}", file=sys.stderr)
    if status or fetched:
        sys.exit(1)
    print(f"wrote {SITE.relative_to(ROOT)}: open {SITE.relative_to(ROOT)}/index.html")


def write_api(folder: Path) -> None:
    """Write the page of the API, which ReDoc draws. It carries the description: a page on a disk can fetch nothing."""
    described = (DOCS / "openapi.json").read_text(encoding="utf-8").replace("</", "<\\/")
    (folder / "api.html").write_text(_API.format(described=described), encoding="utf-8")
    script = _REMOTE.sub("data:,", _REDOC.read_text(encoding="utf-8"))
    (folder / "assets" / _REDOC.name).write_text(script, encoding="utf-8")


def foreign(site: Path) -> Iterator[tuple[str, str]]:
    """Pages of a built site with what their readers' browsers would fetch from other hosts."""
    for page in site.rglob("*.html"):
        for address in _FETCHED.findall(page.read_text(encoding="utf-8")):
            yield page.relative_to(site).as_posix(), address


if __name__ == "__main__":
    typer.run(main)
