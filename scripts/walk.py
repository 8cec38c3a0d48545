"""Trace one request: all project files and functions that POST /rerank runs through with cached documents.

python -m scripts.walk            one POST without authentication, then one with a key
python -m scripts.walk --list     also list the functions by file
"""

from __future__ import annotations

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
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType
from typing import Annotated, Any

import httpx
import typer

ROOT = Path(__file__).parents[1]
OURS = tuple(str(ROOT / name) + os.sep for name in ("app", "quantum", "retrieval"))
KEY = "a-key-for-the-walk-and-nothing-else"
BODY = {
    "query": "which bird sings at night",
    "documents": [f"The nightingale sings after dusk, says page {page}." for page in range(50)],
    "top_n": 5,
}
Function = tuple[str, int, int, str]  # file, first line, last line, name


TRACED: ContextVar[bool] = ContextVar("traced", default=False)  # inherited by a request's tasks and threads
EXECUTED: set[CodeType] = set()


def note(frame: FrameType, event: str, _: Any) -> None:
    """Record project code that a traced request runs; the profile function of every thread."""
    if event == "call" and TRACED and TRACED.get() and frame.f_code.co_filename.startswith(OURS):
        EXECUTED.add(frame.f_code)


@cache
def functions(file: str) -> list[Function]:
    """All functions of a file, those around others first."""
    nodes = ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))  # breadth first
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [(file, node.lineno, node.end_lineno or 0, node.name) for node in nodes if isinstance(node, kinds)]


def passed(executed: set[CodeType]) -> set[Function]:
    """The outermost functions around the executed code."""
    found = set[Function]()
    for code in executed:
        last = max(line or 0 for *_, line in code.co_lines())  # the first one may be a decorator's
        around = (each for each in functions(code.co_filename) if each[1] <= last <= each[2])
        found |= {*islice(around, 1)}
    return found


def length(called: Iterable[Function]) -> int:
    """The total number of lines of these functions."""
    return sum(last - first + 1 for _, first, last, _ in called)


async def walk(*, keys: bool) -> set[Function]:
    """Send one request, so that its documents are cached, and trace a second one."""
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
            while (await client.get("/health/ready")).status_code != httpx.codes.OK:  # noqa: ASYNC110 - the model is loading
                await asyncio.sleep(0.01)
            (await client.post("/rerank", json=BODY)).raise_for_status()
            EXECUTED.clear()
            TRACED.set(True)
            (await client.post("/rerank", json=BODY)).raise_for_status()
            called = passed(EXECUTED)
            TRACED.set(False)
            return called


def main(by_name: Annotated[bool, typer.Option("--list", help="List the functions by file.")] = False) -> None:
    """Trace one request without authentication, then one with a key."""
    threading.setprofile(note)  # before threads start
    sys.setprofile(note)
    logging.disable()
    for keys in (False, True):
        called = asyncio.run(walk(keys=keys))
        by_file: dict[str, list[Function]] = {}
        for function in sorted(called):
            by_file.setdefault(function[0], []).append(function)
        mode = "with" if keys else "without"
        print(f"{mode} keys: {len(by_file)} files, {len(called)} functions, {length(called)} lines")
        for file, in_file in by_file.items() if by_name else ():
            names = ", ".join(f"{name} {last - first + 1}" for _, first, last, name in in_file)
            print(f"  {Path(file).relative_to(ROOT)} {length(in_file)}: {names}")


if __name__ == "__main__":
    typer.run(main)
