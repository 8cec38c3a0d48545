"""Passages, the unit of indexing and ranking; what ranking needs to know of their texts; splitting of long texts."""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.text.characters import symbol_share

# Of a text, so that it need not be read to rank it: its code points, `symbol_share`, and a hash that is equal for equal
# texts.
TRAITS = np.dtype([("characters", "<i8"), ("symbols", "<f8"), ("digest", "<u8")])


@dataclass(frozen=True)
class Passage:
    """A piece of text with the id and the title of its document."""

    id: str
    title: str
    text: str
    chunk: tuple[int, int] | None = None  # code points [start, end) of the document's text; None: all of it

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Passage:
        """Return the passage with these fields, as JSON has them; TypeError or KeyError for other ones."""
        chunk = fields.get("chunk")
        return Passage(**{**fields, "chunk": None if chunk is None else (int(chunk[0]), int(chunk[1]))})

    @property
    def content(self) -> str:
        """The text that is encoded and ranked: title and text."""
        return f"{self.title} {self.text}".strip()


def traits_of(texts: Sequence[str]) -> NDArray[np.void]:
    """Return the `TRAITS` of n texts, (n,)."""
    return np.array([(len(text), symbol_share(text), _digest(text)) for text in texts], dtype=TRAITS)


def _digest(text: str) -> int:
    """64 bits: that any two of 1000 different texts get the same ones has a probability of 3e-14."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


_PARAGRAPH = re.compile(r"\n(?:[^\S\n]*\n)+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def split_passages(text: str, max_words: int = 120) -> list[str]:
    """Pack the paragraphs of a text into passages of at most `max_words` words, separated by white space.

    A longer paragraph is split between sentences, a longer sentence between words. The words of all passages in order
    are exactly the words of the text. No passage is empty; a blank text has none. A paragraph that fits keeps its line
    breaks and relative indentation, so that code stays readable. ValueError for max_words < 1.
    """
    if max_words < 1:
        raise ValueError(f"a passage needs room for at least one word, got max_words={max_words}")
    passages: list[str] = []
    room = 0
    for gap, piece in _pieces(text, max_words):
        words = len(piece.split())
        if words <= room:
            passages[-1] += gap + piece
        else:
            passages.append(piece)
            room = max_words
        room -= words
    return [textwrap.dedent(passage).strip() for passage in passages]


def _pieces(text: str, max_words: int) -> Iterator[tuple[str, str]]:
    """Yield non-blank pieces of at most `max_words` words, each with the separator before it."""
    for paragraph in _PARAGRAPH.split(text):
        gap = "\n\n"
        for piece in _fitting(paragraph, max_words):
            yield gap, piece
            gap = " "


def _fitting(paragraph: str, max_words: int) -> Iterator[str]:
    """Yield the paragraph if it fits, else its sentences, and runs of words of a longer sentence."""
    if not paragraph.strip():
        return
    if len(paragraph.split()) <= max_words:
        yield paragraph.rstrip()
        return
    for sentence in _SENTENCE.split(paragraph.strip()):
        words = sentence.split()
        if len(words) <= max_words:
            yield sentence
        else:
            yield from (" ".join(words[at : at + max_words]) for at in range(0, len(words), max_words))
