"""A deterministic encoder with no weights: for contract tests and for trying the service without a model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Role
from retrieval.encoding import Encoded, quantise, unit_rows

DIMENSION = 64
_WORD = re.compile(r"\w+")


@lru_cache(maxsize=65536)
def _word_vector(word: str) -> NDArray[np.float32]:
    """A (D,) float32 vector of random direction, the same for the same word on every machine."""
    digest = hashlib.blake2b(word.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest)).standard_normal(DIMENSION, dtype=np.float32)


class HashEncoder:
    """Each word is a random direction fixed by its hash; texts are alike when they share words."""

    name = "hash"
    digest = "hash-64-v1"
    arithmetic = "numpy-f32"
    max_tokens = 512

    def encode(self, texts: Sequence[str], role: Role = "document") -> Encoded:  # noqa: ARG002 - both roles read alike
        """Encode n texts; a text without words is one token, the empty word."""
        words = [_WORD.findall(text.lower())[: self.max_tokens] or [""] for text in texts]
        counts = np.array([len(w) for w in words], dtype=np.int64)
        rows = [_word_vector(word) for text in words for word in text]
        vectors = np.array(rows, dtype=np.float32).reshape(-1, DIMENSION)  # (T, D)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        sums = np.add.reduceat(vectors, offsets[:-1], axis=0) if texts else vectors
        return Encoded(unit_rows(sums), quantise(vectors), offsets, counts)
