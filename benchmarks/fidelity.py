"""Closed form beside register simulation: `python -m benchmarks.fidelity` prints the tables of docs/quantum.md.

Late interaction of 20 query tokens with 100 documents of 138 tokens, from int8 rows to scores, and the Gram matrix of
pooled rows; on states of the default model for the demo collection and on drawn ones. Errors are against the
simulation in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.settings import Settings
from quantum.feature_maps import FeatureMap, feature_map
from quantum.kernel import gram
from quantum.maxsim import late_interaction, score_documents
from quantum.vectors import directions
from retrieval.encoder.prepare import load_encoder
from retrieval.encoder.states import quantise
from retrieval.text.demo import demo_passages

DOCUMENTS, TOKENS, QUERY_TOKENS, WIDTH = 100, 138, 20, 384
GRAM_ROWS = (100, 300, 1000)
LATE_TARGET_MS = 15
GRAM_TARGETS_MS = {100: 2, 1000: 60}
OFFSETS = np.arange(DOCUMENTS + 1) * TOKENS
QUESTION = (
    "how does python decide which method of a class it calls when several base classes define a method of one name"
)

Rows = NDArray[Any]
States = tuple[Rows, Rows, Rows]  # query tokens (20, D) int8, document tokens (13 800, D) int8, pooled (1000, P)


def model_states() -> States:
    """States of the default model: a question, and half passages of the demo collection, their tokens in one run."""
    encoder = load_encoder("all-MiniLM-L6-v2", Settings().model_dir, lambda *_: None)
    texts = [passage.content for passage in demo_passages()[: GRAM_ROWS[-1] // 2]]
    halves = [half for text in texts for half in (text[: len(text) // 2], text[len(text) // 2 :])]
    documents, question = encoder.encode(halves), encoder.encode([QUESTION], "query")
    assert len(question.tokens) >= QUERY_TOKENS
    return question.tokens[:QUERY_TOKENS], documents.tokens[: DOCUMENTS * TOKENS], documents.pooled


def drawn_states(seed: int = 20) -> States:
    """Drawn rows spread like a model's: common to all, topics of a text of 13 tokens, noise, and four wide features."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(0, 0.2, WIDTH))
    scale[:4] *= 1.5
    common, topics = 0.7 * rng.normal(size=WIDTH), rng.normal(size=(20, WIDTH)) / 20**0.5

    def rows(texts: int) -> Rows:
        topic = np.repeat(rng.normal(size=(texts, 20)) @ topics, 13, axis=0)
        return (common + topic + 1.5 * rng.normal(size=topic.shape)) * scale

    query, tokens = rows(2)[:QUERY_TOKENS], rows(DOCUMENTS * TOKENS // 13 + 1)
    pooled = tokens[: 13 * GRAM_ROWS[-1]].reshape(-1, 13, WIDTH).mean(axis=1)
    tokens = tokens[: DOCUMENTS * TOKENS]
    return quantise(query.astype(np.float32)), quantise(tokens.astype(np.float32)), directions(pooled, np.float64)


def simulate(fm: FeatureMap, query: Rows, tokens: Rows, dtype: type = np.float32) -> NDArray[np.float64]:
    """Scores from int8 rows by simulating every pair."""
    return late_interaction(fm.log_fidelity(directions(query, dtype), directions(tokens, dtype)), OFFSETS)


def share_examined(fm: FeatureMap, query: Rows, tokens: Rows) -> float:
    """Of all pairs, the share whose bound reaches the fidelity of the nearest token: what the closed form looks at."""
    q, d = directions(query, np.float64), directions(tokens, np.float64)
    shape = (QUERY_TOKENS, DOCUMENTS, TOKENS)
    cosines, log_f = (q @ d.T).reshape(shape), fm.log_fidelity(q, d).reshape(shape)
    nearest = np.take_along_axis(log_f, cosines.argmax(axis=2, keepdims=True), axis=2)
    return float((-(fm.bandwidth**2) * (1 - cosines) / 2 >= nearest).mean())


def timed(run: Callable[[], Rows], repeats: int) -> str:
    """Milliseconds of `repeats` calls after one to warm up: p50 and p95, as two cells."""
    run()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        run()
        times.append(1000 * (perf_counter() - start))
    return f"{np.median(times):.2f} | {np.quantile(times, 0.95):.2f}"


def report(fm: FeatureMap, name: str, states: States) -> None:
    """Print one line for late interaction and one for each Gram matrix."""
    query, tokens, pooled = states
    exact = simulate(fm, query, tokens, np.float64)
    error = np.abs(score_documents(fm, query, tokens, OFFSETS) / exact - 1).max()
    closed = timed(lambda: score_documents(fm, query, tokens, OFFSETS), 100)
    simulated = timed(lambda: simulate(fm, query, tokens), 10)
    share = f"{share_examined(fm, query, tokens):.2%} of pairs"
    print(f"| late interaction, {name}, {share} | {closed} | {simulated} | {LATE_TARGET_MS} | {error:.0e} |")
    for n in GRAM_ROWS:
        rows = pooled[:n].astype(np.float64)
        error = np.abs(gram(fm, rows) / fm.fidelity(rows, rows) - 1).max()
        closed, simulated = timed(partial(gram, fm, rows), 2000 // n + 20), timed(partial(fm.fidelity, rows, rows), 5)
        print(f"| Gram matrix, {name}, n = {n} | {closed} | {simulated} | {GRAM_TARGETS_MS.get(n, '')} | {error:.0e} |")


def main() -> None:
    """Print the table, in milliseconds."""
    fm = feature_map()
    print(f"{QUERY_TOKENS} query tokens, {DOCUMENTS} documents of {TOKENS} tokens, milliseconds\n")
    print("| | closed form p50 | p95 | simulation p50 | p95 | target | largest relative error |")
    print("|---|---|---|---|---|---|---|")
    report(fm, "model", model_states())
    report(fm, "drawn", drawn_states())


if __name__ == "__main__":
    main()
