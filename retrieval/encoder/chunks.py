"""Chunking: split a long text into chunks that fit into the encoder.

The cuts of a text are rising code point positions that start at 0: a chunk lies between two neighbours, and text after
the last cut is not read. Chunks are cached like other texts.
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
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder.protocol import Encoder, Role, Tokens
from retrieval.text.limits import most_code_points, runs
from retrieval.text.splitters import Chunking, Splitter

Cuts: TypeAlias = tuple[int, ...]

_MAX_CACHED = 8192  # texts whose cuts are cached: a few hundred bytes each
_LOOK = 8  # code points tokenised per requested token at first; doubled while they hold too few tokens
# A chunk that starts inside a word may have a few more tokens than counted: one token in 32 is kept free.
_SPARE = 32

# By code point; the last entry is for all higher code points.
_IS_SPACE = np.array([chr(code).isspace() for code in range(0x3002)])


@dataclass(frozen=True)
class Reading:
    """Limits for one document: its first `max_tokens` tokens (None: all) are read, in at most `max_chunks` chunks."""

    max_tokens: int | None = None  # without special tokens
    max_chunks: int = 16

    def __post_init__(self) -> None:
        """Raise ValueError unless both limits are at least 1."""
        if self.max_chunks < 1 or (self.max_tokens is not None and self.max_tokens < 1):
            raise ValueError(f"at least one token and one chunk of a document must be read; got {self}")


USUAL = Reading()


class Reads(Protocol):
    """What tells of an encoder how much it reads."""

    @property
    def max_tokens(self) -> int:
        """See `Encoder`."""

    def tokenize(self, texts: Sequence[str], role: Role = ...) -> list[Tokens]:
        """See `Encoder`."""

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """See `Encoder`."""


class Chunker:
    """Splits texts into chunks for one encoder, and caches the cuts. Thread-safe."""

    def __init__(self, encoder: Encoder, key: Callable[[str], bytes], role: Role = "document") -> None:
        """Create a chunker.

        Args:
            encoder: The encoder.
            key: Returns the cache key of a text.
            role: What the texts are; a model may read less of a query.
        """
        self._encoder, self._key, self._role = encoder, key, role
        self._lock = threading.Lock()
        self._cached_cuts: OrderedDict[tuple[bytes, Reading], Cuts] = OrderedDict()  # least recently used first

    @cached_property
    def size(self) -> int:
        """The most tokens in a chunk."""
        return content_tokens(self._encoder, self._role)

    def limit(self, reading: Reading) -> int:
        """The most tokens that are read of a text. A text with no more code points than this is read completely."""
        chunk_tokens = reading.max_chunks * self.size
        return chunk_tokens if reading.max_tokens is None else min(reading.max_tokens, chunk_tokens)

    def code_points(self, reading: Reading) -> int:
        """The most code points of a text that are tokenised for this limit, never fewer than the encoder tokenises."""
        return most_code_points(max(self.limit(reading), self._encoder.max_tokens))

    def cached(self, texts: Sequence[str], reading: Reading) -> list[Cuts | None]:
        """Return the cached cuts of n texts, None for a miss."""
        end = self.code_points(reading)
        keys = [(self._key(text[:end]), reading) for text in texts]
        with self._lock:
            for key in keys:
                if key in self._cached_cuts:
                    self._cached_cuts.move_to_end(key)
            return [self._cached_cuts.get(key) for key in keys]

    def cuts(self, texts: Sequence[str], reading: Reading, until: float = math.inf) -> list[Cuts | None]:
        """Return the cuts of n texts, cached or computed now; None for each skipped for lack of time.

        Args:
            texts: The texts.
            reading: How much of each text is read.
            until: Time limit, in `time.monotonic()` seconds; nothing is tokenised after it.
        """
        end = self.code_points(reading)
        texts = [text[:end] for text in texts]
        all_cuts, limit = self.cached(texts, reading), self.limit(reading)
        missing = [at for at, cuts in enumerate(all_cuts) if cuts is None]
        look = _LOOK * (limit + 1)  # long texts are not tokenised to their end
        while missing:
            for run in runs([min(look, len(texts[at])) for at in missing]):
                if time.monotonic() >= until:
                    return all_cuts
                batch = missing[run]
                batch_spans = self._encoder.token_spans([texts[at][:look] for at in batch])
                for at, spans in zip(batch, map(_without_prompt, batch_spans), strict=True):
                    if len(spans) > limit or look >= len(texts[at]):
                        cuts = cut(texts[at], spans, self.size, limit, reading.max_chunks)
                        all_cuts[at] = self._cache(texts[at], reading, cuts)
            missing = [at for at in missing if all_cuts[at] is None]
            look *= 2
        return all_cuts

    def _cache(self, text: str, reading: Reading, cuts: Cuts) -> Cuts:
        with self._lock:
            self._cached_cuts[self._key(text), reading] = cuts
            if len(self._cached_cuts) > _MAX_CACHED:
                self._cached_cuts.popitem(last=False)
        return cuts


def content_tokens(encoder: Reads, role: Role = "document") -> int:
    """Return how many tokens of a text an encoder reads at most, without special, prompt and filling tokens."""
    word, long = encoder.tokenize(["a", "a " * encoder.max_tokens], role)
    spans = _without_prompt(encoder.token_spans(["a"])[0])
    return max(1, len(long.ids) - long.filled - (len(word.ids) - word.filled - len(spans)))


def splitter(encoder: Reads, chunking: Chunking, language: str) -> Splitter:
    """Return what splits documents in a language for an encoder; ValueError if it cannot be split so.

    A chunk has at most one token fewer than the encoder reads: one with as many may be cut, nobody can tell.
    """
    return Splitter(chunking, max(1, content_tokens(encoder) - 1), encoder.token_spans, language)


def cut_up(text: str, cuts: Cuts) -> list[str]:
    """Return the chunks of a text between these cuts."""
    return [text[start:end] for start, end in pairwise(cuts)]


def cut(text: str, spans: NDArray[np.int64], window: int, limit: int, most: int) -> Cuts:
    """Return the cuts of a text for chunks of about equal numbers of tokens.

    Cuts lie where words start, or between tokens if no word starts near by. The last few tokens are not read if they do
    not fit then. A text without tokens is one chunk.

    Args:
        text: The text.
        spans: (t, 2) int64, the code points [start, end) of its tokens: all tokens, or more than `limit`.
        window: The most tokens in a chunk, at least 1.
        limit: The most tokens that are read, from 1 to `most * window`.
        most: The most chunks, at least 1.
    """
    starts = spans[:, 0]
    word_starts = _word_starts(text, starts)
    end = len(spans) if len(spans) <= limit else _last_before(word_starts, limit)
    while end:
        for count in range(-(-end // window), most + 1):
            at = _spread(word_starts, end, count)  # token indices
            inside_words = ~np.isin(at[:-1], word_starts)
            inside_words[0] = False
            if (np.diff(at) + inside_words * (window // _SPARE) <= window).all():
                last = len(text) if end == len(spans) else int(starts[end])
                return tuple(sorted({0, *starts[at[1:-1]].tolist(), last}))
        end = _last_before(word_starts, end - 1)
    return (0, len(text))


def _word_starts(text: str, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of the tokens that start a word, at white space or after it; starts: (t,) code points."""
    codes = np.frombuffer(text[: int(starts.max(initial=0)) + 1].encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    spaces = _IS_SPACE[np.minimum(codes, len(_IS_SPACE) - 1)]
    return np.flatnonzero((starts > 0) & (spaces[starts] | spaces[starts - 1])) if len(starts) else starts


def _last_before(word_starts: NDArray[np.int64], end: int) -> int:
    """Return the last word start up to token `end`; `end` itself if there is none in its second half."""
    last = int(word_starts[: np.searchsorted(word_starts, end, side="right")].max(initial=0))
    return last if 2 * last > end else end


def _spread(word_starts: NDArray[np.int64], end: int, count: int) -> NDArray[np.int64]:
    """Return rising token indices from 0 to `end`: at most `count` about equal runs that start words where possible."""
    size = end / count
    ideal = np.arange(1, count) * size
    far = np.array([-np.inf]), np.array([np.inf])
    candidates = np.concatenate([far[0], word_starts, far[1]])
    after = np.searchsorted(candidates, ideal)
    below, above = candidates[after - 1], candidates[after]
    nearest = np.where(ideal - below <= above - ideal, below, above)
    inner = np.where(2 * np.abs(nearest - ideal) < size, nearest, np.floor(ideal))
    return np.unique(np.concatenate([[0], inner, [end]])).astype(np.int64)


def _without_prompt(spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the (t, 2) spans without the empty ones of prompt tokens."""
    return spans[spans[:, 1] > spans[:, 0]]
