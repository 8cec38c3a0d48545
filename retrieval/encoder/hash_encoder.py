"""A deterministic encoder without weights, for contract tests and for trying the service without a model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder.protocol import Granularity, Role, Tokens
from retrieval.encoder.states import Encoded, quantise, unit_rows
from retrieval.text.limits import most_code_points

DIMENSION = 64
_WORD = re.compile(r"\w++")


@lru_cache(maxsize=65536)
def _word_id(word: str) -> int:
    """Return the word's hash as a number, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=7).digest())


@lru_cache(maxsize=65536)
def _word_vector(word_id: int) -> NDArray[np.float32]:
    """Return a pseudorandom (D,) float32 vector that depends only on the word."""
    return np.random.default_rng(word_id).standard_normal(DIMENSION, dtype=np.float32)


class HashEncoder:
    """Maps each word to a pseudorandom vector seeded by its hash; texts are similar if they share words."""

    name = "hash"
    digest = "hash-64-v2"
    arithmetic = "numpy-f32"
    pooled_dimension = token_dimension = DIMENSION
    max_tokens = 512
    streams = 1
    granularity: Granularity = "token"
    late_interaction = False
    scripts = None
    breaker = None

    def tokenize(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:  # noqa: ARG002 - both roles are equal
        """Return the words of n texts as tokens; a text without words gets one token, the empty word."""
        end = most_code_points(self.max_tokens)
        words = [_WORD.findall(text[:end])[: self.max_tokens] or [""] for text in texts]
        ids = [np.array([_word_id(word.lower()) for word in text], dtype=np.int64) for text in words]
        return [Tokens(row, np.ones(row.size, dtype=bool), row.size) for row in ids]

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the code points [start, end) of the words of n texts, (t, 2) int64 each."""
        spans = [[match.span() for match in _WORD.finditer(text)] for text in texts]
        return [np.array(rows, dtype=np.int64).reshape(-1, 2) for rows in spans]

    def row_spans(self, texts: Sequence[str], role: Role = "document") -> list[NDArray[np.int64]]:  # noqa: ARG002
        """Return the code points [start, end) of the words that are read of n texts, (r, 2) int64 each."""
        nothing = np.zeros((1, 2), dtype=np.int64)
        end = most_code_points(self.max_tokens)
        spans = self.token_spans([text[:end] for text in texts])
        return [rows[: self.max_tokens] if len(rows) else nothing for rows in spans]

    def forward(self, batch: Sequence[Tokens]) -> Encoded:
        """Return the states of b ≥ 0 texts."""
        counts = np.array([text.ids.size for text in batch], dtype=np.int64)
        rows = [_word_vector(word) for text in batch for word in text.ids.tolist()]
        vectors = np.array(rows, dtype=np.float32).reshape(-1, DIMENSION)  # (T, D)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        sums = np.add.reduceat(vectors, offsets[:-1], axis=0) if len(batch) else vectors
        return Encoded(unit_rows(sums), quantise(vectors), offsets, counts, np.zeros_like(counts))

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Encoded:
        """Return the states of n ≥ 1 texts of `tokenize`."""
        return self.forward(tokens)

    def encode(self, texts: Sequence[str], role: Role = "document") -> Encoded:
        """Encode n texts."""
        return self.forward(self.tokenize(texts, role))
