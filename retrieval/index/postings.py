"""An inverted index on disk: for each term the passages that hold it, searched by BM25 over the whole collection.

Zobel & Moffat 2006, "Inverted files for text search engines", DOI 10.1145/1132956.1132959. The formula is that of
`retrieval.text.bm25.bm25`, and so are the scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import CollectionError
from retrieval.fusion import ranking
from retrieval.index.held_files import HeldFiles, load_integers
from retrieval.text.bm25 import QueryTerms, Terms, damping, gains, main_language, weights
from retrieval.text.languages import terms

FILE = "postings.bin"
_KEYS, _STARTS = "postings_keys.npy", "postings_starts.npy"
_POSTING = np.dtype([("passage", "<i4"), ("count", "<u2")])
_MOST = np.iinfo(np.uint16).max  # occurrences of a term in a passage that are counted


def write_postings(folder: Path, passages: Iterable[Terms]) -> dict[str, int]:
    """Write the index of n passages, and return how many of them are in each language."""
    keys, owners, counts, languages = [], [], [], dict[str, int]()
    for at, passage in enumerate(passages):
        found, repeats = np.unique(passage.numbers, return_counts=True)
        keys.append(_keys(passage.language, found))
        owners.append(np.full(len(found), at, dtype="<i4"))
        counts.append(np.minimum(repeats, _MOST).astype("<u2"))
        languages[passage.language] = languages.get(passage.language, 0) + 1
    all_keys = np.concatenate(keys)
    order = np.argsort(all_keys, kind="stable")  # passages of one term keep their order
    postings = np.empty(len(order), dtype=_POSTING)
    postings["passage"], postings["count"] = np.concatenate(owners)[order], np.concatenate(counts)[order]
    different, starts = np.unique(all_keys[order], return_index=True)
    postings.tofile(folder / FILE)
    np.save(folder / _KEYS, different)
    np.save(folder / _STARTS, np.append(starts, len(order)).astype(np.int64))
    return languages


def _keys(language: str, numbers: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """The (t,) keys of the terms of a language: its code in the upper half, the term in the lower one."""
    code = np.uint64(int.from_bytes(language.encode().ljust(4, b"\0"), "big"))
    return (code << np.uint64(32)) | numbers.astype(np.uint64)


class Postings:
    """The inverted index of an open collection. Thread-safe."""

    def __init__(
        self, folder: Path, files: HeldFiles, lengths: NDArray[np.int64], languages: Mapping[str, int]
    ) -> None:
        """Open the index that `write_postings` wrote.

        Args:
            folder: Its folder.
            files: The open files of the folder.
            lengths: (n,) the terms in each passage.
            languages: How many passages are in each language.

        Raises:
            OSError, ValueError: A file is missing or damaged.
        """
        self._files, self.lengths, self.languages = files, lengths, languages
        self.keys, self.starts = load_integers(folder / _KEYS, np.uint64), load_integers(folder / _STARTS)
        rises = bool(np.all(self.keys[1:] > self.keys[:-1]))
        if not rises or self.starts.shape != (len(self.keys) + 1,) or bool(np.any(np.diff(self.starts) <= 0)):
            raise ValueError(f"{_KEYS} and {_STARTS} are damaged")

    @property
    def size(self) -> int:
        """The size of the file in bytes, as it should be."""
        return int(self.starts[-1]) * _POSTING.itemsize

    def missing(self, positions: NDArray[np.int64], passages: Sequence[Terms]) -> int:
        """Return how many different terms of the passages at (m,) positions are not in the index."""
        lacking = 0
        for position, passage in zip(positions.tolist(), passages, strict=True):
            for key in _keys(passage.language, np.unique(passage.numbers)):
                owners = self._list(key)["passage"]
                at = np.searchsorted(owners, position)
                lacking += bool(at == len(owners) or owners[at] != position)
        return lacking

    def of(self, query: QueryTerms) -> list[list[NDArray[np.void]]]:
        """Return the postings of each word of a query in each language: passages and how often they hold it."""
        by_language = [_keys(language, terms(query.words, language)) for language in sorted(self.languages)]
        return [[self._list(key) for key in keys] for keys in zip(*by_language, strict=True)]

    def _list(self, key: np.uint64) -> NDArray[np.void]:
        """The postings of a term, none of one that no passage holds."""
        at = int(np.searchsorted(self.keys, key))
        if at == len(self.keys) or self.keys[at] != key:
            return np.empty(0, dtype=_POSTING)
        start, end = self.starts[at : at + 2].tolist()
        content = self._files.read(FILE, start * _POSTING.itemsize, (end - start) * _POSTING.itemsize)
        found = np.frombuffer(content, dtype=_POSTING)
        if found["passage"][0] < 0 or found["passage"][-1] >= len(self.lengths):
            raise CollectionError(f"{FILE} names passages that do not exist")
        return found


def search(
    indexes: Sequence[Postings], allowed: Sequence[NDArray[np.bool_] | None], query: QueryTerms, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Search n passages in several indexes as if they were in one.

    Args:
        indexes: One after the other; positions count through all of them.
        allowed: For each one (n_i,) which passages are there; None for all. Only those are counted by the statistics.
        query: What is searched.
        k: How many passages.

    Returns:
        The positions (k',) of the passages with the highest BM25 scores above 0, best first, ties by position, and the
        scores; k' ≤ k.

    Raises:
        CollectionError: An index cannot be read.
    """
    lengths = np.concatenate([index.lengths for index in indexes])
    there = np.concatenate(
        [
            np.ones(len(index.lengths), dtype=bool) if part is None else part
            for index, part in zip(indexes, allowed, strict=True)
        ]
    )
    starts = np.cumsum([0, *(len(index.lengths) for index in indexes)]).tolist()
    found: list[list[tuple[NDArray[np.int64], NDArray[np.uint16]]]] = [[] for _ in query.words]  # by word
    for start, index in zip(starts, indexes, strict=False):
        for word, lists in enumerate(index.of(query)):
            for held in lists:
                passages = held["passage"] + start
                kept = there[passages]
                found[word].append((passages[kept], held["count"][kept]))
    df = np.array([sum(len(passages) for passages, _ in lists) for lists in found], dtype=np.float64)
    languages = Counter[str]()
    for index in indexes:
        languages.update(index.languages)
    of_words = weights(query, main_language(query, languages), int(there.sum()), df)
    damped, scores = damping(lengths, mean=lengths[there].mean() if there.any() else 0.0), np.zeros(len(lengths))
    for occurrences, weight in zip(found, of_words.tolist(), strict=True):
        for passages, tf in occurrences:
            scores[passages] += gains(tf, damped[passages]) * weight
    return _best(scores, k)


def _best(scores: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The positions of the k highest scores above 0, and the scores."""
    k = min(k, int(np.count_nonzero(scores)))
    if k == 0:
        return np.empty(0, dtype=np.int64), np.empty(0)
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    candidates = np.flatnonzero(scores >= least)
    order = candidates[ranking(scores[candidates])[:k]]
    return order, scores[order]
