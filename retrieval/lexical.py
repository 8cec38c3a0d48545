"""BM25 over the candidates of one request: which of these texts uses the query's words, and how rare are those here.

Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", DOI 10.1561/1500000019, with the
inverse document frequency log(1 + …) that cannot go negative.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
import Stemmer
from numpy.typing import NDArray

from retrieval.stop_words import STOP_WORDS

# An apostrophe between letters belongs to the word: "don't" is one stop word, and the stemmer takes "'s" off.
_WORD = re.compile(r"\w+(?:'\w+)*")


class _PerThread(threading.local):
    """A PyStemmer object keeps a cache without a lock, so each thread has its own."""

    def __init__(self) -> None:
        self.stemmer = Stemmer.Stemmer("english")


_LOCAL = _PerThread()


def tokenize(text: str) -> list[str]:
    """The text's terms in order: lower-case words in any script, without English stop words, stemmed (Snowball).

    A text of nothing but stop words keeps them, so that the query "to be or not to be" has terms at all.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("’", "'")  # ligatures, full-width letters, curly quotes
    words = _WORD.findall(text.lower())
    content = [word for word in words if word not in STOP_WORDS]
    stems: list[str] = _LOCAL.stemmer.stemWords(content or words)
    return stems


def bm25(
    query_terms: Sequence[str], documents: Sequence[Sequence[str]], k1: float = 1.2, b: float = 0.75
) -> NDArray[np.float64]:
    """Score n documents, given as terms, for a query; the documents are the whole corpus the statistics come from.

    score(d) = Σ_t idf(t) · tf·(k1 + 1) / (tf + k1·(1 − b + b·|d|/avg|d|)), idf(t) = log(1 + (n − df + ½)/(df + ½)),
    summed over the query's terms as often as each occurs in the query.

    Returns (n,) float64 ≥ 0; zeros for a query without terms. ValueError unless k1 > 0 and 0 ≤ b ≤ 1.
    """
    if not (k1 > 0 and 0 <= b <= 1):
        raise ValueError(f"BM25 needs k1 > 0 and 0 <= b <= 1, got k1={k1}, b={b}")
    repeats = Counter(query_terms)
    column = {term: at for at, term in enumerate(repeats)}
    n, m = len(documents), len(repeats)
    cells = [row * m + column[term] for row, terms in enumerate(documents) for term in terms if term in column]
    if not cells:
        return np.zeros(n)
    tf = np.bincount(cells, minlength=n * m).reshape(n, m)  # (n, m) occurrences
    df = np.count_nonzero(tf, axis=0)  # (m,)
    idf = np.log1p((n - df + 0.5) / (df + 0.5))
    length = np.array([len(terms) for terms in documents], dtype=np.float64)  # (n,)
    damping = k1 * (1 - b + b * length / length.mean())
    # b = 1 leaves a document without terms no damping at all: 0/0 there, where the score is 0.
    damping[length == 0] = k1
    saturated = tf * (k1 + 1) / (tf + damping[:, None])
    scores: NDArray[np.float64] = saturated @ (idf * np.fromiter(repeats.values(), dtype=np.float64))
    return scores
