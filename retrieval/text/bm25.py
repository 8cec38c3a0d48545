"""BM25 over the candidates of one request: which of these texts uses the query's words, and how rare are those here.

Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", DOI 10.1561/1500000019, with the
inverse document frequency log(1 + …) that cannot go negative.
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


# An apostrophe between letters belongs to the word: "don't" is one stop word, and the stemmer takes "'s" off.
_WORD = re.compile(r"\w++(?:'\w++)*+")
_LONG_WORD = 64  # code points; a longer one is no word of a language, and is not stemmed
_STEMS = 16_384  # that are remembered: at most 16 MB for all threads together

_MARKS_IN_A_ROW = 30  # Unicode Standard Annex 15, definition D4

_GROWTH = 4  # times a text's length, as far as it is read once normalised; one character may become 18
_SHORT = 1000  # code points, up to which all is read

_CELLS = 2**20  # pairs of a document and a term of the query that are scored at once
_COUNTED = 2**16  # terms of the query that are met in documents until they are counted


class _PerThread(threading.local):
    """A PyStemmer object takes no lock, so each thread has its own; it keeps no words, `_stem` does for all threads."""

    def __init__(self) -> None:
        self.stemmer = Stemmer.Stemmer("english", 0)


_LOCAL = _PerThread()


@lru_cache(_STEMS)
def _stem(word: str) -> str:
    stem: str = _LOCAL.stemmer.stemWord(word)
    return stem


def tokenize(text: str) -> list[str]:
    """The text's terms in order: lower-case words in any script, without English stop words, stemmed (Snowball).

    A text of nothing but stop words keeps them, so that the query "to be or not to be" has terms at all. Takes time in
    proportion to the text's length, whatever it consists of.
    """
    if not text.isascii():
        most = max(_SHORT, _GROWTH * len(text))
        # Ligatures, full-width letters, curly quotes.
        text = unicodedata.normalize("NFKC", stream_safe(text))[:most].replace("’", "'")
    words = _WORD.findall(text.lower())
    content = [word for word in words if word not in STOP_WORDS]
    return [_stem(word) if len(word) <= _LONG_WORD else word for word in content or words]


def terms_of(text: str) -> str:
    """The terms of `tokenize` joined by single spaces, as they are kept: a list of them takes ten times the memory."""
    return " ".join(tokenize(text))


def _all_marks() -> NDArray[np.bool_]:
    """Whether normalising may move a character, by code point: combining marks, and what decomposes to them alone."""
    marks = np.zeros(sys.maxunicode + 1, dtype=bool)
    marks[:0x20000] = [unicodedata.combining(chr(code)) > 0 for code in range(0x20000)]
    marks[[0x0F73, 0x0F75, 0x0F81, 0xFF9E, 0xFF9F]] = True
    return marks


_MARKS = _all_marks()


def stream_safe(text: str) -> str:
    """The text without the combining marks of each run that come after its thirtieth.

    CPython sorts a run of marks in quadratic time when it normalises, and no language has so many: see the Stream-Safe
    Text Format in Unicode Standard Annex 15. That breaks long runs up; to drop the rest of them is simpler.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    marks = _MARKS.take(codes)
    if np.count_nonzero(marks) <= _MARKS_IN_A_ROW:
        return text
    row = _MARKS_IN_A_ROW + 1
    before = np.concatenate([[0], np.cumsum(marks)])
    surplus = np.flatnonzero(before[row:] - before[:-row] == row) + _MARKS_IN_A_ROW
    return np.delete(codes, surplus).tobytes().decode("utf-32-le", "surrogatepass") if surplus.size else text


def bm25(
    query_terms: Sequence[str], documents: Iterable[Sequence[str]], k1: float = 1.2, b: float = 0.75
) -> NDArray[np.float64]:
    """Score n documents for a query; the documents are the whole corpus the statistics come from.

    score(d) = Σ_t idf(t) · tf·(k1 + 1) / (tf + k1·(1 − b + b·|d|/avg|d|)), idf(t) = log(1 + (n − df + ½)/(df + ½)),
    summed over the query's terms as often as each occurs in the query.

    documents: the terms of each; they are read once, one document after the other, so that nobody need hold them all.
    Returns (n,) float64 ≥ 0; zeros for a query without terms. ValueError unless k1 > 0 and 0 ≤ b ≤ 1.
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
    # b = 1 leaves a document without terms no damping at all: 0/0 there, where the score is 0.
    damping[length == 0] = k1
    scores = np.empty(n)
    step = max(_CELLS // m, 16)  # rows of one block, all of them but for queries of a thousand terms
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
    """How long n documents are, (n,) terms, and how often each of m distinct terms occurs in each of them.

    The latter as (c,) cells, rising, of the flat (n, m) matrix, and the (c,) counts there; they are 0 elsewhere.
    """
    column = {term: at for at, term in enumerate(query_terms)}
    m = len(column)
    lengths: list[int] = []
    pending: list[int] = []  # a cell for each occurrence that is not counted yet
    counted: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for row, terms in enumerate(documents):
        lengths.append(len(terms))
        pending += [row * m + column[term] for term in terms if term in column]
        if len(pending) > _COUNTED:
            counted.append(np.unique(pending, return_counts=True))
            pending.clear()
    counted.append(np.unique(np.array(pending, dtype=np.int64), return_counts=True))
    cells, counts = (np.concatenate(each) for each in zip(*counted, strict=True))
    return np.array(lengths, dtype=np.float64), cells, counts
