"""What is read of a long text, and where it is cut into windows that the encoder reads whole.

A text's cuts are code points that rise from 0: between one and the next lies a chunk, and the last is where reading
ends. A chunk is a text like any other, so that its state is remembered as any text's is.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder.protocol import Encoder
from retrieval.text.limits import most_code_points, runs

Cuts: TypeAlias = tuple[int, ...]

_REMEMBERED = 8192  # texts whose cuts are: a few hundred bytes each
_LOOK = 8  # code points looked at for each token wanted, and twice as many where those held too few
# A chunk that begins inside a word may be read as a few more tokens than it had there: one in so many is kept free.
_SPARE = 32

_IS_SPACE = np.array([chr(code).isspace() for code in range(0x3002)])  # by code point; the last stands for the rest


@dataclass(frozen=True)
class Reading:
    """What is read of one document: its first `max_tokens` tokens (None: all), in at most `max_chunks` chunks."""

    max_tokens: int | None = None  # special ones not counted
    max_chunks: int = 16

    def __post_init__(self) -> None:
        """ValueError unless at least one of each is read."""
        if self.max_chunks < 1 or (self.max_tokens is not None and self.max_tokens < 1):
            raise ValueError(f"at least one token in one chunk is read of a document; got {self}")


USUAL = Reading()


class Chunker:
    """Cuts texts for one encoder, and remembers where. Safe to use from several threads."""

    def __init__(self, encoder: Encoder, key: Callable[[str], bytes]) -> None:
        """key: what a text is remembered by."""
        self._encoder, self._key = encoder, key
        self._lock = threading.Lock()
        self._remembered: OrderedDict[tuple[bytes, Reading], Cuts] = OrderedDict()  # the least recently used first

    @cached_property
    def size(self) -> int:
        """Tokens of a text that the encoder reads at once, beside special ones and those of its prompt."""
        word = "a"
        read, spans = self._encoder.tokenize([word])[0], _of_text(self._encoder.token_spans([word])[0])
        return max(1, self._encoder.max_tokens - (len(read.ids) - len(spans)))

    def limit(self, reading: Reading) -> int:
        """The most tokens that are read of a text; one of no more code points is read to its end."""
        in_chunks = reading.max_chunks * self.size
        return in_chunks if reading.max_tokens is None else min(reading.max_tokens, in_chunks)

    def code_points(self, reading: Reading) -> int:
        """How much of a text is looked at to find those tokens, at least as much as the encoder itself looks at."""
        return most_code_points(max(self.limit(reading), self._encoder.max_tokens))

    def remembered(self, texts: Sequence[str], reading: Reading) -> list[Cuts | None]:
        """Where n texts were cut before, None for each of which that is not known."""
        end = self.code_points(reading)
        keys = [(self._key(text[:end]), reading) for text in texts]
        with self._lock:
            for key in keys:
                if key in self._remembered:
                    self._remembered.move_to_end(key)
            return [self._remembered.get(key) for key in keys]

    def cuts(self, texts: Sequence[str], reading: Reading, until: float = math.inf) -> list[Cuts | None]:
        """Where n texts are cut, None for each that it was too late to look at.

        until: `time.monotonic()` seconds after which no more is tokenised.
        """
        end = self.code_points(reading)
        texts = [text[:end] for text in texts]
        found, limit = self.remembered(texts, reading), self.limit(reading)
        missing = [at for at, cuts in enumerate(found) if cuts is None]
        look = _LOOK * (limit + 1)  # nobody waits for the end of a whole book
        while missing:
            for run in runs([min(look, len(texts[at])) for at in missing]):
                if time.monotonic() >= until:
                    return found
                some = missing[run]
                spans = self._encoder.token_spans([texts[at][:look] for at in some])
                for at, of in zip(some, map(_of_text, spans), strict=True):
                    if len(of) > limit or look >= len(texts[at]):
                        cuts = cut(texts[at], of, self.size, limit, reading.max_chunks)
                        found[at] = self._remember(texts[at], reading, cuts)
            missing = [at for at in missing if found[at] is None]
            look *= 2
        return found

    def _remember(self, text: str, reading: Reading, cuts: Cuts) -> Cuts:
        with self._lock:
            self._remembered[self._key(text), reading] = cuts
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return cuts


def cut_up(text: str, cuts: Cuts) -> list[str]:
    """The chunks of a text that is cut there."""
    return [text[start:end] for start, end in pairwise(cuts)]


def cut(text: str, spans: NDArray[np.int64], window: int, limit: int, most: int) -> Cuts:
    """Where to cut a text into at most `most` ≥ 1 chunks of about as many tokens each, at most `window` ≥ 1 of them.

    spans: (t, 2) int64, where its tokens lie: all, or more than the limit; `limit`: the tokens that are read of it, at
    least 1 and at most `most` windows. Cuts lie where words begin, or between tokens if there is no such place near by;
    where that leaves no room for the last few tokens, they are not read. A text without tokens is one chunk.
    """
    starts = spans[:, 0]
    begins = _word_beginnings(text, starts)
    end = len(spans) if len(spans) <= limit else _last_before(begins, limit)
    while end:
        for count in range(-(-end // window), most + 1):
            at = _evenly(begins, end, count)  # tokens
            inside_words = ~np.isin(at[:-1], begins)
            inside_words[0] = False
            if (np.diff(at) + inside_words * (window // _SPARE) <= window).all():
                last = len(text) if end == len(spans) else int(starts[end])
                return tuple(sorted({0, *starts[at[1:-1]].tolist(), last}))
        end = _last_before(begins, end - 1)
    return (0, len(text))


def _word_beginnings(text: str, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of the tokens that start at these (t,) code points begin a word: at white space or after it."""
    codes = np.frombuffer(text[: int(starts.max(initial=0)) + 1].encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    spaces = _IS_SPACE[np.minimum(codes, len(_IS_SPACE) - 1)]
    return np.flatnonzero((starts > 0) & (spaces[starts] | spaces[starts - 1])) if len(starts) else starts


def _last_before(begins: NDArray[np.int64], end: int) -> int:
    """The last token before which a word ends, at most `end`; `end` itself if that is not near by."""
    begin = int(begins[: np.searchsorted(begins, end, side="right")].max(initial=0))
    return begin if 2 * begin > end else end


def _evenly(begins: NDArray[np.int64], end: int, count: int) -> NDArray[np.int64]:
    """Rising tokens from 0 to `end`: at most `count` about equal runs, from where words begin if that is near by."""
    size = end / count
    ideal = np.arange(1, count) * size
    far = np.array([-np.inf]), np.array([np.inf])
    around = np.concatenate([far[0], begins, far[1]])
    after = np.searchsorted(around, ideal)
    below, above = around[after - 1], around[after]
    nearest = np.where(ideal - below <= above - ideal, below, above)
    inner = np.where(2 * np.abs(nearest - ideal) < size, nearest, np.floor(ideal))
    return np.unique(np.concatenate([[0], inner, [end]])).astype(np.int64)


def _of_text(spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """The (t, 2) spans without those of a prompt, which lie nowhere in the text."""
    return spans[spans[:, 1] > spans[:, 0]]
