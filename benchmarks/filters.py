"""What a filter costs: `python -m benchmarks.filters` prints the figures of docs/collections.md.

The documents have metadata of five fields and texts of 300 words.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.report import percentile, table, timed
from retrieval.index.passage_index import Model
from retrieval.store.collection import Collection, CollectionSettings
from retrieval.store.filters import parse
from retrieval.store.rows import Document, Waiting

N = 100_000
_PUT_AT_ONCE = 10_000
FILTERS = {
    "eq, text": {"eq": {"lang": "de"}},
    "in, entries of a list": {"in": {"tags": ["a", "b"]}},
    "range, numbers": {"range": {"year": {"gte": 2000, "lt": 2004}}},
    "range, dates": {"range": {"published": {"gte": "2020-01-01"}}},
    "and of three": {"and": [{"eq": {"lang": "de"}}, {"range": {"year": {"gte": 2000}}}, {"not": {"exists": "none"}}]},
}


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


def of_filters(collection: Collection) -> Iterator[tuple[str, str, str, str]]:
    """For each filter how many documents it leaves, and the milliseconds for the first time and again."""
    for label, written in FILTERS.items():
        wanted = parse(written)
        count = sum(map(len, collection.rows(wanted).values()))
        first = percentile(timed(partial(collection.segments.rows, wanted.where()), 5)[0], 0.5)
        again = percentile(timed(partial(collection.rows, wanted), 5)[0], 0.5)
        yield label, f"{count:,}", f"{first:.0f}", f"{again:.3f}"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        collection = filled(Path(name) / "c", N)
        print(table((f"filter, {N:,} documents", "leaves", "ms", "ms, remembered"), list(of_filters(collection))))
        collection.close()


if __name__ == "__main__":
    main()
