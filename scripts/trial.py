"""A server that was just installed, tried as its first user would: is it ready, does it rank, what does it hold.

Nothing but Python is needed, so that an image can be judged where nothing is installed.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

PATIENCE_S = 60
QUERY = "which bird hunts at night"
DOCUMENTS = ("stock prices fell again", "an owl hunts mice in the dark of night", "the train to the coast is late")
BEST = 1  # of those documents
_KEPT: list[socket.socket] = []


def free_port() -> int:
    """A port of 127.0.0.1 that is kept for the caller until this process ends.

    A server that sets SO_REUSEADDR, as all do, may listen on it, again and again. Nobody else is given it meanwhile,
    and until a server listens connections are refused.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    _KEPT.append(kept)
    return int(kept.getsockname()[1])


def ask(port: int, method: str, path: str, body: object = None, key: str | None = None) -> tuple[int, Any]:
    """Status and JSON of an answer. OSError if nobody answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def seconds_until_ready(port: int, since: float, alive: Callable[[], bool]) -> float:
    """Seconds from `since`, of `time.monotonic()`, until the server is ready; RuntimeError if it ends, or never is."""
    while time.monotonic() < since + PATIENCE_S:
        try:
            if ask(port, "GET", "/health/ready")[0] == 200:
                return time.monotonic() - since
        except (OSError, ValueError):
            pass
        if not alive():
            raise RuntimeError("it ended before it was ready")
        time.sleep(0.02)
    raise RuntimeError(f"it was not ready after {PATIENCE_S} s")


def ranks(port: int, key: str | None = None) -> bool:
    """Whether a question gets the right one of three documents."""
    status, answer = ask(port, "POST", "/rerank", {"query": QUERY, "documents": DOCUMENTS}, key)
    if status != 200:
        raise RuntimeError(f"POST /rerank: {status} {answer}")
    return bool(answer["results"][0]["index"] == BEST)


def keep_busy(port: int, requests: int, documents: int, key: str | None = None) -> None:
    """Rank that many new documents of about 200 tokens, that many times."""
    for turn in range(requests):
        texts = [
            f"{turn} {number} " + "a passage of some length about birds and trains " * 20 for number in range(documents)
        ]
        body = {"query": QUERY, "documents": texts, "deadline_ms": 0}
        status, answer = ask(port, "POST", "/rerank", body, key)
        if status != 200:
            raise RuntimeError(f"POST /rerank: {status} {answer}")


def resident_mb(status: str) -> float:
    """Megabytes (10⁶ bytes) of memory in a text of /proc/PID/status."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ValueError("this is no status of a process that has memory")
    return int(found[1]) * 1024 / 1e6


def megabytes(folder: Path) -> float:
    """Megabytes (10⁶ bytes) of the files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6
