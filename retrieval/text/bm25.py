"""BM25 over the candidates of one request, whose statistics are blended with those of their language.

Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", DOI 10.1561/1500000019, with the
non-negative inverse document frequency log(1 + …). A few candidates say little about how rare a word is, so they are
counted together with 100 imagined passages of their language, in which words are as frequent as in the language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.text.languages import AUTO, NONE, STEMMERS, detect, frequencies, terms
from retrieval.text.limits import runs
from retrieval.text.words import words_of

K1, B = 1.2, 0.75  # term frequency saturation, length normalisation
_IMAGINED = 100  # passages
_IMAGINED_WORDS = 150  # of each
_COMMON = 10**-2.8  # of a language's words: a more frequent one ("the", "what") is left out of a query that has others
_FALLBACK = "en"  # where neither the documents nor the query tell their language
_CODE_BYTES = 4
_TERMS_AT_ONCE = 2**16  # of documents
_CELLS = 2**20  # cells of a (documents, words) block that is scored at once


@dataclass(frozen=True)
class Terms:
    """The terms of a text, as `languages.terms` gives them for its language."""

    language: str  # a code or `NONE`
    numbers: NDArray[np.uint32]  # (t,)

    def to_bytes(self) -> bytes:
        """Return the language in four bytes, then the numbers, little-endian."""
        return self.language.encode().ljust(_CODE_BYTES, b"\0") + self.numbers.astype("<u4", copy=False).tobytes()

    @staticmethod
    def from_bytes(data: bytes | memoryview) -> Terms:
        """Return the terms that `to_bytes` wrote; ValueError if they are damaged."""
        language = str(data[:_CODE_BYTES], "ascii").rstrip("\0")
        return Terms(language, np.frombuffer(data, "<u4", offset=_CODE_BYTES).astype(np.uint32))

    @staticmethod
    def count(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many terms are in records of (n,) bytes, from `to_bytes`."""
        return (sizes - _CODE_BYTES) // 4

    @staticmethod
    def of(text: str, language: str = AUTO) -> Terms:
        """Return the terms of a text. language: a code, `NONE`, or `AUTO` to detect it."""
        words = words_of(text)
        if language != AUTO:
            return Terms(language, terms(words, language))
        plain = terms(words, NONE)
        language = detect(plain)
        return Terms(language, terms(words, language) if language in STEMMERS else plain)


NO_TERMS = Terms(NONE, np.zeros(0, dtype=np.uint32))


@dataclass(frozen=True)
class QueryTerms:
    """The different words of a query, without common ones. They are stemmed as each document is."""

    words: Sequence[str]  # (m,)
    repeats: NDArray[np.float64]  # (m,) how often each one occurs
    language: str  # a code or `NONE`
    length: int  # words in the query, common ones among them; at least 1

    @staticmethod
    def of(text: str, language: str = AUTO) -> QueryTerms:
        """Return the terms of a query. language: a code, `NONE`, or `AUTO` to detect it."""
        words = words_of(text, query=True)
        plain = terms(words, NONE)
        language = detect(plain) if language == AUTO else language
        is_rare = frequencies(plain, _known(language)) < _COMMON
        stem_of = dict(zip(words, terms(words, language).tolist(), strict=True))
        counts = Counter(stem_of[word] for word in compress(words, is_rare)) or Counter(stem_of.values())
        word_of = {stem: word for word, stem in reversed(stem_of.items())}
        return QueryTerms(
            [word_of[stem] for stem in counts], np.array([*counts.values()], dtype=float), language, max(1, len(words))
        )

    def shares(self, language: str) -> NDArray[np.float64]:
        """Return which share of a language's passages holds each word: (m,) in (0, 1)."""
        return -np.expm1(-_IMAGINED_WORDS * frequencies(self._plain, language))

    def rarity(self, language: str) -> NDArray[np.float64]:
        """Return the weight of each word in a document's coverage: (m,) ≥ 0, of sum 1."""
        shares = self.shares(_known(language, self.language))
        weights: NDArray[np.float64] = np.log1p((1 - shares) / shares) * self.repeats
        weights /= weights.sum()
        return weights

    @cached_property
    def _plain(self) -> NDArray[np.uint32]:
        return terms(self.words, NONE)


@dataclass(frozen=True)
class Matches:
    """How well n documents match a query's words."""

    scores: NDArray[np.float64]  # (n,) BM25, ≥ 0; comparable within one request only
    coverage: NDArray[np.float64]  # (n,) in [0, 1]: the share of the query's words, weighted by their rarity


def bm25(query: QueryTerms, documents: Sequence[Terms], k1: float = K1, b: float = B) -> Matches:
    """Score n documents for a query.

    score(d) = Σ_t idf(t) · tf·(k1 + 1) / (tf + k1·(1 − b + b·|d|/avg|d|)), idf(t) = log(1 + (n − df + ½)/(df + ½)),
    summed over the words of the query, with repetitions; n and df count the documents and the imagined passages.

    Args:
        query: The words of the query.
        documents: The terms of each document.
        k1: Term frequency saturation, above 0.
        b: Length normalisation, in [0, 1].

    Returns:
        Scores and coverage; zeros for a query without words.

    Raises:
        ValueError: k1 or b is out of range.
    """
    if not (k1 > 0 and 0 <= b <= 1):
        raise ValueError(f"BM25 needs k1 > 0 and 0 <= b <= 1, got k1={k1}, b={b}")
    n, m = len(documents), len(query.words)
    languages, of = np.unique([document.language for document in documents], return_inverse=True)
    cells, counts = _occurrences(query, documents, languages, of)
    scores, coverage = np.zeros(n), np.zeros(n)
    if not cells.size:
        return Matches(scores, coverage)
    main = main_language(query, dict(zip(languages.tolist(), np.bincount(of).tolist(), strict=True)))
    of_words = weights(query, main, n, np.bincount(cells % m, minlength=m))
    lengths = damping(np.array([len(document.numbers) for document in documents]), k1, b)
    rarity = np.array([query.rarity(language) for language in languages])  # (l, m)
    step = max(_CELLS // m, 16)  # rows of one block; usually all rows
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        block = slice(*np.searchsorted(cells, [start * m, rows.stop * m]))
        tf = np.bincount(cells[block] - start * m, counts[block], (rows.stop - start) * m).reshape(-1, m)
        scores[rows] = gains(tf, lengths[rows, None], k1) @ of_words
        coverage[rows] = ((tf > 0) * rarity[of[rows]]).sum(axis=1)
    return Matches(scores, coverage)


def weights(query: QueryTerms, language: str, n: int, df: NDArray[Any]) -> NDArray[np.float64]:
    """Return the weight of each of a query's m words, idf · repetitions: (m,) > 0.

    Args:
        query: The words.
        language: Whose imagined passages are counted.
        n: The number of documents.
        df: (m,) in how many of them each word is.
    """
    counted = df + _IMAGINED * query.shares(language)
    found: NDArray[np.float64] = np.log1p((n + _IMAGINED - counted + 0.5) / (counted + 0.5)) * query.repeats
    return found


def damping(lengths: NDArray[Any], k1: float = K1, b: float = B, mean: float | None = None) -> NDArray[np.float64]:
    """Return k1·(1 − b + b·|d|/avg|d|) of documents of (n,) lengths in terms: (n,) > 0. mean: avg|d|, if not theirs."""
    mean = float(lengths.mean()) if mean is None else mean
    found: NDArray[np.float64] = k1 * (1 - b + b * lengths / (mean or 1.0))
    # With b = 1 the damping of an empty document is 0, and its score 0/0; any positive damping gives 0.
    found[lengths == 0] = k1
    return found


def gains(tf: NDArray[Any], damping: NDArray[np.float64], k1: float = K1) -> NDArray[np.float64]:
    """Return tf·(k1 + 1) / (tf + damping): what a word adds to a document's score, before its weight."""
    found: NDArray[np.float64] = tf * (k1 + 1) / (tf + damping)
    return found


def main_language(query: QueryTerms, documents: Mapping[str, int]) -> str:
    """Return the language of most documents that have one, else the query's. documents: their number by language."""
    counts = {language: count for language, count in sorted(documents.items()) if language != NONE}
    return max(counts, key=counts.__getitem__) if counts else _known(query.language)


def _known(*languages: str) -> str:
    """The first of these languages that is one."""
    return next((language for language in languages if language != NONE), _FALLBACK)


def _occurrences(
    query: QueryTerms, documents: Sequence[Terms], languages: NDArray[np.str_], of: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the m words of a query in n documents.

    Returns the sparse (n, m) matrix of counts: (c,) rising indices of the flat matrix, and the (c,) counts there.
    """
    counted = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))]
    lengths = [len(document.numbers) for document in documents]
    for at, language in enumerate(languages.tolist()):
        members, wanted = np.flatnonzero(of == at), terms(query.words, language)
        order = np.argsort(wanted)
        for run in runs([lengths[member] for member in members], _TERMS_AT_ONCE) if len(wanted) else ():
            joined = np.concatenate([documents[member].numbers for member in members[run].tolist()])
            owners = np.repeat(members[run], [lengths[member] for member in members[run].tolist()])
            place = order[np.searchsorted(wanted, joined, sorter=order).clip(max=len(wanted) - 1)]
            hit = wanted[place] == joined
            counted.append(np.unique(owners[hit] * len(wanted) + place[hit], return_counts=True))
    cells, counts = (np.concatenate(each) for each in zip(*counted, strict=True))
    rising = np.argsort(cells)  # documents of different languages are counted apart
    return cells[rising], counts[rising]
