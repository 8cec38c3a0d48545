"""An inverted index on disk: for each term the passages that hold it, scored by BM25.

Zobel & Moffat 2006, "Inverted files for text search engines", DOI 10.1145/1132956.1132959. The formula is that of
`retrieval.text.bm25.bm25`, and so are the scores, over all passages of a collection and over some of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.array_files import save_array, write_entries
from retrieval.errors import SegmentDamaged
from retrieval.fusion import ranking
from retrieval.index.held_files import HeldFiles, load_integers
from retrieval.text.bm25 import Matches, QueryTerms, Terms, bm25_of, damping, gains, main_language, weights
from retrieval.text.languages import terms

FILE = "postings.bin"
_KEYS, _STARTS, _LANGUAGES = "postings_keys.npy", "postings_starts.npy", "postings_languages.npy"
_POSTING = np.dtype([("passage", "<i4"), ("count", "<u2")])
_NO_KEYS = np.zeros(0, dtype=np.uint64)
_MOST = np.iinfo(np.uint16).max  # occurrences of a term in a passage that are counted


class InvertedIndex:
    """The index of passages that come one after the other; held in memory until it is written."""

    def __init__(self) -> None:
        """Start without passages."""
        self._count, self._languages = 0, list[str]()
        self._keys, self._postings = list[NDArray[np.uint64]](), list[NDArray[np.void]]()

    def add(self, passages: Sequence[Terms]) -> None:
        """Add n ≥ 1 passages."""
        owners = np.repeat(np.arange(len(passages)), [len(passage.numbers) for passage in passages])
        keys = np.concatenate([_keys(passage.language, passage.numbers) for passage in passages])
        order = np.lexsort((owners, keys))
        keys, owners = keys[order], owners[order]
        begins = np.flatnonzero(np.append(True, (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1]))[: len(keys)])
        postings = np.empty(len(begins), dtype=_POSTING)
        postings["passage"] = owners[begins] + self._count
        postings["count"] = np.minimum(np.diff(begins, append=len(keys)), _MOST)
        self._keys.append(keys[begins])
        self._postings.append(postings)
        self._count += len(passages)
        self._languages += (passage.language for passage in passages)

    def write(self, folder: Path) -> dict[str, int]:
        """Write the index, and return how many passages are in each language."""
        keys = np.concatenate(self._keys)
        order = np.argsort(keys, kind="stable")  # passages of one term keep their order
        different, starts = np.unique(keys[order], return_index=True)
        with (folder / FILE).open("wb") as file:
            write_entries(file, np.concatenate(self._postings)[order])
        save_array(folder / _KEYS, different)
        save_array(folder / _STARTS, np.append(starts, len(order)).astype(np.int64))
        languages = [_code(language) for language in self._languages]
        save_array(folder / _LANGUAGES, np.array(languages, dtype=np.uint32))
        return dict(Counter(self._languages))


def _keys(language: str, numbers: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """The (t,) keys of the terms of a language: its code in the upper half, the term in the lower one."""
    return np.uint64(_code(language) << 32) | numbers.astype(np.uint64)


def _code(language: str) -> int:
    """A language in 32 bits, by which languages are ordered as by their names."""
    return int.from_bytes(language.encode().ljust(4, b"\0"), "big")


def _language(code: int) -> str:
    return code.to_bytes(4, "big").rstrip(b"\0").decode()


class Postings:
    """The inverted index of an open segment. Thread-safe."""

    def __init__(self, folder: Path, files: HeldFiles, lengths: NDArray[np.int64]) -> None:
        """Open the index that `InvertedIndex` wrote.

        Args:
            folder: Its folder.
            files: The open files of the folder.
            lengths: (n,) the terms in each passage.

        Raises:
            OSError, ValueError: A file is missing or damaged.
        """
        self._files, self.lengths = files, lengths
        self.keys, self.starts = load_integers(folder / _KEYS, np.uint64), load_integers(folder / _STARTS)
        self.codes = load_integers(folder / _LANGUAGES, np.uint32)  # (n,) of the language of each passage
        rises = bool(np.all(self.keys[1:] > self.keys[:-1]))
        if not rises or self.starts.shape != (len(self.keys) + 1,) or bool(np.any(np.diff(self.starts) <= 0)):
            raise ValueError(f"{_KEYS} and {_STARTS} are damaged")
        if self.codes.shape != lengths.shape:
            raise ValueError(f"{_LANGUAGES} is damaged")

    @property
    def size(self) -> int:
        """The size of the file in bytes, as it should be."""
        return int(self.starts[-1]) * _POSTING.itemsize

    def missing(self, positions: NDArray[np.int64], passages: Sequence[Terms]) -> int:
        """Return how many different terms of the passages at (m,) positions are not in the index."""
        lacking = 0
        for position, passage in zip(positions.tolist(), passages, strict=True):
            keys = _keys(passage.language, np.unique(passage.numbers))
            lacking += len(keys)
            for _, held in self.lists(keys):
                at = np.searchsorted(held["passage"], position)
                lacking -= bool(at < len(held) and held["passage"][at] == position)
        return lacking

    def lists(self, keys: NDArray[np.uint64]) -> Iterator[tuple[int, NDArray[np.void]]]:
        """Yield the postings of those of the (m,) terms that a passage holds, each with its place among the terms."""
        if not len(self.keys):
            return
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        for at in np.flatnonzero(self.keys[places] == keys).tolist():
            yield at, self._read(int(places[at]))

    def _read(self, place: int) -> NDArray[np.void]:
        start, end = self.starts[place : place + 2].tolist()
        content = self._files.read(FILE, start * _POSTING.itemsize, (end - start) * _POSTING.itemsize)
        found = np.frombuffer(content, dtype=_POSTING)
        if found["passage"][0] < 0 or found["passage"][-1] >= len(self.lengths):
            raise SegmentDamaged(f"{FILE} names passages that do not exist")
        return found


Held = tuple[NDArray[np.int64], NDArray[np.uint16]]  # positions of the passages that hold a word, and how often


class WordSearch:
    """n passages in several indexes, searched as if they were in one. Thread-safe; it never changes."""

    def __init__(self, indexes: Sequence[Postings], allowed: Sequence[NDArray[np.bool_] | None]) -> None:
        """Take what does not depend on the query.

        Args:
            indexes: One after the other; positions count through all of them.
            allowed: For each one (n_i,) which passages are there; None for all. Only those are counted by the
                statistics.
        """
        self._indexes = indexes
        self._starts = np.cumsum([0, *(len(index.lengths) for index in indexes)]).tolist()
        self.lengths = np.concatenate([np.zeros(0, dtype=np.int64), *(index.lengths for index in indexes)])
        self.codes = np.concatenate([np.zeros(0, dtype=np.uint32), *(index.codes for index in indexes)])
        self._there: NDArray[np.bool_] | None = None
        if any(part is not None and not part.all() for part in allowed):
            parts = zip(indexes, allowed, strict=True)
            self._there = np.concatenate([np.ones(len(i.lengths), dtype=bool) if p is None else p for i, p in parts])
        counted = self.lengths if self._there is None else self.lengths[self._there]
        self.count = len(counted)
        self.damping = damping(self.lengths, mean=float(counted.mean()) if len(counted) else 0.0)
        codes, counts = np.unique(self.codes if self._there is None else self.codes[self._there], return_counts=True)
        self.languages = dict(zip(map(_language, codes.tolist()), counts.tolist(), strict=True))

    def lists(self, query: QueryTerms) -> list[Held]:
        """Return the passages that hold each of the m words of a query; SegmentDamaged if they cannot be read."""
        keys = [_keys(language, terms(query.words, language)) for language in self.languages]
        different, first = np.unique(np.concatenate([_NO_KEYS, *keys]), return_index=True)  # some words may be one term
        words = (first % max(1, len(query.words))).tolist()
        found: list[list[Held]] = [[] for _ in query.words]
        for start, index in zip(self._starts, self._indexes, strict=False):
            for at, held in index.lists(different):
                found[words[at]].append((held["passage"] + np.int64(start), held["count"]))
        return [self._joined(lists) for lists in found]

    def _joined(self, lists: Sequence[Held]) -> Held:
        """The lists of a word in one, without passages that are not there."""
        if not lists:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint16)
        passages, counts = (np.concatenate(each) for each in zip(*lists, strict=True))
        if self._there is None:
            return passages, counts
        kept = self._there[passages]
        return passages[kept], counts[kept]


class QueryWords:
    """The m words of one query in a collection, each looked up once. For one thread."""

    def __init__(self, index: WordSearch, query: QueryTerms) -> None:
        """Look nothing up yet."""
        self._index, self._query = index, query

    @cached_property
    def _lists(self) -> list[Held]:
        return self._index.lists(self._query)

    def search(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the positions (k',) of the passages with the highest BM25 scores above 0, and the scores; k' ≤ k.

        Best first, ties by position. SegmentDamaged if an index cannot be read.
        """
        index, found = self._index, self._lists
        df = np.array([len(passages) for passages, _ in found], dtype=np.float64)
        of_words = weights(self._query, main_language(self._query, index.languages), index.count, df)
        scores = np.zeros(len(index.lengths))
        for (passages, counts), weight in zip(found, of_words.tolist(), strict=True):
            scores[passages] += gains(counts, index.damping[passages]) * weight
        return _best(scores, k, [passages for passages, _ in found])

    def best(self, k: int) -> NDArray[np.int64]:
        """See `passage_index.Words.best`."""
        return self.search(k)[0]

    def matches(self, positions: NDArray[np.int64]) -> Matches:
        """See `passage_index.Words.matches`."""
        m, place = len(self._lists), np.full(len(self._index.lengths), -1, dtype=np.int32)  # of a passage among these
        place[positions] = np.arange(len(positions))
        cells, counts = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.uint16)]
        for word, (passages, times) in enumerate(self._lists):
            places = place[passages]
            at = np.flatnonzero(places >= 0)
            cells.append(places[at].astype(np.int64) * m + word)
            counts.append(times[at])
        joined = np.concatenate(cells)
        rising, codes = np.argsort(joined), self._index.codes[positions]
        members = {_language(code): np.flatnonzero(codes == code) for code in np.unique(codes).tolist()}
        occurrences = joined[rising], np.concatenate(counts)[rising]
        return bm25_of(self._query, occurrences, self._index.lengths[positions], members)


def _best(
    scores: NDArray[np.float64], k: int, lists: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The positions of the k highest scores above 0, and the scores. lists: of positions that have one."""
    # The k-th best of any list is reached by k passages, so that few of all passages are left to look at.
    shortest = min((each for each in lists if len(each) >= k), key=len, default=None)
    floor = 0.0 if shortest is None else _kth(scores[shortest], k)
    matched = np.flatnonzero(scores >= floor if floor > 0 else scores)
    if len(matched) > k:
        values = scores[matched]
        matched = matched[values >= _kth(values, k)]
    order = matched[ranking(scores[matched])[:k]]
    return order, scores[order]


def _kth(values: NDArray[np.float64], k: int) -> float:
    """The k-th highest of at least k values."""
    return float(np.partition(values, len(values) - k)[len(values) - k])
