"""Languages: which one a text is in, the stems of its words, and how common each word is.

The frequencies come from `frequencies.npz`, which `python -m scripts.frequencies` makes from wordfreq (Speer 2022,
DOI 10.5281/zenodo.7199437). For each word they hold the frequency of all words of the language with the same stem.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
import Stemmer
from numpy.typing import NDArray

from retrieval.array_files import load_arrays
from retrieval.errors import DataError
from retrieval.text.words import LONG_WORD

FILE = Path(__file__).with_name("frequencies.npz")
AUTO: Final = "auto"  # each text's language is detected
NONE: Final = "none"  # no stemming

STEMMERS = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "st": "sesotho",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}  # ISO 639-1 code: PyStemmer's algorithm

_STEMS = 65_536  # cached terms: at most 30 MB for all threads together
_DETECTED_BY = 1000  # of a text's first words
_MARGIN = 1.5  # decades by which the likeliest language must exceed the second
LEAST_DECADE = 2.5  # log10 of a word's occurrences per billion, in a language whose frequencies do not have it
STEPS_PER_DECADE = 25  # of the stored frequencies, a decade


class _PerThread(threading.local):
    """PyStemmer is not thread-safe, so each thread has its own stemmers. They cache nothing: `_cached_term` does."""

    def __init__(self) -> None:
        self.stemmers: dict[str, Stemmer.Stemmer] = {}


_LOCAL = _PerThread()


@lru_cache(_STEMS)
def _cached_term(word: str, language: str) -> int:
    stemmer = _LOCAL.stemmers.get(language)
    if stemmer is None:
        stemmer = _LOCAL.stemmers[language] = Stemmer.Stemmer(STEMMERS[language], 0)
    return zlib.crc32(stemmer.stemWord(word).encode("utf-8", "surrogatepass"))


def terms(words: Iterable[str], language: str) -> NDArray[np.uint32]:
    """Return the term of each word: the CRC-32 of its stem in a language, or of itself.

    Numbers take less memory than words, and are compared all at once. Of a million different words, a query's word has
    the number of another one with a probability of 1 in 4000.

    language: a code of `STEMMERS`; any other leaves the words as they are.
    """
    if language not in STEMMERS:
        return np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words], dtype=np.uint32)
    return np.array(
        [
            _cached_term(word, language)
            if len(word) <= LONG_WORD
            else zlib.crc32(word.encode("utf-8", "surrogatepass"))
            for word in words
        ],
        dtype=np.uint32,
    )


@dataclass(frozen=True)
class _Frequencies:
    """Of U words in L languages, sparse: those of word i are `starts[i]` to `starts[i + 1]` of the (N,) entries."""

    codes: list[str]  # (L,)
    words: NDArray[np.uint32]  # (U,) rising: terms of the words themselves
    starts: NDArray[np.int64]  # (U + 1,)
    languages: NDArray[np.uint8]  # (N,) positions in `codes`
    decades: NDArray[np.float32]  # (N,) log10 of the occurrences per billion words

    def ranges(self, words: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the entries of each of these (m,) words begin, and how many there are."""
        at = np.searchsorted(self.words, words).clip(max=len(self.words) - 1)
        first = self.starts[at]
        return first, np.where(self.words[at] == words, self.starts[at + 1] - first, 0)


def _entries(first: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the (e,) entries of (m,) ranges, and for each the position of its range among them."""
    ends = np.cumsum(counts)
    return np.repeat(first - ends + counts, counts) + np.arange(counts.sum()), np.repeat(np.arange(len(counts)), counts)


@cache
def _frequencies() -> _Frequencies:
    try:
        file = load_arrays(FILE)
        starts = np.concatenate([[0], np.cumsum(file["counts"], dtype=np.int64)])
        words = np.cumsum(file["steps"], dtype=np.uint64).astype(np.uint32)
        decades = (file["decades"] / np.float32(STEPS_PER_DECADE) + np.float32(LEAST_DECADE)).astype(np.float32)
        return _Frequencies(file["codes"].tolist(), words, starts, file["languages"], decades)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile, zlib.error) as fault:
        raise DataError(f"{FILE} is missing or damaged ({fault}); install quantum-rerank again") from fault


def detect(words: NDArray[np.uint32]) -> str:
    """Return the language of one text, whose (t,) words are from `terms(…, NONE)`; see `detect_each`."""
    return detect_each(words, np.arange(len(words)), np.array([len(words)]))[0]


def detect_each(vocabulary: NDArray[np.uint32], places: NDArray[np.int64], counts: NDArray[np.int64]) -> list[str]:
    """Return the language in which each of n texts is likeliest, `NONE` if two are about as likely.

    The likelihood of a language is the product of its words' frequencies (a unigram model).

    Args:
        vocabulary: (v,) words from `terms(…, NONE)`.
        places: (t,) the words of all texts, one text after the other, by their places in the vocabulary.
        counts: (n,) words of each text; the first 1000 decide.
    """
    table, n = _frequencies(), len(counts)
    different, of_word = np.unique(vocabulary, return_inverse=True)
    early = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts) < _DETECTED_BY
    text_and_word = np.repeat(np.arange(n), counts)[early] * len(different) + of_word[places[early]]
    pairs, repeats = np.unique(text_and_word, return_counts=True)
    text, word = np.divmod(pairs, max(1, len(different)))
    first, held = table.ranges(different)
    entries, at = _entries(first[word], held[word])
    gains = (table.decades[entries] - LEAST_DECADE) * repeats[at]
    columns = len(table.codes)
    scores = np.bincount(text[at] * columns + table.languages[entries], gains, n * columns).reshape(n, columns)
    likeliest = np.argsort(scores, axis=1, kind="stable")[:, -2:]
    second, best = np.take_along_axis(scores, likeliest, axis=1).T
    is_clear = best > second + _MARGIN
    return [table.codes[one] if clear else NONE for one, clear in zip(likeliest[:, 1].tolist(), is_clear, strict=True)]


def frequencies(words: NDArray[np.uint32], language: str) -> NDArray[np.float64]:
    """Return how often each of m words, with all words of its stem, occurs in a language: (m,) in (0, 1].

    A word that is not among the 12 000 most common ones gets 3e-7, as every word of a language without frequencies.
    words: (m,) from `terms(…, NONE)`.
    """
    table = _frequencies()
    decades = np.full(len(words), LEAST_DECADE)
    if language in table.codes:
        entries, at = _entries(*table.ranges(words))
        is_in = table.languages[entries] == table.codes.index(language)
        decades[at[is_in]] = table.decades[entries[is_in]]
    return 10 ** (decades - 9)


@cache
def known_languages() -> tuple[str, ...]:
    """Return the codes of the languages with a stemmer or frequencies, sorted."""
    return tuple(sorted(STEMMERS.keys() | set(_frequencies().codes)))


def check_language(language: str) -> str:
    """Return a language code, `NONE` or `AUTO`; ValueError for anything else."""
    if language not in {AUTO, NONE} and language not in known_languages():
        raise ValueError(f"must be {AUTO}, {NONE} or the code of a known language: {', '.join(known_languages())}")
    return language
