"""Run the notebooks of docs/notebooks and write them as pages, with what they printed and drew.

They are Jupytext sources in the percent format: Python files that Jupyter opens as notebooks. Each runs in an empty
folder with an empty data folder, and any error in a cell ends the build.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbconvert.filters import strip_ansi

from scripts.site.staging import NOTEBOOKS, ROOT

_MOST_S = 600  # for one cell
_NOTE = "!!! note\n    This page is the notebook `{}` with what it printed when the site was built.\n"


def write(folder: Path) -> None:
    """Run all notebooks and write their pages; nbclient's CellExecutionError if a cell fails."""
    exporter = MarkdownExporter(preprocessors=["nbconvert.preprocessors.HighlightMagicsPreprocessor"])
    for source in sorted(NOTEBOOKS.glob("*.py")):
        notebook = jupytext.read(source)
        begun = time.perf_counter()
        run(notebook)
        print(f"ran {source.name} in {time.perf_counter() - begun:.0f} s", flush=True)
        text, made = exporter.from_notebook_node(notebook, {"unique_key": source.stem, "output_files_dir": "."})
        for name, picture in made["outputs"].items():
            (folder / name).write_bytes(picture)
        title, _, rest = text.strip().partition("\n")
        note = _NOTE.format(source.relative_to(ROOT))
        (folder / f"{source.stem}.md").write_text(f"{title}\n\n{note}\n{rest}\n", encoding="utf-8")


def run(notebook: Any) -> None:
    """Run all cells of a notebook, which gets their outputs, without progress on standard error."""
    with tempfile.TemporaryDirectory() as place:
        own = {"PYTHONPATH": str(ROOT), "QRERANK_DATA_DIR": f"{place}/data", "COLUMNS": "100", "NO_COLOR": "1"}
        path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        client = NotebookClient(
            notebook, timeout=_MOST_S, coalesce_streams=True, resources={"metadata": {"path": place}}
        )
        client.execute(env=os.environ | own | {"PATH": path})
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
        for output in cell.get("outputs", ()):
            if "text" in output:
                output.text = strip_ansi(output.text)  # ipykernel asks commands for colours
