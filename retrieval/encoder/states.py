"""The states of texts: one pooled vector per text and one vector per token, as they are scored and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import EncodingError

_ROWS_AT_ONCE = 256  # as floats they fit into the CPU cache


def unit_rows(rows: NDArray[np.generic]) -> NDArray[np.float32]:
    """Scale (m, D) rows of any real dtype to float32 unit rows. EncodingError for a zero or non-finite row."""
    floats = rows.astype(np.float32)
    norms = np.linalg.norm(floats, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms) & (norms > 0)):
        raise EncodingError("the encoder returned a zero or non-finite vector; such a text cannot be scored")
    floats /= norms
    return floats


def quantise(rows: NDArray[np.float32]) -> NDArray[np.int8]:
    """Quantise (m, D) rows to int8, each scaled so that its largest entry is ±127.

    Only directions are scored, so no scale is stored: `unit_rows` restores them with cosine > 0.9998 for D = 384.
    EncodingError for a zero or non-finite row.
    """
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    if not np.all(np.isfinite(largest) & (largest > 0)):
        raise EncodingError("the encoder returned a zero or non-finite vector; such a text cannot be scored")
    directions: NDArray[np.int8] = np.rint(rows * (127 / largest)).astype(np.int8)
    return directions


@dataclass(frozen=True)
class Encoded:
    """The states of n texts. Token rows are always int8, so fresh and cached states score the same."""

    pooled: NDArray[np.float32]  # (n, P) unit rows
    tokens: NDArray[np.int8]  # (T, D) directions, without [CLS] and [SEP]
    offsets: NDArray[np.int64]  # (n + 1,) the tokens of text i are tokens[offsets[i]:offsets[i + 1]], at least one
    lengths: NDArray[np.int64]  # (n,) tokens of each text, including special tokens
    unknown: NDArray[np.int64]  # (n,) token rows of each text for what is not in the model's vocabulary
    known_scales: NDArray[np.float32] | None = None  # (T,) `scales`, of whoever can tell them without the rows

    def __len__(self) -> int:
        return len(self.pooled)

    @cached_property
    def scales(self) -> NDArray[np.float32]:
        """(T,) the inverse norms of the token rows, which make unit rows of them; computed once."""
        if self.known_scales is not None:
            return self.known_scales
        squares = np.empty(len(self.tokens), dtype=np.float32)
        for start in range(0, len(squares), _ROWS_AT_ONCE):
            rows = self.tokens[start : start + _ROWS_AT_ONCE].astype(np.float32)
            np.vecdot(rows, rows, out=squares[start : start + _ROWS_AT_ONCE])
        with np.errstate(divide="ignore"):  # whoever scores a row of 0 refuses it
            return np.reciprocal(np.sqrt(squares))

    def token_rows(self) -> NDArray[np.float32]:
        """Return the token vectors as (T, D) float32 unit rows."""
        return unit_rows(self.tokens)

    def take(self, order: Sequence[int] | NDArray[np.integer]) -> Encoded:
        """Return the states of the texts at these (m,) positions, in this order."""
        at = np.asarray(order, dtype=np.int64)
        counts = np.diff(self.offsets)[at]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        # Row numbers of all taken tokens: each text's start, repeated, plus a running index within the text.
        rows = np.repeat(self.offsets[at] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Encoded(self.pooled[at], self.tokens[rows], offsets, self.lengths[at], self.unknown[at])


def no_states(pooled_dimension: int, token_dimension: int) -> Encoded:
    """Return the states of no texts."""
    none = np.zeros(0, dtype=np.int64)
    pooled, tokens = np.zeros((0, pooled_dimension), np.float32), np.zeros((0, token_dimension), np.int8)
    return Encoded(pooled, tokens, np.zeros(1, dtype=np.int64), none, none)


def join(parts: Sequence[Encoded]) -> Encoded:
    """Concatenate one or more lists of states."""
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    pooled, tokens, lengths, unknown = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("pooled", "tokens", "lengths", "unknown")
    )
    return Encoded(pooled, tokens, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), lengths, unknown)


@dataclass(frozen=True)
class ScatteredStates:
    """The states of n texts whose token rows stay where they lie: to copy them takes as long as half of the scoring."""

    pooled: NDArray[np.float32]  # (n, P) unit rows
    tokens: Sequence[NDArray[np.int8]]  # (t_i, D) the rows of one text or of several, all texts one after the other
    offsets: NDArray[np.int64]  # (n + 1,) the tokens of text i are rows offsets[i]:offsets[i + 1] of all of them
    scales: NDArray[np.float32]  # (T,) as `Encoded.scales`
    counts: NDArray[np.int64]  # (n,) token rows
    lengths: NDArray[np.int64]  # (n,) as in `Encoded`
    unknown: NDArray[np.int64]  # (n,) as in `Encoded`

    @staticmethod
    def of(parts: Sequence[Encoded]) -> ScatteredStates:
        """Those of one or more lists of states, in order."""
        counts = list[int]()
        for part in parts:  # of one text, as cached ones are, of which there are many
            counts += [len(part.tokens)] if len(part.lengths) == 1 else np.diff(part.offsets).tolist()
        pooled, scales, lengths, unknown = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("pooled", "scales", "lengths", "unknown")
        )
        offsets, tokens = np.cumsum([0, *counts]), [part.tokens for part in parts]
        return ScatteredStates(pooled, tokens, offsets, scales, np.array(counts), lengths, unknown)


def merge(parts: Sequence[Encoded]) -> Encoded:
    """Return one text's state from those of its chunks: all tokens, and the pooled vectors' mean by tokens."""
    joined = join(parts)
    mean = (joined.pooled * np.diff(joined.offsets)[:, None]).sum(axis=0, keepdims=True)
    ends = joined.offsets[[0, -1]]
    return Encoded(
        unit_rows(mean), joined.tokens, ends, joined.lengths.sum(keepdims=True), joined.unknown.sum(keepdims=True)
    )
