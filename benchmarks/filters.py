"""What a filter costs: `python -m benchmarks.filters` prints the figures of docs/collections.md.

The documents have metadata of five fields and texts of 300 words; the vectors are random.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.report import table
from retrieval.index.faiss import FaissIndex
from retrieval.index.passage_index import Model
from retrieval.store.collection import Collection, CollectionSettings
from retrieval.store.filters import parse
from retrieval.store.rows import Document, Waiting

N, DIMENSION = 100_000, 384
_PUT_AT_ONCE = 10_000
FILTERS = {
    "eq, text": {"eq": {"lang": "de"}},
    "eq, a field in a field": {"eq": {"source.name": "b"}},
    "in, entries of a list": {"in": {"tags": ["a", "b"]}},
    "range, numbers": {"range": {"year": {"gte": 2000, "lt": 2004}}},
    "range, dates": {"range": {"published": {"gte": "2020-01-01"}}},
    "and of three": {"and": [{"eq": {"lang": "de"}}, {"range": {"year": {"gte": 2000}}}, {"not": {"exists": "none"}}]},
    "all documents": {"exists": "lang"},
}
SHARES = (0.0001, 0.01, 0.1, 0.5, 1.0)


def documents(n: int) -> Iterator[Document]:
    """Documents with random metadata."""
    drawn = random.Random(1)  # noqa: S311 - no secret
    text = "a word of the text " * 60
    for at in range(n):
        yield Document(
            f"document-{at:07d}",
            f"{text}{at}",
            metadata={
                "lang": drawn.choice(["de", "en", "fr"]),
                "year": drawn.randrange(1990, 2025),
                "tags": [drawn.choice("abcdefgh") for _ in range(3)],
                "published": f"{drawn.randrange(2010, 2025)}-0{drawn.randrange(1, 10)}-11T10:00:00+02:00",
                "source": {"name": drawn.choice("abc"), "size": drawn.random()},
            },
        )


def filled(folder: Path, n: int) -> Collection:
    """A collection whose database says that each document is one passage; there are no segments."""
    Collection.create(folder, CollectionSettings(Model("none", "none", "none", 1)))
    collection, some = Collection(folder), list[Document]()
    for document in documents(n):
        some.append(document)
        if len(some) == _PUT_AT_ONCE:
            collection.put(some)
            some.clear()
    collection.put(some)
    while waiting := collection.documents.waiting(_PUT_AT_ONCE):
        fresh = [Waiting(each.number, each.document) for each in waiting]
        collection.segments.add(fresh, range(len(fresh)), collection.segments.next_number())
    return collection


def milliseconds(work: Callable[[], object], times: int = 5) -> float:
    """The median of several runs."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return sorted(taken)[times // 2] * 1e3


def of_filters(collection: Collection) -> Iterator[tuple[str, str, str, str]]:
    """For each filter how many documents it leaves, and the milliseconds for the first time and again."""
    for label, written in FILTERS.items():
        wanted = parse(written)
        count = sum(map(len, collection.rows(wanted).values()))
        first = milliseconds(partial(collection.segments.rows, wanted.where()))
        again = milliseconds(partial(collection.rows, wanted))
        yield label, f"{count:,}", f"{first:.0f}", f"{again:.3f}"


def of_faiss() -> Iterator[tuple[str, str, str]]:
    """For each share of passages that a filter leaves how many these are, and the milliseconds of a search for 100."""
    rows = np.random.default_rng(1).standard_normal((N, DIMENSION)).astype(np.float32)
    index, query = FaissIndex.build(rows), rows[:1]
    drawn = np.random.default_rng(2).random(N)
    for share in SHARES:
        mask = drawn < share
        yield f"{share:.2%}", f"{int(mask.sum()):,}", f"{milliseconds(partial(index.search, query, 100, mask)):.1f}"
    yield "no filter", f"{N:,}", f"{milliseconds(partial(index.search, query, 100)):.1f}"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        collection = filled(Path(name) / "c", N)
        print(table((f"filter, {N:,} documents", "leaves", "ms", "ms, remembered"), list(of_filters(collection))))
        collection.close()
    print(f"\n{table(('FAISS, share that a filter leaves', 'passages', 'ms'), list(of_faiss()))}")


if __name__ == "__main__":
    main()
