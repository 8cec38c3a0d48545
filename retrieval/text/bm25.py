"""BM25 over the candidates of one request, whose statistics are blended with those of their language.

Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", DOI 10.1561/1500000019, with the
non-negative inverse document frequency log(1 + …). A few candidates say little about how rare a word is, so they are
counted together with 100 imagined passages of their language, in which words are as frequent as in the language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, compress, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.text.languages import AUTO, NONE, check_language, detect, detect_each, frequencies, terms
from retrieval.text.words import words_of

K1, B = 1.2, 0.75  # term frequency saturation, length normalisation
_IMAGINED = 100  # passages
_IMAGINED_WORDS = 150  # of each
_COMMON = 10**-2.8  # of a language's words: a more frequent one ("the", "what") is left out of a query that has others
# The first code point behind Latin letters. Where a model does not read a script words alone decide, and a common one
# may be the one that matters ("экономика России"), so none of them is left out. Latin letters with two marks, as
# Vietnamese has them, stand behind it, too.
_BEYOND_LATIN = "\u0370"
_FALLBACK = "en"  # where neither the documents nor the query tell their language
_CODE_BYTES = 4
_SHORT_QUERY = 300  # code points; the terms of longer queries are not cached
_QUERIES = 256  # cached: at most 30 MB, if each is compared with documents of all languages
_TERMS_AT_ONCE = 2**16  # of documents
_BUCKETS = 2**16  # of terms, by their lower halves: a look into them spares the search for all but few
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
        """Return the terms of a text. language: a code, `NONE`, or `AUTO` to detect it; ValueError for another."""
        return Terms.of_each([text], language)[0]

    @staticmethod
    def of_each(texts: Sequence[str], language: str = AUTO) -> list[Terms]:
        """Return the terms of each of n texts: a word that several have is looked up once. See `of`."""
        check_language(language)
        words = [words_of(text) for text in texts]
        counts = np.array([len(of_text) for of_text in words], dtype=np.int64)
        place = {word: at for at, word in enumerate(dict.fromkeys(chain.from_iterable(words)))}
        places = np.fromiter(map(place.__getitem__, chain.from_iterable(words)), np.int64, counts.sum())
        vocabulary = list(place)
        languages = [language] * len(texts)
        if language == AUTO:
            languages = detect_each(terms(vocabulary, NONE), places, counts)
        numbers, ends = np.empty(len(places), dtype=np.uint32), np.cumsum(counts).tolist()
        of_word = np.repeat(languages, counts)
        for code in set(languages):
            its = of_word == code
            used, word = np.unique(places[its], return_inverse=True)
            numbers[its] = terms([vocabulary[at] for at in used.tolist()], code)[word]
        parts = zip(languages, pairwise([0, *ends]), strict=True)
        return [Terms(code, numbers[start:end].copy()) for code, (start, end) in parts]  # views would keep them all


NO_TERMS = Terms(NONE, np.zeros(0, dtype=np.uint32))


@dataclass(frozen=True)
class WordsInLanguage:
    """The m words of a query in one language."""

    terms: NDArray[np.uint32]  # (m,) as the documents of the language have them
    shares: NDArray[np.float64]  # (m,) of the language's passages that hold each word, in (0, 1)
    rarity: NDArray[np.float64]  # (m,) weights of the words in a document's coverage, ≥ 0, of sum 1


@dataclass(frozen=True)
class QueryTerms:
    """The different words of a query, without common ones in Latin letters. They are stemmed as each document is."""

    words: Sequence[str]  # (m,)
    repeats: NDArray[np.float64]  # (m,) how often each one occurs
    language: str  # a code or `NONE`
    length: int  # words in the query, common ones among them; at least 1
    _in: dict[str, WordsInLanguage] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(text: str, language: str = AUTO) -> QueryTerms:
        """Return the terms of a query, cached if it is short.

        language: a code, `NONE`, or `AUTO` to detect it; ValueError for anything else.
        """
        return (_cached_query if len(text) <= _SHORT_QUERY else _read_query)(text, language)

    def within(self, language: str) -> WordsInLanguage:
        """Return the words in a language, computed once. language: a code, or `NONE` for documents that show none."""
        return self._in.get(language) or self._in.setdefault(language, self._stemmed(language))

    def _stemmed(self, language: str) -> WordsInLanguage:
        frequency = frequencies(terms(self.words, NONE), _known(language, self.language))
        shares = -np.expm1(-_IMAGINED_WORDS * frequency)
        rarity = np.log1p((1 - shares) / shares) * self.repeats
        rarity /= rarity.sum()
        return WordsInLanguage(terms(self.words, language), shares, rarity)


def _read_query(text: str, language: str) -> QueryTerms:
    check_language(language)
    words = words_of(text, query=True)
    plain = terms(words, NONE)
    language = detect(plain) if language == AUTO else language
    frequency = frequencies(plain, _known(language)).tolist()
    is_kept = [each < _COMMON or max(word) >= _BEYOND_LATIN for word, each in zip(words, frequency, strict=True)]
    stem_of = dict(zip(words, terms(words, language).tolist(), strict=True))
    counts = Counter(stem_of[word] for word in compress(words, is_kept)) or Counter(stem_of.values())
    word_of = {stem: word for word, stem in reversed(stem_of.items())}
    return QueryTerms(
        [word_of[stem] for stem in counts], np.array([*counts.values()], dtype=float), language, max(1, len(words))
    )


_cached_query = lru_cache(_QUERIES)(_read_query)


@dataclass(frozen=True)
class Matches:
    """How well n documents match a query's words."""

    scores: NDArray[np.float64]  # (n,) BM25, ≥ 0; comparable within one request only
    coverage: NDArray[np.float64]  # (n,) in [0, 1]: the share of the query's words, weighted by their rarity


# The sparse (n, m) matrix of how often m words are in n documents: (c,) rising indices of the flat matrix, and the (c,)
# counts there.
Occurrences = tuple[NDArray[np.int64], NDArray[Any]]


def bm25(query: QueryTerms, documents: Sequence[Terms]) -> Matches:
    """Score n documents for a query; zeros for a query without words.

    score(d) = Σ_t idf(t) · tf·(k1 + 1) / (tf + k1·(1 − b + b·|d|/avg|d|)), idf(t) = log(1 + (n − df + ½)/(df + ½)),
    summed over the words of the query, with repetitions; n and df count the documents and the imagined passages.
    """
    by_language: dict[str, list[int]] = {}
    for at, document in enumerate(documents):
        by_language.setdefault(document.language, []).append(at)
    members = {language: np.array(of) for language, of in sorted(by_language.items())}
    lengths = np.array([len(document.numbers) for document in documents], dtype=np.int64)
    return bm25_of(query, _occurrences(query, documents, lengths, members), lengths, members)


def bm25_of(
    query: QueryTerms, occurrences: Occurrences, lengths: NDArray[np.int64], members: Mapping[str, NDArray[np.int64]]
) -> Matches:
    """Score n documents for a query of m words as `bm25` does, by what is known of them.

    Args:
        query: The words.
        occurrences: How often each word is in each document.
        lengths: (n,) terms of each document.
        members: The documents by language.
    """
    (cells, counts), n, m = occurrences, len(lengths), len(query.words)
    scores, coverage = np.zeros(n), np.zeros(n)
    if not cells.size:
        return Matches(scores, coverage)
    main = main_language(query, {language: len(rows) for language, rows in members.items()})
    of_words, damped = weights(query, main, n, np.bincount(cells % m, minlength=m)), damping(lengths)
    rarity, of = np.empty((len(members), m)), np.empty(n, dtype=np.int64)
    for at, (language, rows_of) in enumerate(members.items()):
        rarity[at], of[rows_of] = query.within(language).rarity, at
    step = max(_CELLS // m, 16)  # rows of one block; usually all rows
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        block = slice(*np.searchsorted(cells, [start * m, rows.stop * m]))
        tf = np.bincount(cells[block] - start * m, counts[block], (rows.stop - start) * m).reshape(-1, m)
        scores[rows] = gains(tf, damped[rows, None]) @ of_words
        coverage[rows] = ((tf > 0) * rarity[of[rows]]).sum(axis=1).clip(max=1)  # rounding leaves a sum a little over 1
    return Matches(scores, coverage)


def weights(query: QueryTerms, language: str, n: int, df: NDArray[Any]) -> NDArray[np.float64]:
    """Return the weight of each of a query's m words, idf · repetitions: (m,) > 0.

    Args:
        query: The words.
        language: Whose imagined passages are counted.
        n: The number of documents.
        df: (m,) in how many of them each word is.
    """
    counted = df + _IMAGINED * query.within(language).shares
    found: NDArray[np.float64] = np.log1p((n + _IMAGINED - counted + 0.5) / (counted + 0.5)) * query.repeats
    return found


def damping(lengths: NDArray[Any], mean: float | None = None) -> NDArray[np.float64]:
    """Return k1·(1 − b + b·|d|/avg|d|) of documents of (n,) lengths in terms: (n,) > 0. mean: avg|d|, if not theirs."""
    mean = float(lengths.mean()) if mean is None else mean
    found: NDArray[np.float64] = K1 * (1 - B + B * lengths / (mean or 1.0))
    return found


def gains(tf: NDArray[Any], damped: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return tf·(k1 + 1) / (tf + damping): what a word adds to a document's score, before its weight."""
    found: NDArray[np.float64] = tf * (K1 + 1) / (tf + damped)
    return found


def main_language(query: QueryTerms, documents: Mapping[str, int]) -> str:
    """Return the language of most documents that have one, else the query's. documents: their number by language."""
    counts = {language: count for language, count in sorted(documents.items()) if language != NONE}
    return max(counts, key=counts.__getitem__) if counts else _known(query.language)


def _known(*languages: str) -> str:
    """The first of these languages that is one."""
    return next((language for language in languages if language != NONE), _FALLBACK)


def _occurrences(
    query: QueryTerms, documents: Sequence[Terms], lengths: NDArray[np.int64], members: Mapping[str, NDArray[np.int64]]
) -> Occurrences:
    """Count the m words of a query in n documents of these lengths in terms. members: the documents by language."""
    counted, m = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))], len(query.words)
    for language, of_language in members.items() if m else ():
        wanted = query.within(language).terms
        order = np.argsort(wanted, kind="stable")  # of words that are one term in this language, the first counts
        may_be = np.zeros(_BUCKETS, dtype=bool)
        may_be[wanted.astype(np.uint16)] = True
        ends = np.cumsum(lengths[of_language])
        for rows in np.split(of_language, np.flatnonzero(np.diff(ends // _TERMS_AT_ONCE)) + 1):
            joined = np.concatenate([documents[row].numbers for row in rows.tolist()])
            near = np.flatnonzero(may_be.take(joined.astype(np.uint16)))  # nearly all others are no word of the query
            found = joined[near]
            place = order[np.searchsorted(wanted, found, sorter=order).clip(max=m - 1)]
            hit = wanted[place] == found
            owner = rows[np.searchsorted(np.cumsum(lengths[rows]), near[hit], side="right")]
            counted.append(np.unique(owner * m + place[hit], return_counts=True))
    cells, counts = (np.concatenate(each) for each in zip(*counted, strict=True))
    rising = np.argsort(cells)  # documents of different languages are counted apart
    return cells[rising], counts[rising]
