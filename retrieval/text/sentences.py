"""Sentence segmentation, and the test whether a text is blank."""

from __future__ import annotations

import re
from collections.abc import Iterator

from retrieval.text.characters import class_of_categories

# Marks that end a sentence whatever follows: of Chinese and Japanese, Indic scripts, Arabic and Urdu, Armenian,
# Ethiopic, Burmese, Khmer. They are Unicode's Sentence_Terminal without those that stand in numbers as well.
_MARKS = "\u3002\uff61\uff01\uff1f\u0964\u0965\u061f\u06d4\u0589\u1362\u1367\u104b\u17d4"
# Quotes and brackets may follow the end mark of a sentence. A full stop inside a number or a name does not end one.
# The lookbehind lets a match start only at the first mark of a run, or a run would take quadratic time.
_CLOSING = r"""["'”’“‘»«)\]*_]"""  # in German and Danish “ and « close; asterisks are Markdown's
_END = re.compile(
    rf"""(?<![.!?…])[.!?…]++{_CLOSING}*+(?:\[\d++\])*+(?:[ \u00a0\u202f]»)?(?=\s)"""
    rf"""|[{_MARKS}]++["'”’»)\]」』）]*+|[\n\r\v\f\x85\u2028\u2029]"""
)
_NEXT = re.compile(r"\S")
_INITIALS = re.compile(r"(?:[A-Z]\.)*+[A-Z]|[^\W\d_]")  # J. R. R. Tolkien, U.S., z. B.
# With a full stop they hardly ever end a sentence: of English, German, French and Spanish.
_ABBREVIATIONS = frozenset(
    """adj al approx bspw bzw ca capt cf cie col cpl dept dr dra e.g eds eg evtl gen ggf gov hon hr hrsg i.d.r i.e ie
    inkl jan feb mr mrs ms lt maj mgr mlle mme mt prof rep rev sen sept sgt sog sr sra srta st u.a vgl viz vs z.b
    zzgl""".split()
)
_BEFORE_NUMBERS = frozenset("abb abs art bd ch chap eq eqs fig figs kap lfd nr no núm p pp s sec sect tab vol".split())
_LONGEST = 12  # code points of what is looked at before a full stop

# Any character except white space, control and format characters (zero width spaces and joiners, soft hyphens, byte
# order marks). A text without a visible character is blank.
VISIBLE = re.compile(f"[^{class_of_categories('Cc', 'Cf', 'Zl', 'Zp', 'Zs')}\U000e0001\U000e0020-\U000e007f]")


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the code points [start, end) of a text's sentences, in order, without white space at either end.

    A sentence ends with . ! ? or … before white space, with a mark of another script such as 。 ؟ or ।, or with the
    line. A full stop after an initial, an abbreviation or the number of an item ends none, nor does one before a small
    letter if the sentence began with a capital. Only white space lies between sentences; a blank text has none.
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
    start = _visible(text, 0)
    for match in _END.finditer(text):
        if match[0][0] not in ".…" or _is_end(text, start, match):
            yield match.end()
            if start < match.end():  # else white space would be looked at again for each line in it
                start = _visible(text, match.end())


def _visible(text: str, at: int) -> int:
    """The next place that is no white space, or the end."""
    found = _NEXT.search(text, at)
    return found.start() if found else len(text)


def _is_end(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether a full stop ends the sentence that starts there."""
    at, after = match.start(), _visible(text, match.end())
    following = text[after : after + 1]
    if following.islower() and not text[start].islower():  # else nobody writes capitals here
        return False
    before = text[max(start, at - _LONGEST) : at]
    if match[0] != "." or not before.strip() or before[-1].isspace():
        return True
    word = before.split()[-1].lstrip("([\"'“„«»")
    if word.isdigit():  # of an item, such as "1. Download it"
        return len(word) > len("99") or len(before) == _LONGEST or before.strip() != word
    name = word.casefold()
    is_numbered = name in _BEFORE_NUMBERS and following.isdigit()
    return not (is_numbered or name in _ABBREVIATIONS or _INITIALS.fullmatch(word))
