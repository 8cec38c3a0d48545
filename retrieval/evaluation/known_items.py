"""Queries without judgements: a document's own title or first sentence, with which that document must be found again.

The text that becomes a query is taken away from the documents, from all of them, or each method would find it word by
word.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from retrieval.errors import DataError
from retrieval.evaluation.beir import BeirDataset, read_passages
from retrieval.text.passages import Passage
from retrieval.text.sentences import VISIBLE, sentences
from retrieval.text.words import words_of

KnownItem = Literal["title", "sentence"]

LEAST_WORDS = 3  # of a query: with fewer many documents are meant
_NAMES = {"title": "title", "sentence": "first sentence"}


def known_items(path: Path, by: KnownItem, count: int = 200, seed: int = 0) -> BeirDataset:
    """Make a test collection of a folder that holds corpus.jsonl alone, or .txt and .md files.

    Each query is the title or the first sentence of a document, of at least three words, unlike those of all others,
    and nowhere else in that document. The document, without it, is the relevant one, and its id is the query's. Others
    may be as good an answer: what counts is the difference between methods. The collection's notes count the documents
    that make no query, and why.

    Args:
        path: The folder.
        by: What becomes a query.
        count: At most so many queries, chosen at random, in the order of the corpus.
        seed: Of the choice; the same seed chooses the same ones.

    Raises:
        DataError: The corpus cannot be read, or no document can be asked for.
    """
    file = path / "corpus.jsonl"
    source = file if file.exists() else path
    corpus = list(read_passages(source))
    parts = [_parted(passage, by) for passage in corpus]
    times = Counter(_normal(query) for query, _ in parts)
    faults = [_fault(query, rest, times[_normal(query)], by) for query, rest in parts]
    usable = [at for at, fault in enumerate(faults) if fault is None]
    if not usable:
        other = next(name for name in _NAMES if name != by)
        raise DataError(
            f"{source}: no document has a {_NAMES[by]} of its own with at least {LEAST_WORDS} words and "
            f"more text besides; try --known-item {other}"
        )
    chosen = sorted(random.Random(seed).sample(usable, min(count, len(usable))))  # noqa: S311 - the same in every run
    notes = [f"known items: each query is the {_NAMES[by]} of a document, and only that document counts (seed {seed})"]
    if left_out := Counter(fault for fault in faults if fault):
        why = ", ".join(f"{number} {fault}" for fault, number in left_out.most_common())
        notes.append(f"{left_out.total()} of {len(parts)} documents make no query: {why}")
    return _dataset(path, [rest for _, rest in parts], {corpus[at].id: parts[at][0] for at in chosen}, notes)


def _fault(query: str, rest: Passage, times: int, by: KnownItem) -> str | None:
    """Why a document makes no query; None if it makes one. times: how many documents have this query."""
    if len(words_of(query)) < LEAST_WORDS:
        return f"without a {_NAMES[by]} of at least {LEAST_WORDS} words"
    if times > 1:
        return f"with a {_NAMES[by]} that another has, too"
    if _normal(query) in _normal(rest.content):
        return f"with a {_NAMES[by]} that its text repeats"
    return None if VISIBLE.search(rest.text) else "without more text besides"


def _dataset(path: Path, rests: Sequence[Passage], queries: dict[str, str], notes: Sequence[str]) -> BeirDataset:
    return BeirDataset(
        path.resolve().name,
        [passage.id for passage in rests],
        [passage.content for passage in rests],
        list(queries),
        list(queries.values()),
        {name: {name: 1.0} for name in queries},
        tuple(notes),
        rests,
    )


def _parted(passage: Passage, by: KnownItem) -> tuple[str, Passage]:
    """What may become a query, and the document without it."""
    if by == "title":
        return passage.title.strip(), Passage(passage.id, "", passage.text)
    found = sentences(passage.text)
    if len(found) < 2:
        return "", passage
    (start, end), (rest, _) = found[:2]
    return passage.text[start:end], Passage(passage.id, passage.title, passage.text[rest:])


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
