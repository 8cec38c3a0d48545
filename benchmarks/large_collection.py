"""A collection of 100 000 passages beside the stack that people assemble: `make large` prints the table.

The passages are runs of 126 tokens from the development collections and Python's documentation, no passage twice; the
queries are the collections' own. The peer is ChromaDB for 100 candidates, whose vectors and query vectors it is given,
and the cross-encoder that FlashRank serves for their order. The collection is kept: what of it is there, whole or not
since the build was interrupted, is not built again.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count, islice
from pathlib import Path
from shutil import rmtree
from typing import Annotated, Any

import numpy as np
import orjson
import typer
from platformdirs import user_cache_path

from app.engine.loader import open_encoder
from app.settings import Settings
from benchmarks.corpus import open_passages
from benchmarks.cross_encoder import CrossEncoder, fetch
from benchmarks.quality import COLLECTIONS
from benchmarks.report import number, on_this_machine, spread, table, timed
from benchmarks.server import cpu_seconds, ours, qrerank
from benchmarks.wire import Request, drive, in_turn, post
from retrieval.encoder.protocol import Encoder
from retrieval.evaluation.beir import load
from retrieval.index.token_rows import pack, unpack
from retrieval.store.collection import Collection
from retrieval.store.snapshot import Snapshot
from retrieval.text.demo import demo_passages

NAMES = ("cacm", "cisi", "cosqa", "cranfield", "hotpotqa", "noveleval", "scifact")
TOKENS, SAMPLE, BLOCK = 126, 1024, 256
WARM_SECONDS, SECONDS, CLIENTS, WORKERS = 5.0, 20.0, (1, 16), (1, 2)
ROUNDS = 200
PEERS_QUERIES, STAGES_QUERIES, CANDIDATES = 20, 100, 100
PEER = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"


def write_corpus(file: Path, count: int) -> None:
    """Write so many passages as JSON lines."""
    texts = [text for name in NAMES for text in load(COLLECTIONS / name).documents]
    texts += [passage.content for passage in demo_passages()]
    file.parent.mkdir(parents=True, exist_ok=True)
    cut = open_passages(texts).take(count, TOKENS)
    lines = (orjson.dumps({"_id": str(at), "text": text}) for at, text in enumerate(cut))
    partial = file.with_suffix(".partial")
    partial.write_bytes(b"\n".join(lines) + b"\n")
    partial.rename(file)


def queries() -> list[str]:
    """The queries of all collections, in turn."""
    of_each = [load(COLLECTIONS / name).queries for name in NAMES]
    return [of[at] for at in range(max(map(len, of_each))) for of in of_each if at < len(of)]


def build(folder: Path, count: int) -> str:
    """Build the collection by the command line as far as it is not there; passages a second, as last measured."""
    stamp, corpus, first = folder / "speed", folder / "corpus.jsonl", folder / "first.jsonl"
    if not corpus.is_file():
        write_corpus(corpus, count)
    if not (folder / "collections" / "large").is_dir():
        with corpus.open("rb") as lines:
            first.write_bytes(b"".join(islice(lines, BLOCK)))
        qrerank(folder, "index", "build", "large", first)
    collection = Collection(folder / "collections" / "large")
    counts = collection.counts()
    missing, begun = count - counts.passages, time.perf_counter()
    collection.close()
    if missing > 0:  # a killed `index add` goes on where it was
        qrerank(folder, "index", "add", "large", corpus)
        stamp.write_text(number(missing / (time.perf_counter() - begun)), encoding="ascii")
    return stamp.read_text(encoding="ascii") if stamp.is_file() else "unknown"


def of_files(snapshot: Snapshot) -> list[tuple[str, str]]:
    """The rows of what is read of files: how many are open, and how long the states of candidates take."""
    some = np.random.default_rng(0).choice(len(snapshot), CANDIDATES, replace=False)
    packed = pack(snapshot.states(some).tokens)
    read = spread(timed(partial(snapshot.states, some), ROUNDS)[0])
    unpacked = spread(timed(partial(unpack, packed, snapshot.parts[0].segment.spec.token_dimension), ROUNDS)[0])
    return [
        ("segments; open files", f"{len(snapshot.parts)}; {sum(len(p.segment.files.sizes) for p in snapshot.parts)}"),
        (f"states of {CANDIDATES} passages, all; unpacking alone, p50 / p95 ms", f"{read}; {unpacked}"),
    ]


def searches(texts: Sequence[str]) -> Iterator[Request]:
    """Requests without end; no query comes twice, so that each is encoded."""
    for turn in count():
        for text in texts:
            query = f"{text} {turn}" if turn else text
            yield post("/v1/collections/large/search", {"query": query, "top_n": 10})


def of_ours(folder: Path, workers: int, supply: Iterator[Request]) -> list[tuple[str, str]]:
    """The rows of our server with so many processes: for one client, for several, and its memory."""
    rows, of = [], f"{workers} worker{'s' if workers > 1 else ''}"
    with ours(data_dir=folder, workers=workers) as server:
        drive(server.port, supply, CLIENTS[-1], WARM_SECONDS)
        answers = in_turn(server.port, islice(supply, STAGES_QUERIES))
        stages = [orjson.loads(answer.body)["meta"]["timings_ms"] for answer in answers]
        rows += [
            (f"{stage}, {of}, 1 client: p50 / p95 ms", spread([each.get(stage, 0.0) for each in stages]))
            for stage in stages[0]
        ]
        for clients in CLIENTS:
            before, load = cpu_seconds(server.pid), drive(server.port, supply, clients, SECONDS)
            spent = 1e3 * (cpu_seconds(server.pid) - before) / max(1, len(load.ms))
            figures = f"{number(load.per_second)}; {spread(load.ms)}; {number(spent)}; {load.errors}"
            what = f"search and rerank, {of}, {clients} client{'s' if clients > 1 else ''}"
            rows.append((f"{what}: a second; p50 / p95 ms; processor ms a search; errors", figures))
        rows.append((f"memory of the server, {of}, MiB", number(server.resident_mb())))
    return rows


def of_peer(folder: Path, encoder: Encoder, asked: Sequence[str]) -> list[tuple[str, str]]:
    """The rows of ChromaDB with the cross-encoder."""
    snapshot = Collection(folder / "collections" / "large").snapshot()
    rmtree(folder / "chroma", ignore_errors=True)
    np.save(folder / "vectors.npy", np.concatenate([part.segment.index.rows for part in snapshot.parts]))
    np.save(folder / "queries.npy", encoder.encode(asked, "query").pooled)
    command = [str(PEER), str(Path(__file__).with_name("chroma_peer.py")), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    peer: dict[str, Any] = json.loads(done.stdout)
    fetch()
    model, ms = CrossEncoder(), []
    for query, found, search_ms in zip(asked, peer["found"], peer["ms"], strict=True):
        texts = [passage.content for passage in snapshot.passages(np.array(found))]
        ms.append(search_ms + timed(partial(model.scores, query, texts))[0][0])
    return [
        ("ChromaDB: indexes given vectors, passages a second", number(len(snapshot) / peer["seconds"])),
        ("ChromaDB: search alone, p50 / p95 ms", spread(peer["ms"])),
        ("ChromaDB and cross-encoder, 1 client, p50 / p95 ms", spread(ms)),
        ("ChromaDB: kB of disk a passage, vectors alone", number(peer["bytes"] / len(snapshot) / 1e3)),
        ("ChromaDB: memory, MiB, without the cross-encoder", number(peer["memory"] / 2**20)),
    ]


def main(
    passages: Annotated[int, typer.Option(min=SAMPLE, help="How many.")] = 100_000,
    folder: Annotated[Path | None, typer.Option(help="Where they are kept; absent: the user's cache folder.")] = None,
    peers: Annotated[bool, typer.Option(help="Measure ChromaDB and the cross-encoder, too.")] = True,
) -> None:
    """Build, measure and print."""
    folder, machine = folder or user_cache_path("quantum-rerank") / f"large-{passages}", on_this_machine()
    built = build(folder, passages)
    encoder = open_encoder(Settings(), lambda *_: None)
    with (folder / "corpus.jsonl").open(encoding="utf-8") as lines:
        sample = [json.loads(line)["text"] for line in islice(lines, SAMPLE)]
    alone = 1e3 * SAMPLE / timed(partial(encoder.encode, sample))[0][0]  # passages a second, where nothing else is done
    collection = Collection(folder / "collections" / "large")
    passages = collection.counts().passages
    rows = [
        ("passages; tokens of each", f"{passages:,}; {TOKENS}"),
        ("indexed by `qrerank index add`, passages a second, when it was built", built),
        ("the encoder alone, passages a second; tokens a second", f"{number(alone)}; {number(alone * TOKENS)}"),
        ("kB of disk a passage, texts and all", number(collection.bytes() / passages / 1e3)),
        *of_files(collection.snapshot()),
    ]
    asked = queries()
    collection.close()
    supply = searches(asked)
    for workers in WORKERS:
        rows += of_ours(folder, workers, supply)
    rows += of_peer(folder, encoder, asked[:PEERS_QUERIES]) if peers and PEER.is_file() else []
    print(f"{machine()}\n\n{table(('what', 'figure'), rows)}")
