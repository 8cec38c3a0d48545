"""The commands that the pages in docs/operations give, run as they stand there."""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs" / "operations"
REHEARSED = ("backup", "upgrade", "incidents")
_BLOCK = re.compile(r"^(?P<indent> *)```sh *(?P<name>[\w-]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> dict[str, str]:
    """A page's shell blocks by the name behind "```sh"; ValueError for one without a name or with another's."""
    found: dict[str, str] = {}
    for block in _BLOCK.finditer(page):
        name = block["name"]
        if not name or name in found:
            raise ValueError(f"a shell block needs a name of its own: {name!r}")
        found[name] = textwrap.dedent(block["text"])
    return found


class Commands:
    """Shell blocks by name; it knows which of them nobody has run."""

    def __init__(self, pages: Iterable[str] = REHEARSED, folder: Path = PAGES) -> None:
        """Read them. ValueError as `blocks`."""
        texts = [(folder / f"{page}.md").read_text(encoding="utf-8") for page in pages]
        self._blocks = blocks("\n".join(texts))
        self.left = set(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def text(self, name: str) -> str:
        """A block, which counts as run from now on."""
        self.left.discard(name)
        return self._blocks[name]

    def run(self, name: str, folder: Path, environment: Mapping[str, str]) -> str:
        """What a block prints in this folder and environment; RuntimeError if a command of it fails."""
        done = subprocess.run(  # noqa: S603 - our own pages
            ["/bin/sh", "-eu", "-c", self.text(name)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"`{name}` ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout
