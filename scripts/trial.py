"""Smoke tests of servers: checks and their summary, readiness and ranking.

Uses the standard library alone, so that an image can be tested where nothing is installed.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

PATIENCE_S = 60
QUERY = "which bird hunts at night"
DOCUMENTS = ("stock prices fell again", "an owl hunts mice in the dark of night", "the train to the coast is late")
BEST = 1  # of those documents
_RESERVED: list[socket.socket] = []


class Findings:
    """Counts passed and failed checks."""

    def __init__(self) -> None:
        """Start the clock."""
        self.held, self.failed = 0, list[str]()
        self._since = time.monotonic()

    def begin(self, chapter: str) -> None:
        """Print a heading."""
        print(f"\n{chapter}", flush=True)

    def check(self, what: str, held: object, detail: object = "") -> None:
        """Record and print a check. detail: the figures behind it."""
        if held:
            self.held += 1
        else:
            self.failed.append(what)
        print(f"  {'ok    ' if held else 'FAILED'}  {what}{f': {detail}' if detail else ''}", flush=True)

    def at_most(self, what: str, value: float, limit: float, unit: str) -> None:
        """Check that a figure is within its target."""
        self.check(what, value <= limit, f"{value:.3g} {unit} (target: ≤ {limit:g} {unit})")

    def note(self, what: str, value: object) -> None:
        """Print a figure without a target."""
        print(f"          {what}: {value}", flush=True)

    def verdict(self) -> int:
        """Print the summary; return the exit status: 0 if all checks passed."""
        summary = "all passed" if not self.failed else f"{len(self.failed)} failed: {'; '.join(self.failed)}"
        count, seconds = self.held + len(self.failed), time.monotonic() - self._since
        print(f"\n{count} checks in {seconds:.0f} s, {summary}", flush=True)
        return min(1, len(self.failed))


def free_port() -> int:
    """A port of 127.0.0.1 that stays reserved for the caller until this process ends.

    Servers that set SO_REUSEADDR, as all do, can listen on it repeatedly. No other process gets it meanwhile, and
    connections are refused until a server listens.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    _RESERVED.append(reserved)
    return int(reserved.getsockname()[1])


def ask(port: int, method: str, path: str, body: object = None, key: str | None = None) -> tuple[int, Any]:
    """Send a request; its status and JSON. OSError if there is no response."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def seconds_until_ready(port: int, since: float, alive: Callable[[], bool]) -> float:
    """Wait until the server is ready; the seconds since `since`, of `time.monotonic()`. RuntimeError if it never is."""
    while time.monotonic() < since + PATIENCE_S:
        try:
            if ask(port, "GET", "/health/ready")[0] == 200:
                return time.monotonic() - since
        except (OSError, ValueError):
            pass
        if not alive():
            raise RuntimeError("the server exited before it was ready")
        time.sleep(0.02)
    raise RuntimeError(f"the server was not ready after {PATIENCE_S} s")


def ranks(port: int, key: str | None = None) -> bool:
    """Whether a query ranks the relevant one of three documents first."""
    status, answer = ask(port, "POST", "/rerank", {"query": QUERY, "documents": DOCUMENTS}, key)
    if status != 200:
        raise RuntimeError(f"POST /rerank: {status} {answer}")
    return bool(answer["results"][0]["index"] == BEST)
