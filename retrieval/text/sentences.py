"""Sentence segmentation, and the test whether a text is blank."""

from __future__ import annotations

import re

from retrieval.text.characters import class_of_categories

# Marks that end a sentence whatever follows: of Chinese and Japanese, Indic scripts, Arabic and Urdu, Armenian,
# Ethiopic, Burmese, Khmer. They are Unicode's Sentence_Terminal without those that stand in numbers as well.
_MARKS = "\u3002\uff61\uff01\uff1f\u0964\u0965\u061f\u06d4\u0589\u1362\u1367\u104b\u17d4"
# Quotes and brackets may follow the end mark of a sentence. A full stop inside a number or a name does not end one.
# The lookbehind lets a match start only at the first mark of a run, or a run would take quadratic time.
_END = re.compile(
    rf"""(?<![.!?…])[.!?…]++["'”’»)\]]*+(?=\s)|[{_MARKS}]++["'”’»)\]」』）]*+|[\n\r\v\f\x85\u2028\u2029]"""
)

# Any character except white space, control and format characters (zero width spaces and joiners, soft hyphens, byte
# order marks). A text without a visible character is blank.
VISIBLE = re.compile(f"[^{class_of_categories('Cc', 'Cf', 'Zl', 'Zp', 'Zs')}\U000e0001\U000e0020-\U000e007f]")


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the code points [start, end) of a text's sentences, in order, without white space at either end.

    A sentence ends with . ! ? or … before white space, with a mark of another script such as 。 ؟ or ।, or with the
    line. Only white space lies between sentences; a blank text has none.
    """
    ends = [match.end() for match in _END.finditer(text)]
    spans = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        piece = text[start:end]
        if sentence := piece.strip():
            first = start + len(piece) - len(piece.lstrip())
            spans.append((first, first + len(sentence)))
    return spans
