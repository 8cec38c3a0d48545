"""What the characters of a text tell of it: whether it looks like a program, and which scripts it is in."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np

_BEGINNING = 1000  # code points that are looked at
_SYMBOLS = b"{}()[]=<>_;:.*&|\\/#@$%^~+\"'`"
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA")  # in Japanese they stand together


def symbol_share(text: str) -> float:
    """Return the share of symbols at the beginning of a text, in bytes: 0 to 1; NaN for an empty text.

    Texts have at most 3 % on average, Python functions 12 % (measured on the development collections).
    """
    beginning = text[:_BEGINNING].encode("utf-8", "replace")
    return 1 - len(beginning.translate(None, _SYMBOLS)) / len(beginning) if beginning else np.nan


def is_read(text: str, scripts: frozenset[str] | None) -> bool:
    """Whether at least half of the letters at the beginning of a text are of these scripts, or it has none.

    scripts: Named as by `script_of`. None: nobody knows, and all are taken for read.
    """
    if scripts is None:
        return True
    beginning = unicodedata.normalize("NFKC", text[:_BEGINNING])
    letters = [script for letter in beginning if (script := script_of(letter)) is not None]
    return 2 * sum(script in scripts for script in letters) >= len(letters)


@lru_cache(10_000)
def script_of(letter: str) -> str | None:
    """The script of a character, as its name in Unicode begins, such as "LATIN"; None if it is no letter."""
    if not letter.isalpha():
        return None
    script = unicodedata.name(letter, "").partition(" ")[0]
    return _EAST_ASIAN[0] if script in _EAST_ASIAN else script
