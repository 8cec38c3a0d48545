"""Sentence segmentation, and the test whether a text is blank."""

from __future__ import annotations

import re
from collections.abc import Iterator

import sentencex

from retrieval.text.characters import class_of_categories

# Marks that end a sentence whatever follows: of Chinese and Japanese, Indic scripts, Arabic and Urdu, Armenian,
# Ethiopic, Burmese, Khmer. They are Unicode's Sentence_Terminal without those that stand in numbers as well.
_MARKS = "\u3002\uff61\uff01\uff1f\u0964\u0965\u061f\u06d4\u0589\u1362\u1367\u104b\u17d4"
# May follow the end mark of a sentence. In German and Danish “ and « close; asterisks and underscores are Markdown's.
_CLOSING = r"""["'”’“‘»«)\]*_]"""
# A full stop inside a number or a name does not end a sentence. The lookbehind lets a match start only at the first
# mark of a run, or a run would take quadratic time.
_END = re.compile(
    rf"""(?<![.!?…])[.!?…]++{_CLOSING}*+(?:\[\d++\])*+(?:[ \u00a0\u202f]»)?(?=\s)"""
    rf"""|[{_MARKS}]++["'”’»)\]」』）]*+|[\n\r\v\f\x85\u2028\u2029]"""
)
_NEXT = re.compile(r"\S")
_BLOCK = 8192  # code points in which sentencex looks at once: for some texts it takes quadratic time
_ITEM = 2  # digits of an item's number at most: in "1. Download it" no sentence ends

# Any character except white space, control and format characters (zero width spaces and joiners, soft hyphens, byte
# order marks). A text without a visible character is blank.
VISIBLE = re.compile(f"[^{class_of_categories('Cc', 'Cf', 'Zl', 'Zp', 'Zs')}\U000e0001\U000e0020-\U000e007f]")


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the code points [start, end) of a text's sentences, in order, without white space at either end.

    A sentence ends with . ! ? or … before white space, with a mark of another script such as 。 ؟ or ।, or with the
    line. Which full stops end none, as of initials and abbreviations, sentencex knows. Only white space lies between
    sentences; a blank text has none.
    """
    spans, start = [], 0
    for end in (*_ends(text), len(text)):
        piece = text[start:end]
        if sentence := piece.strip():
            first = start + len(piece) - len(piece.lstrip())
            spans.append((first, first + len(sentence)))
        start = end
    return spans


def _ends(text: str) -> Iterator[int]:
    """Where sentences end."""
    begun, start = None, _visible(text, 0)
    for match in _END.finditer(text):
        if match[0][0] in ".…":
            begun = _begun(text) if begun is None else begun
            number = text[start : match.start()] if match.start() - start <= _ITEM else ""
            after = range(match.start() + 1, _visible(text, match.end()) + 1)
            if begun.isdisjoint(after) or number.isdigit():
                continue
        yield match.end()
        if start < match.end():  # else white space would be looked at again for each line in it
            start = _visible(text, match.end())


def _begun(text: str) -> set[int]:
    """Where sentences begin, by sentencex; the end of the text is one such place."""
    begun = {len(text)}
    for at in range(0, len(text), _BLOCK):
        found = sentencex.get_sentence_boundaries("en", text[at : at + _BLOCK])  # it knows others' abbreviations, too
        begun.update(_visible(text, at + each["start_index"]) for each in found)
    return begun


def _visible(text: str, at: int) -> int:
    """The next place that is no white space, or the end."""
    found = _NEXT.search(text, at)
    return found.start() if found else len(text)
