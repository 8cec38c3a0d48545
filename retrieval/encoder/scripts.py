"""Which scripts a model reads: those that its vocabulary has words of, and not the single letters alone.

A model in English has the letters of other scripts in its vocabulary, too. It spells a Russian or Japanese text with
them, and its vectors say little of what that means.
"""

from __future__ import annotations

from tokenizers import Tokenizer

from retrieval.text.characters import script_of

# MiniLM's has eight pieces of words in Cyrillic, fewer in all others but Latin, and 488 signs of Chinese.
_PIECES = 100  # of at least two letters
_SIGNS = 1000  # or as many entries in all: one sign may be a word
_SPACE = "Ġ"  # how a vocabulary of bytes writes a space


def scripts_of(tokenizer: Tokenizer) -> frozenset[str]:
    """Return the scripts that a tokenizer's vocabulary has words of, named as by `script_of`."""
    vocabulary = tokenizer.get_vocab()
    entries = list(vocabulary)
    if _SPACE in vocabulary:
        entries = tokenizer.decode_batch([[number] for number in vocabulary.values()])
    signs: dict[str, int] = {}
    pieces: dict[str, int] = {}
    for entry in entries:
        piece = entry.removeprefix("##").lstrip("▁ ")
        if piece and (script := script_of(piece[0])) is not None:
            signs[script] = signs.get(script, 0) + 1
            pieces[script] = pieces.get(script, 0) + (len(piece) > 1)
    return frozenset(script for script in signs if signs[script] >= _SIGNS or pieces[script] >= _PIECES)
