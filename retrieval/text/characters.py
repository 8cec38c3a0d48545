"""What characters are, by Unicode's categories, and what those of a text tell: whether it is a program, its scripts."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BEGINNING = 1000  # code points that are looked at
_SYMBOLS = b"{}()[]=<>_;:.*&|\\/#@$%^~+\"'`"
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA")  # in Japanese they stand together
_PLANES = 0x20000  # above are letters, and the tags and variation selectors at 0xE0000

# By code point, in two ASCII letters.
_CATEGORIES = np.frombuffer("".join(map(unicodedata.category, map(chr, range(_PLANES)))).encode(), dtype="S2")


def of_categories(*categories: str) -> NDArray[np.bool_]:
    """By code point below 0x20000, whether the character is of one of these Unicode categories, such as "Mn"."""
    return np.isin(_CATEGORIES, [category.encode() for category in categories])


def class_of_categories(*categories: str) -> str:
    """The inside of a regular expression's class of the characters of these Unicode categories, as ranges."""
    edges = np.flatnonzero(np.diff(of_categories(*categories).astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    return "".join(f"\\U{first:08x}-\\U{end - 1:08x}" for first, end in edges.tolist())


def symbol_share(text: str) -> float:
    """Return the share of symbols at the beginning of a text, in bytes: 0 to 1; NaN for an empty text.

    Texts have at most 3 % on average, Python functions 12 % (measured on the development collections).
    """
    beginning = text[:BEGINNING].encode("utf-8", "replace")
    return 1 - len(beginning.translate(None, _SYMBOLS)) / len(beginning) if beginning else np.nan


def is_read(text: str, scripts: frozenset[str] | None) -> bool:
    """Whether at least half of the letters at the beginning of a text are of these scripts, or it has none.

    scripts: Named as by `script_of`. None: nobody knows, and all are taken for read.
    """
    if scripts is None:
        return True
    beginning = unicodedata.normalize("NFKC", text[:BEGINNING])
    letters = [script for letter in beginning if (script := script_of(letter)) is not None]
    return 2 * sum(script in scripts for script in letters) >= len(letters)


def well_formed(text: str) -> str:
    """Return a text with "?" for each lone surrogate, which no tokenizer and no server takes; places stay the same."""
    return text.encode("utf-8", "replace").decode()


@lru_cache(10_000)
def script_of(letter: str) -> str | None:
    """The script of a character, as its name in Unicode begins, such as "LATIN"; None if it is no letter."""
    if not letter.isalpha():
        return None
    script = unicodedata.name(letter, "").partition(" ")[0]
    return _EAST_ASIAN[0] if script in _EAST_ASIAN else script
