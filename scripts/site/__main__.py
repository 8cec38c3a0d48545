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

import typer

from scripts.site import api_reference, notebooks
from scripts.site.staging import ROOT, stage

BUILD = ROOT / "build"
SOURCES, SITE = BUILD / "docs", BUILD / "site"
MERMAID = BUILD / "mermaid.min.js"  # draws the diagrams in the reader's browser, from the site itself
# What a browser fetches by itself: not links, which a reader follows.
_FETCHED = re.compile(
    r"<(?:script|link|img|iframe|source|video|audio)\b[^>]*?\b(?:src|href)=\"?((?:https?:)?//[^\" >]+)"
)
_NO_FETCH = re.compile(r"<link\b[^>]*rel=\"?(?:canonical|alternate|license)")


def main() -> None:
    """Build the site; the exit status is 0 if there is nothing wrong."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    SOURCES.mkdir(parents=True)
    stage(SOURCES)
    (SOURCES / "api.md").write_text(api_reference.page(), encoding="utf-8")
    (SOURCES / "notebooks").mkdir()
    notebooks.write(SOURCES / "notebooks")
    (SOURCES / "assets").mkdir(exist_ok=True)
    shutil.copyfile(MERMAID, SOURCES / "assets" / "mermaid.min.js")
    zensical = Path(sys.executable).with_name("zensical")
    status = subprocess.run([zensical, "build", "--clean", "--strict"], cwd=ROOT, check=False).returncode  # noqa: S603
    fetched = sorted(set(foreign(SITE)))
    for page, address in fetched:
        print(f"{page} asks another host: {address}", file=sys.stderr)
    if status or fetched:
        sys.exit(1)
    print(f"wrote {SITE.relative_to(ROOT)}: open {SITE.relative_to(ROOT)}/index.html")


def foreign(site: Path) -> Iterator[tuple[str, str]]:
    """Pages of a built site with what their readers' browsers would fetch from other hosts."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for match in _FETCHED.finditer(text):
            if not _NO_FETCH.match(match[0]):
                yield page.relative_to(site).as_posix(), match[1]


if __name__ == "__main__":
    typer.run(main)
