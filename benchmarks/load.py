"""Many clients at once: each sends its next request when it has its answer, for some seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from benchmarks.wire import Answer, Connection, run


@dataclass(frozen=True)
class Load:
    """What so many clients got."""

    seconds: float
    ms: Sequence[float]  # of each answered request
    errors: int  # answers other than 200

    @property
    def per_second(self) -> float:
        """Requests answered a second."""
        return len(self.ms) / self.seconds


def drive(port: int, supply: Iterator[bytes], clients: int, seconds: float) -> Load:
    """Let `clients` draw requests from a supply for so many seconds; those under way are waited for."""
    return run(_drive(port, supply, clients, seconds))


async def _drive(port: int, supply: Iterator[bytes], clients: int, seconds: float) -> Load:
    answers: list[Answer] = []
    connections = [await Connection.open(port) for _ in range(clients)]
    start = perf_counter()

    async def client(connection: Connection) -> None:
        while perf_counter() < start + seconds and (request := next(supply, None)) is not None:
            answers.append(await connection.ask(request))
        connection.close()

    await asyncio.gather(*map(client, connections))
    good = [answer.ms for answer in answers if answer.status == 200]
    return Load(perf_counter() - start, good, len(answers) - len(good))
