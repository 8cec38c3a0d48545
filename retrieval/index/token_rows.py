"""Token rows on disk: two bits an entry, its sign and whether it is larger than the mean magnitude of its row.

A row of 384 entries takes 96 bytes in place of 384; docs/evaluation.md says what that costs in ranking. A 16-bit word
holds the signs of eight entries, then their magnitudes, so a table of all words unpacks eight entries at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ENTRIES = 8  # of a word
# What magnitudes become: as 2 to 7, the means of a normal distribution's below and above its mean magnitude. They fill
# the byte, so that the largest entry of a unit row is known from its norm.
_SMALL, _LARGE = 36, 126
_MAGNITUDES = 0xFF00_FF00_FF00_FF00  # of four words


def row_bytes(dimension: int) -> int:
    """Return the size of a packed row of D entries."""
    return 2 * -(-dimension // _ENTRIES)


def pack(rows: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Pack (T, D) token rows; what `unpack` returned is packed as it was."""
    magnitudes = np.abs(rows)
    means = magnitudes.sum(axis=1, dtype=np.int32) // rows.shape[1]  # whole numbers: so are the magnitudes
    packed = np.empty((len(rows), row_bytes(rows.shape[1])), dtype=np.uint8)
    packed[:, 0::2] = np.packbits(rows > 0, axis=1, bitorder="little")
    packed[:, 1::2] = np.packbits(magnitudes > means.astype(np.int8)[:, None], axis=1, bitorder="little")
    return packed


def unpack(packed: NDArray[np.uint8], dimension: int) -> NDArray[np.int8]:
    """Return (T, D) token rows from (T, `row_bytes(D)`) packed ones."""
    rows: NDArray[np.int8] = _TABLE.take(packed.view("<u2")).view(np.int8)[:, :dimension]
    return rows


def scales_of(packed: NDArray[np.uint8], dimension: int) -> NDArray[np.float32]:
    """Return the inverse norms of the rows that `unpack` makes: (T,), by counting the large entries."""
    words = packed.view("<u8" if packed.shape[1] % 8 == 0 else "<u2")
    large = np.bitwise_count(words & words.dtype.type(_MAGNITUDES & np.iinfo(words.dtype).max)).astype(np.float32)
    counts = large @ np.ones(words.shape[1], dtype=np.float32)  # faster than to sum
    scales: NDArray[np.float32] = np.reciprocal(np.sqrt(counts * (_LARGE**2 - _SMALL**2) + dimension * _SMALL**2))
    return scales


def _table() -> NDArray[np.uint64]:
    """(65536,) the eight entries of each word."""
    words = np.arange(2**16, dtype="<u2").view(np.uint8).reshape(-1, 2)
    signs, large = np.unpackbits(words, axis=1, bitorder="little").reshape(-1, 2, _ENTRIES).transpose(1, 0, 2)
    entries = np.where(signs, 1, -1) * np.where(large, _LARGE, _SMALL)
    return np.ascontiguousarray(entries.astype(np.int8)).view(np.uint64).ravel()


_TABLE = _table()
