"""What a request costs as a multiple of a fixed NumPy workload, beside a committed baseline: `make bench` prints it.

Processor seconds are compared, ours and the workload's in turn, so that neither the machine nor others' work counts
much. Processors that compute the model in int8 and those that compute it in f32 or bf16 have a baseline each. A ratio
of 1.3 times its baseline is a regression, and the exit status 1. `--write` makes the ratios the baseline.
The second table says what the threads of a server take of a request, and for how long the event loop answers nobody.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer

from app.engine.loader import open_models
from app.ranking.reranker import Reranker
from app.settings import Settings
from benchmarks.corpus import QUERIES, open_passages
from benchmarks.report import number, table
from benchmarks.server import ours
from benchmarks.wire import Connection, Request, in_turn, post
from quantum.kernel import gram
from quantum.maxsim import best_fidelities
from retrieval.deadline import Deadline
from retrieval.encoder.states import ScatteredStates
from retrieval.text.bm25 import QueryTerms, Terms, bm25

BASELINE = Path(__file__).with_name("baseline.json")
WORSE = 1.3  # times the baseline
ROUNDS, REQUESTS, PASSAGES, COLD = 25, 60, 100, 4
_PAUSE_S = 0.002


def workload() -> None:
    """A few milliseconds of what NumPy does at any time: bytes to floats, products, cosines, sorting."""
    rng = np.random.default_rng(0)
    rows = rng.integers(-127, 128, (4096, 384), dtype=np.int8).astype(np.float32)
    rows @ rows[:16].T
    np.argsort(np.cos(rows[:512]), axis=1)


def works(reranker: Reranker) -> Mapping[str, Callable[[], object]]:
    """What is measured, by name. Each call of what depends on a query or passages gets others."""
    passages, numbers = open_passages(), count()
    documents = passages.take(PASSAGES)
    cold = (passages.take(COLD) for _ in numbers)
    reranker.rerank("warm", documents, deadline=Deadline())
    states, asked = reranker.encoder.encode(documents), reranker.encoder.encode([QUERIES[0]], "query")
    scattered, terms = ScatteredStates.of([states]), Terms.of_each(documents)

    def query() -> str:
        return f"{QUERIES[0]} {next(numbers)}"

    return {
        "a cached request, 100 passages": lambda: reranker.rerank(query(), documents),
        "– its query": lambda: reranker.source.encode_query([query()], float("inf"), Deadline()),
        "– its fidelities": lambda: best_fidelities(
            reranker.feature_map, asked.tokens, scattered.tokens, scattered.offsets, scattered.scales
        ),
        "– its Gram matrix": lambda: gram(reranker.feature_map, states.pooled),
        "– its BM25": lambda: bm25(QueryTerms.of(query()), terms),
        f"{COLD} passages encoded": lambda: reranker.encoder.encode(next(cold)),
    }


def ratios(measured: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The median of each work's processor seconds over the workload's that ran just before."""
    found: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(ROUNDS):
        for name, work in measured.items():
            unit, own = seconds(workload), seconds(work)
            found[name].append(own / unit)
    return {name: round(median(values), 3) for name, values in found.items()}


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of all threads."""
    before = time.process_time()
    work()
    return time.process_time() - before


def threads() -> list[tuple[str, str]]:
    """Rows of what a server's threads take of a cached request, and the longest that its event loop answered nobody."""
    documents = open_passages().take(PASSAGES)
    requests = [post("/rerank", {"query": f"{QUERIES[0]} {at}", "documents": documents}) for at in range(REQUESTS)]
    with ours(engine__deadline_ms=0) as server:
        in_turn(server.port, requests[:10])
        before = by_thread(server.pid)
        in_turn(server.port, requests[10:])
        spent = {thread: s - before.get(thread, 0.0) for thread, s in by_thread(server.pid).items()}
        loop = spent.pop(server.pid)
        pause = longest_pause(server.port, requests[:20])
    each = 1e3 / (REQUESTS - 10)
    return [
        ("the event loop, ms of a processor a request", number(each * loop)),
        ("all other threads", number(each * sum(spent.values()))),
        ("the event loop's longest pause, ms", number(pause)),
    ]


def by_thread(pid: int) -> dict[int, float]:
    """Processor seconds of each thread of a process; the event loop's has the number of the process."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return {int(file.parent.name): int(file.read_text(encoding="ascii").split()[0]) / 1e9 for file in files}


def longest_pause(port: int, requests: list[Request]) -> float:
    """The most milliseconds that `GET /health` takes while the server answers these requests."""
    longest = 0.0
    with ThreadPoolExecutor(1) as thread, closing(Connection(port)) as probing:
        work = thread.submit(in_turn, port, requests)
        while not work.done():
            longest = max(longest, probing.ask(Request("/health")).ms)
            time.sleep(_PAUSE_S)
        work.result()
    return longest


def main(write: Annotated[bool, typer.Option(help="Make this the baseline of such processors.")] = False) -> None:
    """Measure, print and compare."""
    os.environ.setdefault("QRERANK_ENGINE__PROCESSORS", "1")
    reranker = open_models(Settings(), lambda *_: None).default
    reranker.warm_up()
    baselines, arithmetic = json.loads(BASELINE.read_text(encoding="utf-8")), reranker.encoder.arithmetic
    kept, found = baselines.get(arithmetic, {}), ratios(works(reranker))
    if write:
        baselines[arithmetic] = found
        text = ",\n".join(f'"{each}": {json.dumps(costs, ensure_ascii=False)}' for each, costs in baselines.items())
        BASELINE.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")
    worse = [name for name, ratio in found.items() if ratio > WORSE * kept.get(name, float("inf"))]
    rows = [
        (name, number(ratio), number(kept[name]) if name in kept else "none", "**worse**" if name in worse else "")
        for name, ratio in found.items()
    ]
    head = (f"times the NumPy workload, model in {arithmetic}", "now", "baseline", "")
    print(f"{table(head, rows)}\n\n{table(('', ''), threads())}")
    raise typer.Exit(bool(worse))
