"""How soon a stream tells its first order: `python -m benchmarks.streaming` prints the table of docs/streaming.md.

A real server with the default model; every request has new documents. Times are the client's, from before it sends the
request until it has read the whole event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import orjson

from benchmarks.corpus import PASSAGE_TOKENS, Task, open_passages
from benchmarks.measure import percentile
from benchmarks.report import number, table
from benchmarks.server import ours
from benchmarks.wire import post, run

PATH = "/v1/rerank/stream"
DOCUMENTS = 500
TARGET_MS = 50
RUNS = {"default deadline": (None, 20), "no deadline": (0, 5)}  # deadline_ms and requests
_BUFFER_BYTES = 2**24


@dataclass(frozen=True)
class Told:
    """What one stream told, and when in milliseconds."""

    first_ms: float
    refined_ms: Sequence[float]  # of each refined order
    final_ms: float
    encoded: int  # documents scored by their states in the end


def request(task: Task, deadline_ms: int | None) -> bytes:
    """A task as a POST for a stream."""
    body: dict[str, object] = {"query": task.query, "documents": task.documents}
    if deadline_ms is not None:
        body["deadline_ms"] = deadline_ms
    return post(PATH, orjson.dumps(body))


def follow(port: int, requests: Sequence[bytes]) -> list[Told]:
    """What the streams of some requests tell, one after the other over one connection."""

    async def all_of_them() -> list[Told]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_BUFFER_BYTES)
        told = [await _follow(reader, writer, asked) for asked in requests]
        writer.close()
        return told

    return run(all_of_them())


async def _follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes) -> Told:
    start = perf_counter()
    writer.write(asked)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the server answered {head.decode(errors='replace')}")
    times, last = [], b""
    while event := await _chunk(reader):
        times.append(1000 * (perf_counter() - start))
        last = event
    kind, data, _ = last.decode().split("\n", 2)
    if kind != "event: final":
        raise RuntimeError(f"the stream ended with {data}")
    return Told(times[0], times[1:-1], times[-1], orjson.loads(data.removeprefix("data: "))["meta"]["encoded"])


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    """A chunk, which is one event; the last is empty."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]


def report(rows: dict[str, Sequence[Told]]) -> str:
    """The table, and whether the target is met."""
    headings = ("p50 / p95", *rows)
    cells: dict[str, list[Sequence[float]]] = {
        "first order, ms": [[told.first_ms for told in row] for row in rows.values()],
        "first refined order, ms": [[told.refined_ms[0] for told in row if told.refined_ms] for row in rows.values()],
        "refined orders": [[len(told.refined_ms) for told in row] for row in rows.values()],
        "final, ms": [[told.final_ms for told in row] for row in rows.values()],
        "documents scored by their states": [[told.encoded for told in row] for row in rows.values()],
    }
    lines = [(name, *map(_spread, columns)) for name, columns in cells.items()]
    lines.append(("requests", *(str(len(row)) for row in rows.values())))
    worst = max(percentile([told.first_ms for told in row], 0.95) for row in rows.values())
    met = "met" if worst <= TARGET_MS else "**missed**"
    return f"{table(headings, lines)}\n\nFirst order: p95 {number(worst)} ms, target ≤ {TARGET_MS} ms, {met}."


def _spread(values: Sequence[float]) -> str:
    return f"{number(percentile(values, 0.5))} / {number(percentile(values, 0.95))}" if values else ""


def main() -> None:
    """Measure and print."""
    passages = open_passages()
    rows: dict[str, Sequence[Told]] = {}
    with ours() as server:
        follow(server.port, [request(passages.tasks(1, DOCUMENTS)[0], None)])
        for name, (deadline_ms, runs) in RUNS.items():
            tasks = passages.tasks(runs, DOCUMENTS)
            rows[name] = follow(server.port, [request(task, deadline_ms) for task in tasks])
    print(f"{DOCUMENTS} raw documents of {PASSAGE_TOKENS} tokens, never seen before\n")
    print(report(rows))


if __name__ == "__main__":
    main()
