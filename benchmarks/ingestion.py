"""Indexing in stages, in one loop, and the encoder alone, in one run: `python -m benchmarks ingestion`.

Passages are of 216 tokens, none twice; the encoder alone gets their tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from app.engine.loader import open_encoder
from app.settings import Settings
from benchmarks.corpus import open_passages
from benchmarks.quality import COLLECTIONS
from benchmarks.report import number, on_this_machine, table
from retrieval.encoder.chunks import splitter
from retrieval.evaluation.beir import load
from retrieval.index.segment import BLOCK
from retrieval.index.segment import build as build_segment
from retrieval.store.indexer import build
from retrieval.store.pipeline import prepared
from retrieval.store.rows import Document, Waiting
from retrieval.text.bm25 import Terms
from retrieval.text.passages import Passage
from retrieval.text.splitters import Chunking


def main(count: int = 2048) -> None:
    """Measure so many passages, and print."""
    machine, encoder, by = on_this_machine(), open_encoder(Settings(), lambda *_: None), Chunking("sentence")
    texts = (text for name in ("cacm", "cisi", "scifact") for text in load(COLLECTIONS / name).documents)
    cut = open_passages(texts).take(count)
    passages = [Passage(str(at), "", each) for at, each in enumerate(cut)]
    waiting, tokens = [Waiting(at, Document(str(at), each)) for at, each in enumerate(cut)], encoder.tokenize(cut)

    def rate(name: str, work: Callable[[], object], beside: float = 0.0) -> float:
        begun = time.perf_counter()
        work()
        a_second = count / (time.perf_counter() - begun)
        rows.append((name, number(a_second), f"{a_second / beside:.2f}" if beside else ""))
        return a_second

    def split() -> list[Passage]:
        return [passage for some in splitter(encoder, by, "auto").passages(passages) for passage in some]

    def steps() -> None:
        contents = [passage.content for passage in split()]
        Terms.of_each(contents)
        [encoder.tokenize(contents[at : at + BLOCK]) for at in range(0, count, BLOCK)]

    rows: list[tuple[str, str, str]] = []
    steps()  # what is cached of words
    plain = rate("text preparation, step by step", steps)
    rate("text preparation of the indexer", lambda: list(prepared([waiting], encoder, by, "auto")), plain)
    alone = [tokens[at : at + BLOCK] for at in range(0, count, BLOCK)]
    limit = rate("the encoder alone", lambda: [encoder.encode_tokens(some) for some in alone])
    with TemporaryDirectory() as name:
        folder, quiet = Path(name), lambda *_: None
        rate("one loop", lambda: build_segment(folder / "s", split(), encoder, quiet), limit)
        rate("the indexer, database and all", lambda: build(folder / "c", passages, encoder, quiet, chunking=by), limit)
    print(f"{machine()}\n\n{table(('what', 'passages a second', 'ratio'), rows)}")
