"""Build the documentation site: `make docs`, after which build/site/index.html opens it.

Links and anchors must lead somewhere, and no page may ask another host for anything.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.site import api_reference, notebooks
from scripts.site.staging import ROOT, BrokenLink, stage

BUILD = ROOT / "build"
SOURCES, SITE = BUILD / "docs", BUILD / "site"
MERMAID = BUILD / "mermaid.min.js"  # draws the diagrams in the reader's browser, from the site itself
# What a browser fetches by itself: not links, which a reader follows.
_FETCHED = re.compile(
    r"<(?:script|link|img|iframe|source|video|audio)\b[^>]*?\b(?:src|href)=\"?((?:https?:)?//[^\" >]+)"
)
_NO_FETCH = re.compile(r"<link\b[^>]*rel=\"?(?:canonical|alternate|license)")


def main() -> int:
    """Build the site; 0 if there is nothing wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-run", action="store_true", help="show the notebooks as they are, without running them")
    running = not parser.parse_args().no_run
    shutil.rmtree(SOURCES, ignore_errors=True)
    SOURCES.mkdir(parents=True)
    try:
        stage(SOURCES)
    except BrokenLink as error:
        print(error, file=sys.stderr)
        return 1
    (SOURCES / "api.md").write_text(api_reference.page(), encoding="utf-8")
    (SOURCES / "notebooks").mkdir()
    notebooks.write(SOURCES / "notebooks", running=running)
    (SOURCES / "assets").mkdir(exist_ok=True)
    shutil.copyfile(MERMAID, SOURCES / "assets" / "mermaid.min.js")
    zensical = Path(sys.executable).with_name("zensical")
    status = subprocess.run([zensical, "build", "--clean", "--strict"], cwd=ROOT, check=False).returncode  # noqa: S603
    fetched = sorted(set(foreign(SITE)))
    for page, address in fetched:
        print(f"{page} asks another host: {address}", file=sys.stderr)
    if not status and not fetched:
        print(f"wrote {SITE.relative_to(ROOT)}: open {SITE.relative_to(ROOT)}/index.html")
    return 1 if status or fetched else 0


def foreign(site: Path) -> Iterator[tuple[str, str]]:
    """Pages of a built site with what their readers' browsers would fetch from other hosts."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for match in _FETCHED.finditer(text):
            if not _NO_FETCH.match(match[0]):
                yield page.relative_to(site).as_posix(), match[1]


if __name__ == "__main__":
    sys.exit(main())
