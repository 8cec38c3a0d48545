"""Splitting a document into chunks of at most so many tokens of the model that reads them.

A text is split block by block, so time and memory are in proportion to its length, whatever it holds: sentencex and
semantic-text-splitter take quadratic time for a text without the boundaries that they look for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, get_args
from unicodedata import combining

import numpy as np
import sentencex
from numpy.typing import NDArray
from semantic_text_splitter import TextSplitter

from retrieval.text.languages import AUTO, NONE, detect, terms
from retrieval.text.limits import most_code_points, runs
from retrieval.text.passages import Passage
from retrieval.text.sentences import VISIBLE
from retrieval.text.words import words_of

By = Literal["none", "character", "token", "sentence", "recursive"]
KINDS: tuple[By, ...] = get_args(By)
Range: TypeAlias = tuple[int, int]  # code points [start, end)
Cuts: TypeAlias = NDArray[np.int64]  # (c,) rising code points at which a text may be cut
TokenSpans: TypeAlias = Callable[[Sequence[str]], list[NDArray[np.int64]]]  # see `Encoder.token_spans`

LEAST_SIZE: Final = 32  # tokens; one character may have up to 18
_CHARACTERS = 1000  # of a chunk, where no size is given and the model reads as many
# By how much a default size is below the tokens that a model reads: one is kept free, and two may be [CLS] and [SEP].
# A prompt takes more; whether such a size was a default, nobody can tell.
_BELOW_WINDOW = (1, 3)
_BLOCK = 8192  # code points that are split at once; doubled while they make one chunk
_WORD_START = re.compile(r"(?<=\s)\S")
_DETECTED_BY = 4096  # code points that show a text's language


@dataclass(frozen=True)
class Chunking:
    """How the documents of a collection are split.

    `none` keeps each in one piece. The others fill chunks up to `size` and cut them: `character` between characters,
    `token` between tokens, `sentence` between sentences, `recursive` between paragraphs, else lines, sentences, words.
    """

    by: By = "none"
    size: int | None = None  # the most tokens of a chunk; of `character`, characters. None: as much as the model reads
    overlap: int = 0  # the most tokens (characters) of a chunk that the next one repeats

    def __str__(self) -> str:
        """As messages and tables show it."""
        if self.by == "none":
            return self.by
        of_characters = self.by == "character"
        size = f"{self.size} {'characters' if of_characters else 'tokens'}"
        if self.size is None:
            size = f"up to {_CHARACTERS} characters" if of_characters else "as many tokens as the model reads"
        return f"{self.by} ({size}, overlap {self.overlap})"

    def resolved(self, window: int) -> Chunking:
        """Return it with the size for a model that reads `window` tokens; ValueError for what cannot be."""
        if self.by == "none":
            if self.size is not None or self.overlap:
                raise ValueError("none splits nothing, so there is no size and no overlap")
            return self
        of_characters = self.by == "character"
        most = most_code_points(window) if of_characters else window
        size = self.size or (min(_CHARACTERS, most) if of_characters else window)
        if not min(LEAST_SIZE, most) <= size <= most:
            raise ValueError(f"size: from {LEAST_SIZE} to {most} with this model, got {size}")
        if not 0 <= self.overlap <= size // 2:
            raise ValueError(f"overlap: from 0 to half of the size, {size // 2}, got {self.overlap}")
        return replace(self, size=size)

    def without_default(self, max_tokens: int) -> Chunking:
        """Return it without a size that nobody chose, as older versions kept it: all that a model reads.

        max_tokens: that the model of the collection reads, including special tokens.
        """
        defaults = [_CHARACTERS] if self.by == "character" else [max_tokens - below for below in _BELOW_WINDOW]
        return replace(self, size=None) if self.size in defaults else self


WHOLE = Chunking()


class Splitter:
    """Splits documents for one model. Thread-safe."""

    def __init__(self, chunking: Chunking, window: int, token_spans: TokenSpans, language: str = AUTO) -> None:
        """Make a splitter; ValueError for a chunking that is not possible with this model.

        Args:
            chunking: How documents are split.
            window: The tokens that the model reads of a text, without special ones.
            token_spans: Finds the tokens of texts.
            language: Of the documents: a code, "none" or "auto".
        """
        self.chunking = chunking.resolved(window)
        self._window, self._token_spans, self._language = window, token_spans, language
        self._prompt = len(token_spans([""])[0])  # tokens that are before every text

    def passages(self, documents: Sequence[Passage]) -> Iterator[list[Passage]]:
        """Yield the passages of each document: itself if it fits, else its chunks, each with the title before it.

        Blank chunks are left out. Of a title that takes more than half of what the model reads, the beginning is kept.
        """
        if self.chunking.by == "none":
            yield from ([document] for document in documents)
            return
        contents = [document.content[: most_code_points(self._window) + 1] for document in documents]
        counts = [len(spans) for run in runs([*map(len, contents)]) for spans in self._token_spans(contents[run])]
        for document, count in zip(documents, counts, strict=True):
            yield [document] if self.fits(document, count) else self.chunks(document)

    def fits(self, document: Passage, tokens: int) -> bool:
        """Return whether a document is one passage. tokens: that the model reads of it, or its first ones if too many.

        Those of a prompt are among them.
        """
        if self.chunking.by == "none":
            return True
        count = max(tokens - self._prompt, _least_tokens(document.content))
        return count <= min(self._window, self._tokens) and len(document.text) <= self._characters

    def chunks(self, document: Passage) -> list[Passage]:
        """Return the chunks of a document, each with the title before it; the document if all of it is blank."""
        title, text = self._short(document.title), document.text
        room = max(1, self._window - (self._counts([title])[0] if title else 0))
        return [
            Passage(document.id, title, text[start:end], (start, end))
            for start, end in self.split(text, room)
            if VISIBLE.search(text, start, end)
        ] or [document]

    def _short(self, title: str) -> str:
        """The beginning of a title that leaves at least about half of the tokens for the text."""
        half = self._window // 2
        title = title[: most_code_points(half)]
        spans = self._token_spans([title])[0][self._prompt :]
        return title[: spans[half - 1, 1]] if len(spans) > half else title

    def split(self, text: str, room: int | None = None) -> Iterator[Range]:
        """Yield the chunks of a text, in order; together they cover it, and each has at most `room` tokens.

        room: tokens; None for as many as the model reads.
        """
        if self.chunking.by == "none" or not text:
            yield 0, len(text)
            return
        room = min(self._window if room is None else room, self._tokens)
        split = self._in_language(text)
        start, length, reached = 0, _BLOCK, 0
        while True:
            block = text[start : start + length]
            chunks = list(self._fitting(block, split(block, room), room))
            is_last = start + length >= len(text)
            if not is_last and len(chunks) == 1:
                length *= 2
                continue
            # The last chunk may go on after the block: the next block begins with it.
            for first, last in chunks if is_last else chunks[:-1]:
                if start + last > reached:  # else the chunk before it, of the block before, holds all of it
                    reached = start + last
                    yield start + first, reached
            if is_last:
                return
            start, length = start + chunks[-1][0], _BLOCK

    @property
    def _tokens(self) -> int:
        """The most tokens of a chunk."""
        return self._window if self.chunking.by in {"none", "character"} else self.chunking.size or self._window

    @property
    def _characters(self) -> int:
        """The most characters of a chunk."""
        size = self.chunking.size if self.chunking.by == "character" else None
        return size or most_code_points(self._window)

    def _in_language(self, text: str) -> Callable[[str, int], Iterable[Range]]:
        """What splits a block into chunks of so many tokens."""
        if self.chunking.by == "sentence":
            words = words_of(text[:_DETECTED_BY])
            language = detect(terms(words, NONE)) if self._language == AUTO else self._language
            return lambda block, room: self._filled(block, [_sentences(block, language), _words(block)], room)
        if self.chunking.by == "token":
            return lambda block, room: self._filled(block, [], room)
        return self._recursive if self.chunking.by == "recursive" else self._by_character

    def _by_character(self, block: str, room: int) -> Iterator[Range]:  # noqa: ARG002 - `_fitting` sees to it
        size, start = self._characters, 0
        while start + size < len(block):
            end = start + size
            while combining(block[end]) and end > start + size // 2 + 1:
                end -= 1  # a mark stays with its letter
            yield start, end
            start = end - self.chunking.overlap
        yield start, len(block)

    def _recursive(self, block: str, room: int) -> Iterator[Range]:
        overlap = min(self.chunking.overlap, room // 2)
        splitter = TextSplitter.from_callback(lambda piece: self._counts([piece])[0], room, overlap, trim=False)
        return ((start, start + len(chunk)) for start, chunk in splitter.chunk_indices(block))

    def _filled(self, block: str, levels: Sequence[Cuts], room: int, *, overlapping: bool = True) -> Iterator[Range]:
        """Chunks as long as possible that end at cuts of the first level that has one within reach, else at a token.

        Args:
            block: The text.
            levels: Where it may be cut, the best places first.
            room: Tokens of a chunk.
            overlapping: Whether chunks overlap.
        """
        tokens = np.sort(self._token_spans([block])[0][self._prompt :, 0])  # (t,) where they start
        overlap = min(self.chunking.overlap, room // 2) if overlapping else 0
        start = end = 0
        while True:
            after = int(np.searchsorted(tokens, start)) + room  # the first token that is too many
            reach = min(len(block), start + most_code_points(room))
            reach = max(start + 1, min(reach, int(tokens[after]))) if after < len(tokens) else reach
            if reach >= len(block):
                yield start, len(block)
                return
            end = next((cut for cuts in levels if (cut := _last(cuts, reach)) > end), reach)
            begun, start = start, end
            if overlap:
                first = int(np.searchsorted(tokens, end)) - overlap
                least = max(end - most_code_points(overlap), int(tokens[first]) if first > 0 else 0)
                start = next((cut for cuts in levels if (cut := _first(cuts, least)) < end), least)
            if start > begun:  # else the next chunk repeats all of this one
                yield begun, end

    def _fitting(self, block: str, chunks: Iterable[Range], room: int) -> Iterator[Range]:
        """The chunks; one that has more tokens by itself than in the block is divided."""
        if self.chunking.by == "recursive":  # which counts each by itself
            yield from chunks
            return
        ranges = list(chunks)
        for (start, end), count in zip(ranges, self._counts([block[s:e] for s, e in ranges]), strict=True):
            if count <= room:
                yield start, end
            else:
                yield from ((start + s, start + e) for s, e in self._divided(block[start:end], room))

    def _divided(self, text: str, room: int) -> list[Range]:
        target = room
        while True:
            ranges = list(self._filled(text, [], target, overlapping=False))
            excess = max(self._counts([text[start:end] for start, end in ranges])) - room
            if excess <= 0 or target == 1:
                return ranges
            target = max(1, target - excess)

    def _counts(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text; more for one of which the model would not look at all characters."""
        spans = self._token_spans(texts)
        return [max(len(rows) - self._prompt, _least_tokens(text)) for rows, text in zip(spans, texts, strict=True)]


def _least_tokens(text: str) -> int:
    """The tokens for which the model looks at so many characters."""
    return -(-len(text) // most_code_points(1))


def _sentences(text: str, language: str) -> Cuts:
    return np.array([each["start_index"] for each in sentencex.get_sentence_boundaries(language, text)], dtype=np.int64)


def _words(text: str) -> Cuts:
    return np.array([match.start() for match in _WORD_START.finditer(text)], dtype=np.int64)


def _last(cuts: Cuts, most: int) -> int:
    """The last cut up to a code point; -1 if there is none."""
    at = np.searchsorted(cuts, most, side="right")
    return int(cuts[at - 1]) if at else -1


def _first(cuts: Cuts, least: int) -> int:
    """The first cut from a code point on; beyond all of them if there is none."""
    at = np.searchsorted(cuts, least)
    return int(cuts[at]) if at < len(cuts) else sys.maxsize
