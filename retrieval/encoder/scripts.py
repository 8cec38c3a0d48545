"""Which scripts a model reads: those that its vocabulary has words of, and not the single letters alone.

A model in English has the letters of other scripts in its vocabulary, too. It spells a Russian or Japanese text with
them, and its vectors say little of what that means.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from tokenizers import Tokenizer

# MiniLM's has eight pieces of words in Cyrillic, fewer in all others but Latin, and 488 signs of Chinese.
_PIECES = 100  # of at least two letters
_SIGNS = 1000  # or as many entries in all: one sign may be a word
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA")  # in Japanese they stand together
_LOOKED_AT = 1000  # characters of a text
_SPACE = "Ġ"  # how a vocabulary of bytes writes a space


def scripts_of(tokenizer: Tokenizer) -> frozenset[str]:
    """Return the scripts that a tokenizer's vocabulary has words of, named as Unicode's names of letters begin."""
    vocabulary = tokenizer.get_vocab()
    entries = list(vocabulary)
    if _SPACE in vocabulary:
        entries = tokenizer.decode_batch([[number] for number in vocabulary.values()])
    signs: dict[str, int] = {}
    pieces: dict[str, int] = {}
    for entry in entries:
        piece = entry.removeprefix("##").lstrip("▁ ")
        if piece and (script := _script(piece[0])) is not None:
            signs[script] = signs.get(script, 0) + 1
            pieces[script] = pieces.get(script, 0) + (len(piece) > 1)
    return frozenset(script for script in signs if signs[script] >= _SIGNS or pieces[script] >= _PIECES)


def is_read(text: str, scripts: frozenset[str] | None) -> bool:
    """Whether at least half of a text's letters are of these scripts; True without letters, or if scripts is None.

    The first 1000 characters decide.
    """
    if scripts is None:
        return True
    beginning = unicodedata.normalize("NFKC", text[:_LOOKED_AT])
    letters = [script for letter in beginning if (script := _script(letter)) is not None]
    return 2 * sum(script in scripts for script in letters) >= len(letters)


@lru_cache(10_000)
def _script(letter: str) -> str | None:
    """The script of a character; None if it is no letter."""
    if not letter.isalpha():
        return None
    script = unicodedata.name(letter, "").partition(" ")[0]
    return _EAST_ASIAN[0] if script in _EAST_ASIAN else script
