"""Where the rollout takes place: PostgreSQL, Redis, a balancer that knows four addresses, and servers on some."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.balancer import balanced
from scripts.rehearsal.place import Place, Process, install
from scripts.rollout.load import SERVED_BY
from scripts.trial import free_port

DRAIN_S = 5  # as unless set
SLOTS = 4
# A server that refuses connections has not taken the request, so it is sent to another one. Nothing else is sent twice.
_OPTIONS = ("option redispatch 1", f"http-after-response set-header {SERVED_BY} %[srv_name]", "timeout tunnel 1h")


@dataclass(frozen=True)
class Site:
    """The balancer's address, and the ports behind it."""

    url: str
    ports: Sequence[int]
    folder: Path
    stack: ExitStack  # of what runs

    def start(self, place: Place, slot: int) -> Process:
        """A server on a port that the balancer watches, once it is ready; it has a data folder of its own."""
        data = self.folder / f"data-{slot}"
        data.mkdir()
        process = self.stack.enter_context(place.given(QRERANK_DATA_DIR=data).process(port=self.ports[slot]))
        process.wait_until_ready()
        return process


def name_of(slot: int) -> str:
    """What the balancer calls a server."""
    return f"replica{slot + 1}"


@contextmanager
def sites(folder: Path) -> Iterator[Site]:
    """A balancer before four addresses where nothing runs yet. NoBalancer where there is no haproxy to be had."""
    ports = [free_port() for _ in range(SLOTS)]
    with ExitStack() as stack:
        url = stack.enter_context(balanced([f"http://127.0.0.1:{port}" for port in ports], _OPTIONS))
        yield Site(url, ports, folder, stack)


@contextmanager
def shared(folder: Path, model: str) -> Iterator[Place]:
    """The environment of all replicas: a new PostgreSQL for keys, a new Redis for limits and states, one pepper."""
    from tests.postgres_server import PostgresServer
    from tests.redis_server import RedisServer

    with PostgresServer() as database, RedisServer() as redis:
        yield install(folder / "here", folder / "data").given(
            QRERANK_MODEL=model,
            QRERANK_AUTH__DATABASE_URL=database.database(),
            QRERANK_AUTH__PEPPER=secrets.token_hex(32),
            QRERANK_QUOTAS__REDIS_URL=f"{redis.url}/0",
            QRERANK_CACHE__REDIS_URL=f"{redis.url}/1",
            QRERANK_ENGINE__DRAIN_SECONDS=DRAIN_S,
            # Three servers start and compute on the cores of one here: slow is not lost.
            QRERANK_ENGINE__DEADLINE_MS=0,
            QRERANK_QUOTAS__REDIS_TIMEOUT_S=10,
        )
