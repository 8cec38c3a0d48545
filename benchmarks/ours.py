"""Our rows of the latency table, from a real server process; every row starts a new one, so all rank the same texts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import track

from benchmarks.corpus import Task
from benchmarks.server import Server, ours
from benchmarks.wire import Answer, first_chunk_ms, in_turn, post, run

METHODS = ("classical", "quantum", "hybrid")
COLD = "ours, hybrid, cold, no deadline"
COLD_DEADLINE = "ours, hybrid, cold, default deadline"
WARM = "ours, {}, warm"
INDEXED = "ours, {}, indexed"
FIRST_ORDER = "ours, hybrid, streamed, first order"
WARM_RUNS = 30
_COLLECTION = "benchmark"


@dataclass(frozen=True)
class Sample:
    """One cell of the latency table: a row's times for so many documents."""

    row: str
    documents: int
    ms: Sequence[float]  # one a request
    encoded: Sequence[int] = ()  # of each request's documents, how many were scored by their states


Work = Mapping[int, Sequence[Task]]  # tasks by their number of documents


def request(task: Task, method: str = "hybrid", deadline_ms: int | None = None, path: str = "/rerank") -> bytes:
    """A task as a POST; without a deadline the server's default holds, 0 is none."""
    body: dict[str, object] = {"query": task.query, "documents": task.documents, "method": method}
    if deadline_ms is not None:
        body["deadline_ms"] = deadline_ms
    return post(path, orjson.dumps(body))


def sample(row: str, documents: int, answers: Sequence[Answer]) -> Sample:
    """The times of a row's answers, and how many documents each scored by their states."""
    encoded = [orjson.loads(answer.body)["meta"]["encoded"] for answer in answers]
    return Sample(row, documents, [answer.ms for answer in answers], encoded)


def cold(row: str, work: Work, warm_up: Task, deadline_ms: int | None) -> list[Sample]:
    """Every task once, none seen before; a task of other texts first, so that the process itself is warm."""
    samples = []
    with ours() as server:
        in_turn(server.port, [request(warm_up)])
        for documents, tasks in _shown(work, row):
            requests = [request(task, deadline_ms=deadline_ms) for task in tasks]
            samples.append(sample(row, documents, in_turn(server.port, requests)))
    return samples


def streamed(work: Work, warm_up: Task) -> list[Sample]:
    """When the first order of a stream has come, of documents never seen before."""
    samples = []
    with ours() as server:
        in_turn(server.port, [request(warm_up)])
        for documents, tasks in _shown(work, FIRST_ORDER):
            requests = [request(task, path="/v1/rerank/stream") for task in tasks]
            times = [run(first_chunk_ms(server.port, each)) for each in requests]
            samples.append(Sample(FIRST_ORDER, documents, times))
    return samples


def warm(work: Work) -> list[Sample]:
    """The first task of every size again and again, by each method; its states are in the cache."""
    samples = []
    with ours() as server:
        for documents, tasks in _shown(work, "ours, warm"):
            in_turn(server.port, [request(tasks[0], deadline_ms=0)])
            for method in METHODS:
                answers = in_turn(server.port, [request(tasks[0], method)] * (1 + WARM_RUNS))
                samples.append(sample(WARM.format(method), documents, answers[1:]))
    return samples


def indexed(work: Work) -> list[Sample]:
    """The same passages from a collection: requests without documents, a server for each number of candidates."""
    samples = []
    for documents, tasks in _shown(work, "ours, indexed"):
        with collection_of(tasks[0].documents, documents) as server:
            for method in METHODS:
                bodies = [{"query": task.query, "collection": _COLLECTION, "method": method} for task in tasks]
                requests = [post("/rerank", orjson.dumps(bodies[i % len(bodies)])) for i in range(1 + WARM_RUNS)]
                samples.append(sample(INDEXED.format(method), documents, in_turn(server.port, requests)[1:]))
    return samples


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
        command = [str(Path(sys.executable).parent / "qrerank"), "index", "build", _COLLECTION, str(corpus)]
        environment = os.environ | {"QRERANK_DATA_DIR": data}
        subprocess.run(command, env=environment, check=True, capture_output=True)  # noqa: S603 - our own command
        with ours(data_dir=data, candidates=candidates) as server:
            yield server
