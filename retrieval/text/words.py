"""Words of a text in any script, normalised: what the lexical score compares.

Scripts that put no spaces between words (Han, Kana, Thai, Lao, Khmer, Burmese), and Hangul, whose words carry their
particles with them, are read as overlapping pairs of characters: a query finds a word wherever it stands, without a
dictionary. An identifier gives its parts beside the whole: `getUserName`, `user_name`, `os.path.join`, `src/main.c`.
What is spelled in two ways gives both: Wi-Fi and wifi, 1,000 and 1000, 5kg and 5 kg, a Persian compound with a joiner.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from retrieval.text.characters import class_of_categories, of_categories

LONG_WORD = 64  # code points; longer ones are neither stemmed nor split into parts

_MARKS_IN_A_ROW = 30  # Unicode Standard Annex 15, definition D4
# What stands for ' in "don't", Ukrainian "п'ять", Uzbek "o'zbek" and Hebrew "צ'ק": quotation marks, letters, geresh.
_APOSTROPHES = "\u2018\u2019\u02bb\u02bc\u05f3"
_GROWTH = 4  # limit of the normalised length, as a multiple of the original; one character can become 18
_SHORT = 1000  # code points; a normalised text up to this length is never truncated

_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1100, 0x11FF),  # Hangul letters
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # iteration mark, closing mark, zero of Han
    (0x3040, 0x31BF),  # Hiragana, Katakana, Bopomofo, Hangul letters
    (0x31F0, 0x31FF),  # Katakana
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xA960, 0xA97F),  # Hangul letters
    (0xAC00, 0xD7FF),  # Hangul
    (0xF900, 0xFAFF),  # Han
    (0x20000, 0x323AF),
)


def _codes(text: str) -> NDArray[np.uint32]:
    """The code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _holds(characters: NDArray[np.bool_], text: str) -> bool:
    """Whether a text holds any of these characters, by code point."""
    return bool(characters.take(_codes(text)).any())


_MARK = class_of_categories("Mn", "Mc")
_DENSE = "".join(f"{chr(first)}-{chr(last)}" for first, last in _SPACELESS)
_LETTER = rf"(?:[^\W{_DENSE}]|[{_MARK}])"  # of a script with spaces; combining marks are no `\w`, but belong to a word

# An apostrophe between letters is part of the word: "don't" is one word, and a stemmer removes "'s".
_ASCII_WORD = re.compile(r"\w++(?:'\w++)*+", re.ASCII)
_PLAIN_WORD = re.compile(r"\w++(?:'\w++)*+")  # three times as fast, where there are no marks and no dense scripts
_WORD = re.compile(rf"[^\W{_DENSE}]{_LETTER}*+(?:'{_LETTER}++)*+|[{_DENSE}][{_DENSE}{_MARK}]*+")
_IS_DENSE = re.compile(f"[{_DENSE}]")
# By code point: what a word begins, or goes on, with in another way than `\w`; and what `_FORMAT` removes.
_NEEDS_CARE, _FORMATS = (np.zeros(sys.maxunicode + 1, dtype=bool) for _ in range(2))
_NEEDS_CARE[np.flatnonzero(of_categories("Mn", "Mc"))] = True
for _first, _last in _SPACELESS:
    _NEEDS_CARE[_first : _last + 1] = True
_FORMATS[np.flatnonzero(of_categories("Cf"))] = True
_FORMATS[0xE0000:0xE1000] = True
_SPECIAL = np.zeros(sys.maxunicode + 1, dtype=bool)  # what `_FRACTION`, `_GLUED` and `_STRESS` begin with
_SPECIAL[[ord(each) for each in "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞↉™℠⁰¹²³⁴⁵⁶⁷⁸⁹\u0300\u0301"]] = True
# By code point, the ASCII digit of the same value; 0 for what is no digit or one of ASCII.
_DIGIT_OF = np.zeros(sys.maxunicode + 1, dtype=np.uint8)
for _code in np.flatnonzero(of_categories("Nd"))[10:].tolist():
    _DIGIT_OF[_code] = ord("0") + unicodedata.decimal(chr(_code))
_CLUSTER = re.compile(f"[^{_MARK}][{_MARK}]*+")  # a character with its combining marks
_FORMAT = re.compile(f"[{class_of_categories('Cf')}\U000e0000-\U000e0fff]+")
# The lookbehind lets a match start only at the beginning of a word, or a long word would take quadratic time.
_DOTTED = re.compile(r"(?<!\w)\w++(?:[./\\:]++\w++)++")
_BEFORE_WORD = re.compile(r"[./\\:]\w")  # without one, nothing is dotted: ten times faster to see
# An underscore, `aB`, `1B` or `ABc`. It begins with what is rare, so that most of a text is skipped.
_COMPOUND = re.compile(r"[_A-Z](?:(?<=_)|(?<=[a-z\d][A-Z])|(?<=[A-Z]{2})[a-z])")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NUMBERED_PART = re.compile(r"(?:(?<![A-Z])[A-Z]++|[A-Z][a-z]++|(?<![A-Za-z])[a-z]++)\d++")
_HYPHENATED = re.compile(r"(?<![\w-])\w++(?:-\w++)++")
_JOINED = 8  # letters of what is spelled as one word, too: e-mail, Wi-Fi, COVID-19, but not state-of-the-art
_UNIT = "[kmg]?g|[kcmn]m|[km]?l|[kmgt]b|[kmg]?hz|k?wh?|mah|px|ms|lbs?|oz|ft|mph"
_NUMBER = re.compile(rf"\d(?:[,.']\d{{3}}|(?:{_UNIT}))(?!\w)", re.IGNORECASE)
_GROUPED = re.compile(r"(?<![\w.,'])[1-9]\d{0,2}(?:[,.']\d{3})++(?!\w)")
_SEPARATORS = re.compile("[,.']")
_WITH_UNIT = re.compile(rf"(?<!\w)(\d++)({_UNIT})(?!\w)", re.IGNORECASE)
_JOINER = "\u200c"  # between the parts of Persian compounds, which are typed with a space as well
# Behind a sign such as the virama, which is no `\w`, it says how Indic letters are drawn, and parts nothing.
_COMPOUNDED = re.compile(r"(?<![\w\u200c])\w++(?:\u200c\w++)++")
# What NFKC would glue to the word before it: fractions ("2½" is not 21), trade marks, the mark of a footnote.
_FRACTION = re.compile("[¼-¾⅐-⅞↉]")
_GLUED = re.compile(r"[™℠]|[⁰¹²³⁴-⁹](?<=[^\W\d_]{4}.)")
_STRESS = re.compile("[\u0300\u0301](?<=[\u0400-\u04ff].)")  # of dictionaries; NFKC has composed what is a letter


def words_of(text: str, *, query: bool = False) -> list[str]:
    """Return the words of a text, in lower case.

    A run of a dense script gives its pairs of characters, and in a document its single characters too: so a query of
    one character finds it. Format characters (soft hyphens, joiners, direction marks) are dropped, combining marks stay
    with their letters. The time is linear in the length of any text.

    query: whether the text is a query.
    """
    compounds = [each for run in _around(_JOINER, text) for each in _COMPOUNDED.findall(run)]
    parts = words_of(" ".join(compounds).replace(_JOINER, " "), query=query) if compounds else []
    if text.isascii():
        pattern, words = _ASCII_WORD, _ASCII_WORD.findall(text.lower())
    else:
        text = _normalised(text)
        lower = text.lower()
        pattern = _WORD if _holds(_NEEDS_CARE, lower) else _PLAIN_WORD
        words = pattern.findall(lower)
        if pattern is _WORD:
            words = [word for run in words for word in _pieces(run, query=query)]
    for run in _between_spaces(_COMPOUND, text):
        words += (part.lower() for word in pattern.findall(run) for part in _parts(word))
    for run in _between_spaces(_BEFORE_WORD, text):
        words += (whole.lower() for whole in _DOTTED.findall(run) if len(whole) <= LONG_WORD)
    return [*words, *_other_spellings(text), *parts]


def _other_spellings(text: str) -> Iterator[str]:
    """What stands in a text in one of two spellings, in the other one."""
    for run in _around("-", text):
        for hyphenated in _HYPHENATED.findall(run):
            joined = hyphenated.replace("-", "").lower()
            if len(joined) <= _JOINED or (joined.isdigit() and len(joined) <= LONG_WORD):
                yield joined
    for run in _between_spaces(_NUMBER, text):
        yield from (_SEPARATORS.sub("", number) for number in _GROUPED.findall(run))
        for number, unit in _WITH_UNIT.findall(run):
            yield from (number, unit.lower())


def _between_spaces(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """The pieces of a text, from a space or its beginning to a space or its end, in which a pattern is found."""
    end = 0
    for match in pattern.finditer(text):
        if match.start() >= end:
            begin, end = _piece(text, match.start(), end)
            yield text[begin:end]


def _around(character: str, text: str) -> Iterator[str]:
    """The pieces of a text that hold a character; faster than `_between_spaces`."""
    end, at = 0, text.find(character)
    while at >= 0:
        begin, end = _piece(text, at, end)
        yield text[begin:end]
        at = text.find(character, end)


def _piece(text: str, at: int, least: int) -> tuple[int, int]:
    """Where the piece between spaces around a place begins and ends. least: where it begins at the earliest."""
    end = text.find(" ", at)
    return max(least, text.rfind(" ", least, at)), len(text) if end < 0 else end


def _normalised(text: str) -> str:
    """One spelling of each word: by NFKC, with the apostrophe and the digits of ASCII, and no dot above i.

    NFKC replaces ligatures and full-width letters. The lower case of Turkish İ is i with a dot above, a mark that
    "istanbul" has not.
    """
    most = max(_SHORT, _GROWTH * len(text))
    if _holds(_FORMATS, text):
        text = _FORMAT.sub("", text)
    if is_special := _holds(_SPECIAL, text):
        text = _GLUED.sub(" ", _FRACTION.sub(r" \g<0>", text))
    text = unicodedata.normalize("NFKC", stream_safe(text))[:most].replace("İ", "I").replace("i\u0307", "i")
    if is_special:
        text = _STRESS.sub("", text)
    for mark in _APOSTROPHES:
        text = text.replace(mark, "'")
    text = text.replace("\u2010", "-")  # NFKC makes it of the hyphen that does not break
    digits = _DIGIT_OF.take(codes := _codes(text))
    return np.where(digits, digits, codes).tobytes().decode("utf-32-le", "surrogatepass") if digits.any() else text


def _pieces(word: str, *, query: bool) -> list[str]:
    """The word; of a dense script, its pairs of characters."""
    if not _IS_DENSE.match(word):
        return [word]
    characters = _CLUSTER.findall(word)
    if len(characters) == 1:
        return [word]
    pairs = [first + second for first, second in pairwise(characters)]
    return pairs if query else pairs + characters


def _parts(word: str) -> Iterator[str]:
    """The parts of an identifier; nothing for a word of one part or a very long one."""
    if len(word) <= LONG_WORD and _COMPOUND.search(word):
        between = [part for part in word.split("_") if part]
        parts = _PART.findall(word) if word.isascii() else between
        if len(parts) > 1:
            yield from parts
        if any(map(str.isdigit, parts)):  # sha256 is one part, too
            others = dict.fromkeys([*between, *_NUMBERED_PART.findall(word)])
            yield from (part for part in others if part not in (word, *parts))


def _reorderable_marks() -> NDArray[np.bool_]:
    """By code point, whether normalisation can reorder it: combining marks, and characters that decompose to them."""
    marks = np.zeros(sys.maxunicode + 1, dtype=bool)
    codes = np.flatnonzero(of_categories("Mn", "Mc"))
    marks[codes] = [unicodedata.combining(chr(code)) > 0 for code in codes]
    marks[[0x0F73, 0x0F75, 0x0F81, 0xFF9E, 0xFF9F]] = True
    return marks


_REORDERABLE = _reorderable_marks()


def stream_safe(text: str) -> str:
    """Limit each run of combining marks to the first 30.

    CPython normalises a run of marks in quadratic time, and no language has so many: see the Stream-Safe Text Format in
    Unicode Standard Annex 15. The annex splits long runs; dropping the surplus is simpler.
    """
    codes = _codes(text)
    marks = _REORDERABLE.take(codes)
    if np.count_nonzero(marks) <= _MARKS_IN_A_ROW:
        return text
    window = _MARKS_IN_A_ROW + 1
    marks_before = np.concatenate([[0], np.cumsum(marks)])
    surplus = np.flatnonzero(marks_before[window:] - marks_before[:-window] == window) + _MARKS_IN_A_ROW
    return np.delete(codes, surplus).tobytes().decode("utf-32-le", "surrogatepass") if surplus.size else text
