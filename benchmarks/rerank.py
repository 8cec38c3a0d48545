"""How fast the whole service is: `python -m benchmarks rerank` prints the tables of docs/performance.md in 5 minutes.

Latency by number of documents, over the same documents in every row, and the targets. Every row starts a new server,
so that all rank the same texts. `python -m benchmarks quality` sets a cross-encoder beside us,
`python -m benchmarks capacity` tells how many requests a process serves.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import orjson
from rich.console import Console
from rich.progress import track

from app.settings import Settings
from benchmarks.corpus import Passages, Task, open_passages
from benchmarks.report import number, on_this_machine, percentile, spread, table
from benchmarks.server import Server, ours, qrerank
from benchmarks.wire import Answer, in_turn, post
from retrieval.encoder.prepare import prepare
from retrieval.encoder.weights import DEFAULT_MODEL

METHODS = ("classical", "quantum", "hybrid")
COLD, COLD_DEADLINE = "ours, hybrid, cold, no deadline", "ours, hybrid, cold, default deadline"
WARM, INDEXED, FIRST_ORDER = "ours, {}, warm", "ours, {}, indexed", "ours, hybrid, streamed, first order"
WARM_RUNS = 30
RUNS = {20: 20, 50: 20, 100: 20, 500: 4, 1000: 2}  # requests by number of documents
TARGETS = (  # row, documents, share of the requests, milliseconds
    (WARM.format("hybrid"), 100, 0.5, 25),
    (WARM.format("hybrid"), 100, 0.95, 50),
    (INDEXED.format("hybrid"), 100, 0.95, 50),
    (COLD, 50, 0.95, 500),
    (COLD_DEADLINE, 100, 0.95, 500),
    (FIRST_ORDER, 500, 0.95, 50),
)
Work = Mapping[int, Sequence[Task]]  # tasks by their number of documents


@dataclass(frozen=True)
class Sample:
    """One cell of the latency table: a row's times for so many documents."""

    row: str
    documents: int
    ms: Sequence[float]  # one a request
    encoded: Sequence[int] = ()  # of each request's documents, how many were scored by their states


def sample(row: str, documents: int, answers: Sequence[Answer]) -> Sample:
    """The times of a row's answers, and how many documents each scored by their states."""
    encoded = [orjson.loads(answer.body)["meta"]["encoded"] for answer in answers]
    return Sample(row, documents, [answer.ms for answer in answers], encoded)


def cold(row: str, work: Work, warm_up: Task, deadline_ms: int | None = None) -> Iterator[Sample]:
    """Every task once, none seen before; a task of other texts first, so that the process itself is warm.

    Of a stream it is the time until the first order has come.
    """
    path = "/v1/rerank/stream" if row == FIRST_ORDER else "/rerank"
    with ours() as server:
        in_turn(server.port, [warm_up.request()])
        for documents, tasks in _shown(work, row):
            answers = in_turn(server.port, [task.request(deadline_ms=deadline_ms, path=path) for task in tasks])
            if row == FIRST_ORDER:
                yield Sample(row, documents, [answer.first_ms for answer in answers])
            else:
                yield sample(row, documents, answers)


def warm(work: Work) -> Iterator[Sample]:
    """The first task of every size again and again, by each method; its states are in the cache."""
    with ours() as server:
        for documents, tasks in _shown(work, "ours, warm"):
            in_turn(server.port, [tasks[0].request(deadline_ms=0)])
            for method in METHODS:
                answers = in_turn(server.port, [tasks[0].request(method)] * (1 + WARM_RUNS))
                yield sample(WARM.format(method), documents, answers[1:])


def indexed(work: Work) -> Iterator[Sample]:
    """The same passages from a collection: requests without documents, a server for each number of candidates."""
    for documents, tasks in _shown(work, "ours, indexed"):
        with collection_of(tasks[0].documents, documents) as server:
            for method in METHODS:
                bodies = [{"query": task.query, "collection": "benchmark", "method": method} for task in tasks]
                requests = [post("/rerank", bodies[i % len(bodies)]) for i in range(1 + WARM_RUNS)]
                yield sample(INDEXED.format(method), documents, in_turn(server.port, requests)[1:])


def _shown(work: Work, row: str) -> Iterable[tuple[int, Sequence[Task]]]:
    """The tasks, with a bar on the terminal."""
    return track(list(work.items()), row, console=Console(stderr=True))


@contextmanager
def collection_of(texts: Sequence[str], candidates: int) -> Iterator[Server]:
    """A server with a collection of these texts, of which every search retrieves so many."""
    with tempfile.TemporaryDirectory() as data:
        lines = (json.dumps({"_id": str(at), "title": "", "text": text}) for at, text in enumerate(texts))
        corpus = Path(data) / "corpus.jsonl"
        corpus.write_text("\n".join(lines), encoding="utf-8")
        qrerank(Path(data), "index", "build", "benchmark", corpus)
        with ours(data_dir=data, candidates=candidates) as server:
            yield server


def measure(passages: Passages) -> list[Sample]:
    """All rows, one after the other, so that nothing else computes."""
    warm_up = passages.tasks(1, 50)[0]
    work = {documents: passages.tasks(runs, documents) for documents, runs in RUNS.items()}
    new = [*cold(COLD, work, warm_up, 0), *cold(COLD_DEADLINE, work, warm_up), *cold(FIRST_ORDER, work, warm_up)]
    return [*new, *warm(work), *indexed(work)]


def latency_table(samples: Sequence[Sample]) -> str:
    """A row a way to rank, a column a number of documents."""
    sizes = sorted({each.documents for each in samples})
    lines = []
    for row in dict.fromkeys(each.row for each in samples):
        cells = {each.documents: each for each in samples if each.row == row}
        runs = ", ".join(str(len(each.ms)) for each in cells.values())
        lines.append((row, *(spread(cells[size].ms) if size in cells else "" for size in sizes), runs))
        if row == COLD_DEADLINE:
            encoded = (f"{mean(cells[size].encoded):.0f}" if size in cells else "" for size in sizes)
            lines.append(("– of them scored by their states", *encoded, ""))
    return table(("documents", *map(str, sizes), "requests"), lines)


def target_table(samples: Sequence[Sample]) -> str:
    """What was promised, beside what was measured."""
    times = {(each.row, each.documents): each.ms for each in samples}
    lines = []
    for row, documents, share, limit in TARGETS:
        value = percentile(times[row, documents], share)
        name = f"{row}, {documents} documents, p{100 * share:.0f} ms"
        lines.append((name, number(value), f"≤ {limit}", "yes" if value <= limit else "**no**"))
    return table(("", "measured", "target", "met"), lines)


def main() -> None:
    """Measure and print."""
    prepare(DEFAULT_MODEL, Settings().model_dir, lambda *_: None)
    machine, passages = on_this_machine(), open_passages()
    samples = measure(passages)
    print(f"### Machine\n\n{machine()}\n")
    print(f"### Latency by number of documents: p50 / p95 in ms\n\n{latency_table(samples)}\n")
    print(f"### Targets\n\n{target_table(samples)}")
