"""BM25 over the candidates of one request, which are also the corpus of the term statistics.

Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", DOI 10.1561/1500000019, with the
non-negative inverse document frequency log(1 + …).
"""

from __future__ import annotations

import re
import sys
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import Stemmer
from numpy.typing import NDArray

_ARTICLES = "a an the this that these those such some any each every either neither both all no none"
_PRONOUNS = (
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves who whom whose which what"
)
_VERBS = (
    "am is are was were be been being have has had having do does did doing done can could may might must shall should "
    "will would ought"
)
_CONTRACTIONS = (
    "i'm i've i'd i'll we're we've we'd we'll you're you've you'd you'll he's he'd he'll she's she'd she'll it's it'd "
    "it'll they're they've they'd they'll who's who'd who'll that's that'd that'll there's there'd there'll "
    "here's what's where's when's why's how's isn't aren't wasn't weren't haven't hasn't hadn't don't doesn't didn't "
    "can't couldn't mustn't shan't shouldn't won't wouldn't let's"
)
_PREPOSITIONS = (
    "about above across after against along among around at before behind below beneath beside between beyond by down "
    "during except for from in into of off on onto out over per since than through to toward towards under until up "
    "upon via with within"
)
_CONNECTIVES = "and or nor but if then else because as while although though whereas whether so yet unless"
_ADVERBS = (
    "not only just also too very quite rather again once here there where when why how now ever never always often "
    "more most much many few less least other another same own however therefore thus hence etc"
)

STOP_WORDS: frozenset[str] = frozenset(
    " ".join(
        (_ARTICLES, _PRONOUNS, _VERBS, _CONTRACTIONS, _PREPOSITIONS, _CONNECTIVES, _ADVERBS),
    ).split()
)


# An apostrophe between letters is part of the word: "don't" is one stop word, and the stemmer removes "'s".
_WORD = re.compile(r"\w++(?:'\w++)*+")
_LONG_WORD = 64  # code points; longer words are not stemmed
_STEMS = 16_384  # cached stems: at most 16 MB for all threads together

_MARKS_IN_A_ROW = 30  # Unicode Standard Annex 15, definition D4

_GROWTH = 4  # limit of the normalised length, as a multiple of the original; one character can become 18
_SHORT = 1000  # code points; a normalised text up to this length is never truncated

_CELLS = 2**20  # cells of a (documents, query terms) block that is scored at once
_MAX_PENDING = 2**16  # occurrences of query terms that are collected before they are counted


class _PerThread(threading.local):
    """PyStemmer is not thread-safe, so each thread has its own stemmer, without a cache: `_stem` caches for all."""

    def __init__(self) -> None:
        self.stemmer = Stemmer.Stemmer("english", 0)


_LOCAL = _PerThread()


@lru_cache(_STEMS)
def _stem(word: str) -> str:
    stem: str = _LOCAL.stemmer.stemWord(word)
    return stem


def tokenize(text: str) -> list[str]:
    """Return the terms of a text in order: lower-case words in any script, stemmed (Snowball), without stop words.

    A text of stop words only keeps them, so that the query "to be or not to be" has terms. The stop words are English.
    The time is linear in the text's length for any text.
    """
    if not text.isascii():
        max_length = max(_SHORT, _GROWTH * len(text))
        # NFKC replaces ligatures and full-width letters.
        text = unicodedata.normalize("NFKC", stream_safe(text))[:max_length].replace("’", "'")
    words = _WORD.findall(text.lower())
    content = [word for word in words if word not in STOP_WORDS]
    return [_stem(word) if len(word) <= _LONG_WORD else word for word in content or words]


def terms_of(text: str) -> str:
    """Return the terms of `tokenize` joined by single spaces, as they are cached: a list needs ten times the memory."""
    return " ".join(tokenize(text))


def _reorderable_marks() -> NDArray[np.bool_]:
    """By code point, whether normalisation can reorder it: combining marks, and characters that decompose to them."""
    marks = np.zeros(sys.maxunicode + 1, dtype=bool)
    marks[:0x20000] = [unicodedata.combining(chr(code)) > 0 for code in range(0x20000)]
    marks[[0x0F73, 0x0F75, 0x0F81, 0xFF9E, 0xFF9F]] = True
    return marks


_MARKS = _reorderable_marks()


def stream_safe(text: str) -> str:
    """Limit each run of combining marks to the first 30.

    CPython normalises a run of marks in quadratic time, and no language has so many: see the Stream-Safe Text Format in
    Unicode Standard Annex 15. The annex splits long runs; dropping the surplus is simpler.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    marks = _MARKS.take(codes)
    if np.count_nonzero(marks) <= _MARKS_IN_A_ROW:
        return text
    window = _MARKS_IN_A_ROW + 1
    marks_before = np.concatenate([[0], np.cumsum(marks)])
    surplus = np.flatnonzero(marks_before[window:] - marks_before[:-window] == window) + _MARKS_IN_A_ROW
    return np.delete(codes, surplus).tobytes().decode("utf-32-le", "surrogatepass") if surplus.size else text


def bm25(
    query_terms: Sequence[str], documents: Iterable[Sequence[str]], k1: float = 1.2, b: float = 0.75
) -> NDArray[np.float64]:
    """Score n documents for a query; document frequencies and lengths come from these documents.

    score(d) = Σ_t idf(t) · tf·(k1 + 1) / (tf + k1·(1 − b + b·|d|/avg|d|)), idf(t) = log(1 + (n − df + ½)/(df + ½)),
    summed over the terms of the query, with repetitions.

    Args:
        query_terms: The terms of the query.
        documents: The terms of each document; iterated once, so that they need not all be in memory.
        k1: Term frequency saturation, above 0.
        b: Length normalisation, in [0, 1].

    Returns:
        (n,) float64 scores ≥ 0; zeros for a query without terms.

    Raises:
        ValueError: k1 or b is out of range.
    """
    if not (k1 > 0 and 0 <= b <= 1):
        raise ValueError(f"BM25 needs k1 > 0 and 0 <= b <= 1, got k1={k1}, b={b}")
    repeats = Counter(query_terms)
    length, cells, counts = _occurrences(list(repeats), documents)
    n, m = len(length), len(repeats)
    if not cells.size:
        return np.zeros(n)
    df = np.bincount(cells % m, minlength=m)  # (m,)
    idf = np.log1p((n - df + 0.5) / (df + 0.5))
    weights = idf * np.fromiter(repeats.values(), dtype=np.float64)
    damping = k1 * (1 - b + b * length / length.mean())
    # With b = 1 the damping of an empty document is 0, and its score 0/0; any positive damping gives 0.
    damping[length == 0] = k1
    scores = np.empty(n)
    step = max(_CELLS // m, 16)  # rows of one block; usually all rows
    for start in range(0, n, step):
        rows = min(step, n - start)
        block = slice(*np.searchsorted(cells, [start * m, (start + rows) * m]))
        tf = np.bincount(cells[block] - start * m, counts[block], rows * m).reshape(rows, m)
        saturated = tf * (k1 + 1) / (tf + damping[start : start + rows, None])
        scores[start : start + rows] = saturated @ weights
    return scores


def _occurrences(
    query_terms: Sequence[str], documents: Iterable[Sequence[str]]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Count m distinct query terms in n documents.

    Returns the (n,) document lengths in terms, and the sparse (n, m) matrix of counts: (c,) rising indices of the flat
    matrix, and the (c,) counts there.
    """
    columns = {term: at for at, term in enumerate(query_terms)}
    m = len(columns)
    lengths: list[int] = []
    pending: list[int] = []  # flat indices of occurrences that are not counted yet
    counted: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for row, terms in enumerate(documents):
        lengths.append(len(terms))
        pending += [row * m + columns[term] for term in terms if term in columns]
        if len(pending) > _MAX_PENDING:
            counted.append(np.unique(pending, return_counts=True))
            pending.clear()
    counted.append(np.unique(np.array(pending, dtype=np.int64), return_counts=True))
    cells, counts = (np.concatenate(each) for each in zip(*counted, strict=True))
    return np.array(lengths, dtype=np.float64), cells, counts
