"""The way of one request: every file and function of ours that POST /rerank passes with documents that are cached.

python -m scripts.walk            one POST without keys, then one with a key
python -m scripts.walk --list     also name the functions, file by file
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterable
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
OURS = tuple(str(ROOT / name) + os.sep for name in ("app", "quantum", "retrieval"))
KEY = "a-key-for-the-walk-and-nothing-else"
BODY = {
    "query": "which bird sings at night",
    "documents": [f"The nightingale sings after dusk, says page {page}." for page in range(50)],
    "top_n": 5,
}
Function = tuple[str, int, int, str]  # its file, its first and last line, its name


TRACED: ContextVar[bool] = ContextVar("traced", default=False)  # inherited by the tasks and threads of a request
MET: set[CodeType] = set()


def note(frame: FrameType, event: str, _: Any) -> None:
    """Note code of ours that a traced request runs. A profile function of every thread."""
    if event == "call" and TRACED and TRACED.get() and frame.f_code.co_filename.startswith(OURS):
        MET.add(frame.f_code)


@cache
def functions(file: str) -> list[Function]:
    """The outermost functions of a file: those within others are lines of theirs."""
    found: list[Function] = []

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((file, child.lineno, child.end_lineno or child.lineno, child.name))
            else:
                visit(child)

    visit(ast.parse(Path(file).read_text(encoding="utf-8")))
    return found


def passed(met: set[CodeType]) -> set[Function]:
    """The functions that the code belongs to."""
    return {
        function
        for code in met
        for function in functions(code.co_filename)
        if function[1] <= code.co_firstlineno <= function[2] or code.co_firstlineno == function[1] - 1
    }


def length(way: Iterable[Function]) -> int:
    """The lines of these functions."""
    return sum(last - first + 1 for _, first, last, _ in way)


async def walk(*, keys: bool) -> set[Function]:
    """Serve one request so that its documents are cached, and trace the second."""
    from app.main import create_app
    from app.settings import Settings

    auth = {"enabled": keys, "keys": (KEY,) if keys else ()}
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(model="hash", data_dir=Path(folder), auth=auth))
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": f"Bearer {KEY}"} if keys else {}
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client,
        ):
            while (await client.get("/health/ready")).status_code != httpx.codes.OK:  # noqa: ASYNC110 - its model loads
                await asyncio.sleep(0.01)
            (await client.post("/rerank", json=BODY)).raise_for_status()
            MET.clear()
            TRACED.set(True)
            (await client.post("/rerank", json=BODY)).raise_for_status()
            way = passed(MET)
            TRACED.set(False)
            return way


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the functions, file by file")
    given = parser.parse_args()
    threading.setprofile(note)  # before there are threads
    sys.setprofile(note)
    logging.disable()
    for keys in (False, True):
        way = asyncio.run(walk(keys=keys))
        by_file: dict[str, list[Function]] = {}
        for function in sorted(way):
            by_file.setdefault(function[0], []).append(function)
        print(f"{'with' if keys else 'without'} keys: {len(by_file)} files, {len(way)} functions, {length(way)} lines")
        for file, of in by_file.items() if given.list else ():
            names = ", ".join(f"{name} {last - first + 1}" for _, first, last, name in of)
            print(f"  {Path(file).relative_to(ROOT)} {length(of)}: {names}")


if __name__ == "__main__":
    main()
