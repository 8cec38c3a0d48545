"""Run the notebooks of docs/notebooks and write them as pages, with what they printed and drew.

They are Jupytext sources in the percent format: Python files that Jupyter opens as notebooks. Each runs in an empty
folder with an empty data folder, and any error in a cell ends the build.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
from nbclient import NotebookClient

from scripts.site.staging import NOTEBOOKS, ROOT

_STYLE = re.compile(r"\x1b\[[0-9;]*m")  # ipykernel asks commands for colours
_MOST_S = 600  # for one cell
_INTRO = "!!! note\n    This page is the notebook `{source}` with what it printed when the site was built.\n"


def write(folder: Path, *, running: bool) -> None:
    """Write the pages of all notebooks, and run them first; nbclient's CellExecutionError if a cell fails."""
    for source in sorted(NOTEBOOKS.glob("*.py")):
        begun = time.perf_counter()
        notebook = run(source) if running else jupytext.read(source)
        seconds = time.perf_counter() - begun
        print(f"ran {source.name} in {seconds:.0f} s", flush=True)
        text = "\n".join(_cells(notebook, folder, source.stem))
        title, _, rest = text.partition("\n")
        (folder / f"{source.stem}.md").write_text(
            f"{title}\n\n{_INTRO.format(source=source.relative_to(ROOT))}\n{rest}", encoding="utf-8"
        )


def run(source: Path) -> Any:
    """A notebook after all its cells were run."""
    notebook = jupytext.read(source)
    with tempfile.TemporaryDirectory() as place:
        os.environ.update(
            PYTHONPATH=str(ROOT),
            PATH=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            QRERANK_DATA_DIR=f"{place}/data",
            XDG_CACHE_HOME=os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
            COLUMNS="100",
            NO_COLOR="1",
        )
        resources = {"metadata": {"path": place}}
        NotebookClient(notebook, timeout=_MOST_S, coalesce_streams=True, resources=resources).execute()
    return notebook


def _cells(notebook: Any, folder: Path, name: str) -> Iterator[str]:
    """The cells as Markdown. Pictures are written beside the page."""
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            yield f"{cell.source}\n"
        elif cell.source.strip():
            is_shell = cell.source.startswith("%%bash\n")
            shown = cell.source.removeprefix("%%bash\n")
            yield f"```{'sh' if is_shell else 'python'}\n{shown}\n```\n"
            for output in cell.get("outputs", ()):
                yield from _output(output, folder, f"{name}-{number}")


def _output(output: Any, folder: Path, name: str) -> Iterator[str]:
    data = output.get("data", {})
    if picture := data.get("image/png"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(base64.b64decode(picture))
        yield f"![What the cell drew]({name}.png)\n"
    elif output.get("name") == "stderr":
        return  # progress
    elif text := output.get("text") or data.get("text/plain"):
        yield f"```text\n{_STYLE.sub('', text).rstrip()}\n```\n"
