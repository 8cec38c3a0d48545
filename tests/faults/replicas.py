"""Two real server processes that share keys and Redis, and many concurrent clients."""

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx

from app.auth.settings import AuthSettings
from app.auth.stores import open_records
from app.identity import Tier
from benchmarks.server import running
from scripts.trial import free_port
from tests.waiting import PATIENT_S

CLIENTS = 50
_QRERANK = str(Path(sys.executable).parent / "qrerank")


@dataclass(frozen=True)
class Replicas:
    """The servers' ports, and the data folder with their keys."""

    ports: tuple[int, int]
    folder: Path

    def key(self, tier: Tier) -> str:
        """Create a key of this tier."""
        records = open_records(AuthSettings(enabled=True), self.folder)
        try:
            return records.keys.create("", "user", tier, None)[1]
        finally:
            records.database.close()

    def ask(self, key: str, path: str, body: object, times: int) -> Counter[int]:
        """Send `times` requests from all clients, to both servers in turn; the statuses of the responses."""
        start = threading.Barrier(CLIENTS)
        numbers_by_client = [range(client, times, CLIENTS) for client in range(CLIENTS)]

        def several(numbers: range) -> list[int]:
            connections = [HTTPConnection("127.0.0.1", port, timeout=PATIENT_S) for port in self.ports]
            start.wait()
            return [post(connections[number // CLIENTS % 2], key, path, body) for number in numbers]

        with ThreadPoolExecutor(CLIENTS) as clients:
            return Counter(status for statuses in clients.map(several, numbers_by_client) for status in statuses)

    def metric(self, server: int, name: str) -> float:
        """The value of a server's metric without labels."""
        text = httpx.get(f"http://127.0.0.1:{self.ports[server]}/metrics", timeout=PATIENT_S, verify=False).text  # noqa: S501
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"qrerank_{name} "))


def post(connection: HTTPConnection, key: str, path: str, body: object) -> int:
    """Send a request; the response's status."""
    connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {key}"})
    response = connection.getresponse()
    response.read()
    return response.status


@contextmanager
def replicas(folder: Path, redis_url: str, **settings: str) -> Iterator[Replicas]:
    """Run two servers within the block. settings: by environment variable, in lower case and without QRERANK_."""
    defaults = {
        "engine__drain_seconds": "0",
        "model": "hash",
        "data_dir": str(folder),
        "auth__enabled": "true",
        "quotas__redis_url": redis_url,
    }
    variables = {f"QRERANK_{name.upper()}": value for name, value in (defaults | settings).items()}
    environment = dict(os.environ) | variables
    ports = (free_port(), free_port())
    with ExitStack() as stack:
        for port in ports:
            command = [_QRERANK, "serve", "--port", str(port)]
            stack.enter_context(running(command, port, "/health/ready", environment))
        yield Replicas(ports, folder)
