"""The state of one text as caches store it, and its binary record with a checksum or an HMAC."""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from retrieval.encoder.states import Encoded
from retrieval.errors import RetrievalError
from retrieval.text.bm25 import Terms

_OBJECT_BYTES = 1500  # Python objects of one `TextState` and its entry in a `StateCache`, measured

# Pooled dimension P, token dimension D, tokens T, length, unknown tokens, bytes of the terms.
_FIELDS = struct.Struct("<IIIqqI")
_TAG_BYTES = 16
_MOST_TOKENS = 2**20  # of a text; it may have fewer rows, or only one, as of a remote encoder
_UNIT = 1e-4  # tolerance of the squared norm of a unit vector


class CorruptState(RetrievalError):
    """The bytes are not a valid record of a text state of this version and model."""


@dataclass(frozen=True, slots=True, eq=False)
class TextState:
    """The state and the terms of one text. Its arrays become read-only: requests share them.

    The arrays should own their memory, as those of `Encoded.take` do: a view would keep the whole batch alive, and
    `nbytes` would not count it.
    """

    encoded: Encoded  # of one text
    terms: Terms

    def __post_init__(self) -> None:
        """Raise ValueError unless `encoded` holds exactly one text."""
        if len(self.encoded) != 1:
            raise ValueError(f"a text state holds one text, got {len(self.encoded)}; take them one by one")
        encoded = self.encoded
        arrays = (encoded.pooled, encoded.tokens, encoded.offsets, encoded.lengths, encoded.unknown, self.terms.numbers)
        for array in (*arrays, encoded.scales):  # which are computed here, so that all memory is counted
            array.setflags(write=False)

    @property
    def nbytes(self) -> int:
        """The memory of the state in bytes, including the overhead of Python objects."""
        encoded = self.encoded
        arrays = encoded.pooled.nbytes + encoded.tokens.nbytes + encoded.offsets.nbytes + encoded.lengths.nbytes
        return arrays + encoded.scales.nbytes + encoded.unknown.nbytes + self.terms.numbers.nbytes + _OBJECT_BYTES


class Seal:
    """Authenticates records: a record starts with magic bytes for its format and a tag over its key and body.

    With a secret the tag is an HMAC-SHA256, which only holders of the secret can compute. SHA-256 has CPU
    instructions: 5 MB take 3 ms, with BLAKE2b 7 ms. Without a secret the tag is a CRC-32 checksum.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        """secret: long, random and used for nothing else; None for a checksum."""
        self._hmac = hmac.new(secret, digestmod=hashlib.sha256) if secret else None
        self.magic = b"QTH3" if secret else b"QTC3"
        self.nbytes = len(self.magic) + _TAG_BYTES

    @property
    def name(self) -> bytes:
        """An identifier of the secret for Redis keys, which does not reveal the secret; empty without a secret."""
        return self.sign(b"", b"name").hex()[-8:].encode() + b":" if self._hmac else b""

    def sign(self, key: bytes, body: bytes | memoryview) -> bytes:
        """Return the magic bytes and the tag of the record with this key and body."""
        if self._hmac is None:
            return self.magic + zlib.crc32(body, zlib.crc32(key)).to_bytes(_TAG_BYTES, "little")
        tag = self._hmac.copy()
        tag.update(len(key).to_bytes(8, "little") + key)
        tag.update(body)
        return self.magic + tag.digest()[:_TAG_BYTES]


_CHECKSUM = Seal()


def to_bytes(state: TextState, key: bytes = b"", seal: Seal = _CHECKSUM) -> bytes:
    """Serialise the state of this key: seal, sizes, (P,) float32, (T, D) int8 and the terms."""
    encoded, terms = state.encoded, state.terms.to_bytes()
    (count, dimension), pooled = encoded.tokens.shape, encoded.pooled.shape[1]
    sizes = (pooled, dimension, count, encoded.lengths[0], encoded.unknown[0])
    fields = _FIELDS.pack(*sizes, len(terms))
    vectors = encoded.pooled.astype("<f4", copy=False).tobytes(), encoded.tokens.tobytes()
    body = b"".join((fields, *vectors, terms))
    return seal.sign(key, body) + body


def from_bytes(
    data: bytes, pooled_dimension: int, token_dimension: int, key: bytes = b"", seal: Seal = _CHECKSUM
) -> TextState:
    """Parse a record that `to_bytes` wrote with this key and seal; the state is bit-identical.

    Args:
        data: The record; the arrays of the state do not share its memory.
        pooled_dimension: P of the model.
        token_dimension: D of the model.
        key: The key of the state.
        seal: The seal of the writer.

    Raises:
        CorruptState: The record is truncated, too long or damaged, or has another version, dimensions, key or seal, or
            values that no encoder returns.
    """
    head_bytes = seal.nbytes + _FIELDS.size
    if len(data) < head_bytes or not data.startswith(seal.magic):
        raise CorruptState("not a text state record of this version; encode the text again")
    pooled, dimension, count, length, unknown, terms_bytes = _FIELDS.unpack_from(data, seal.nbytes)
    if (pooled, dimension) != (pooled_dimension, token_dimension):
        raise CorruptState(
            f"the record has dimensions {pooled}, {dimension}, the model {pooled_dimension}, {token_dimension}; "
            "encode the text again"
        )
    tokens_at = head_bytes + 4 * pooled
    terms_at = tokens_at + count * dimension
    # A valid seal does not prove that the sizes in the record are right.
    sizes_match = 1 <= count <= length <= _MOST_TOKENS and len(data) == terms_at + terms_bytes
    body = memoryview(data)[seal.nbytes :]
    if not sizes_match or not hmac.compare_digest(seal.sign(key, body), data[: seal.nbytes]):
        raise CorruptState("the text state record is damaged; encode the text again")
    encoded = Encoded(
        np.frombuffer(data, "<f4", pooled, head_bytes).astype(np.float32).reshape(1, pooled),
        np.frombuffer(data, np.int8, count * dimension, tokens_at).reshape(count, dimension).copy(),
        np.array([0, count], dtype=np.int64),
        np.array([length], dtype=np.int64),
        np.array([unknown], dtype=np.int64),
    )
    if not _is_valid(encoded) or not 0 <= unknown <= count:
        raise CorruptState("the text state record holds invalid vectors; encode the text again")
    try:
        return TextState(encoded, Terms.from_bytes(body[terms_at - seal.nbytes :]))
    except ValueError:
        raise CorruptState("the text state record holds invalid terms; encode the text again") from None


def _is_valid(encoded: Encoded) -> bool:
    """Whether the pooled vector has norm 1 and the largest entry of every token row is ±127."""
    [vector] = encoded.pooled
    with np.errstate(all="ignore"):
        is_unit = bool(abs(np.dot(vector, vector) - 1) <= _UNIT)  # False for NaN
    largest = np.abs(encoded.tokens).view(np.uint8).max(axis=1)  # abs(-128) overflows int8; as uint8 it is 128
    return is_unit and bool(np.all(largest == 127))
