"""The state of one text as caches keep it: the name it goes by, and the record it travels in."""

from __future__ import annotations

import hashlib
import hmac
import struct
import sys
import zlib
from dataclasses import dataclass

import numpy as np

from retrieval.encoder.states import Encoded
from retrieval.errors import RetrievalError

_OBJECT_BYTES = 1000  # the objects around one text's numbers and their entry in a `StateCache`, measured

_FIELDS = struct.Struct("<IIIqI")  # pooled dimension P, token dimension D, tokens T, length, bytes of the terms
_TAG_BYTES = 16
_MOST_SPECIAL = 64  # tokens that a model reads of a text besides the text's own
_UNIT = 1e-4  # by which the square of a unit vector's length may be off


class CorruptState(RetrievalError):
    """Bytes that are not, or no longer, the record of a text state of this version and model."""


@dataclass(frozen=True, slots=True, eq=False)
class TextState:
    """The state and the terms of one text. Its arrays are made read-only: every request that meets the text shares it.

    They should own their memory, as those of `Encoded.take` do: a view would keep the whole batch alive, uncounted.
    """

    encoded: Encoded  # of one text
    terms: str  # those of `lexical.terms_of`; may be empty

    def __post_init__(self) -> None:
        """ValueError unless it is the state of exactly one text."""
        if len(self.encoded) != 1:
            raise ValueError(f"a text state holds one text, got {len(self.encoded)}; take them one by one")
        for array in (self.encoded.pooled, self.encoded.tokens, self.encoded.offsets, self.encoded.lengths):
            array.setflags(write=False)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that keeping it costs, the objects around the numbers included."""
        of = self.encoded
        arrays = of.pooled.nbytes + of.tokens.nbytes + of.offsets.nbytes + of.lengths.nbytes
        return arrays + sys.getsizeof(self.terms) + _OBJECT_BYTES


class Seal:
    """What a record begins with, so that no other bytes pass for it: its kind, and a tag of its key and its body.

    With a secret the tag is an HMAC-SHA256 under it, so that only who has the secret can make one; SHA-256, since
    processors have instructions for it: 5 MB take 3 ms, and BLAKE2b takes 7. Without a secret it is a checksum.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        """secret: long and random, for this use alone."""
        self._keyed = hmac.new(secret, digestmod=hashlib.sha256) if secret else None
        self.magic = b"QTH2" if secret else b"QTC2"
        self.nbytes = len(self.magic) + _TAG_BYTES

    @property
    def name(self) -> bytes:
        """What tells the records of one secret from those of another, and nothing of the secret; empty without one."""
        return self.of(b"", b"name").hex()[-8:].encode() + b":" if self._keyed else b""

    def of(self, key: bytes, body: bytes | memoryview) -> bytes:
        """The seal of a record that goes by this key."""
        if self._keyed is None:
            return self.magic + zlib.crc32(body, zlib.crc32(key)).to_bytes(_TAG_BYTES, "little")
        tag = self._keyed.copy()
        tag.update(len(key).to_bytes(8, "little") + key)
        tag.update(body)
        return self.magic + tag.digest()[:_TAG_BYTES]


_CHECKSUM = Seal()


def to_bytes(state: TextState, key: bytes = b"", seal: Seal = _CHECKSUM) -> bytes:
    """Write down the state that goes by a key: a seal, sizes, then (P,) float32, (T, D) int8 and the terms as UTF-8."""
    of, terms = state.encoded, state.terms.encode("utf-8", "surrogatepass")
    (count, dimension), pooled = of.tokens.shape, of.pooled.shape[1]
    fields = _FIELDS.pack(pooled, dimension, count, of.lengths[0], len(terms))
    body = b"".join((fields, of.pooled.astype("<f4", copy=False).tobytes(), of.tokens.tobytes(), terms))
    return seal.of(key, body) + body


def from_bytes(
    data: bytes, pooled_dimension: int, token_dimension: int, key: bytes = b"", seal: Seal = _CHECKSUM
) -> TextState:
    """Read what `to_bytes` wrote under this key and seal, bit for bit, into arrays of its own.

    CorruptState for anything else, whatever the bytes: cut short or too long, a bit flipped, another version, other
    dimensions, another key's, sealed by somebody else, or holding what no encoder made.
    """
    head_bytes = seal.nbytes + _FIELDS.size
    if len(data) < head_bytes or not data.startswith(seal.magic):
        raise CorruptState("this is no record of a text state that this version wrote; encode the text again")
    pooled, dimension, count, length, terms_bytes = _FIELDS.unpack_from(data, seal.nbytes)
    if (pooled, dimension) != (pooled_dimension, token_dimension):
        raise CorruptState(
            f"a record of dimensions {pooled}, {dimension} where the model has {pooled_dimension}, {token_dimension}; "
            "encode the text again"
        )
    tokens_at = head_bytes + 4 * pooled
    terms_at = tokens_at + count * dimension
    # Sizes first: the seal of a record may be right for a record that says it holds something else.
    whole = 1 <= count <= length <= count + _MOST_SPECIAL and len(data) == terms_at + terms_bytes
    body = memoryview(data)[seal.nbytes :]
    if not whole or not hmac.compare_digest(seal.of(key, body), data[: seal.nbytes]):
        raise CorruptState("a damaged record of a text state; encode the text again")
    encoded = Encoded(
        np.frombuffer(data, "<f4", pooled, head_bytes).astype(np.float32).reshape(1, pooled),
        np.frombuffer(data, np.int8, count * dimension, tokens_at).reshape(count, dimension).copy(),
        np.array([0, count], dtype=np.int64),
        np.array([length], dtype=np.int64),
    )
    if not _is_made(encoded):
        raise CorruptState("a record of a text state that no encoder made; encode the text again")
    try:
        return TextState(encoded, str(body[terms_at - seal.nbytes :], "utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        raise CorruptState("a record of a text state whose terms are no text; encode the text again") from None


def _is_made(encoded: Encoded) -> bool:
    """Whether an encoder may have made it: one vector of length 1, and token rows whose largest entry is ±127."""
    [vector] = encoded.pooled
    with np.errstate(all="ignore"):
        is_unit = bool(abs(np.dot(vector, vector) - 1) <= _UNIT)  # NaN is not
    largest = np.abs(encoded.tokens).view(np.uint8).max(axis=1)  # of -128 there is no other int8, and so it is 128 here
    return is_unit and bool(np.all(largest == 127))
