"""The state of one text as caches keep it: the name it goes by, and the record it travels in."""

from __future__ import annotations

import hashlib
import struct
import sys
import unicodedata
import zlib
from dataclasses import dataclass
from typing import get_args

import numpy as np
import Stemmer

from retrieval.encoder import Role
from retrieval.encoding import Encoded
from retrieval.errors import RetrievalError

# What `terms` depends on besides the text. Raise the number whenever `lexical.tokenize` cuts any text differently.
LEXICAL_FORMAT = f"terms-1 snowball-{Stemmer.version()} unicode-{unicodedata.unidata_version}"

_KEY_BYTES = 24  # so that two texts of one key are not to be found, not even by someone who looks for them
_OBJECT_BYTES = 1000  # the objects around one text's numbers and their entry in a `StateCache`, measured

_MAGIC = b"QTS1"
_CRC = struct.Struct("<I")  # of everything after it
_FIELDS = struct.Struct("<IIIqI")  # pooled dimension P, token dimension D, tokens T, length, bytes of the terms
_HEAD_BYTES = len(_MAGIC) + _CRC.size + _FIELDS.size


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


class StateKeys:
    """Names states after everything they depend on: the model, what computes, the role, the lexical format, the text.

    All but the text is hashed once.
    """

    def __init__(self, digest: str, arithmetic: str) -> None:
        """Of an encoder's `digest` and `arithmetic`."""
        self._prepared = {role: _hash_of(digest, arithmetic, LEXICAL_FORMAT, role) for role in get_args(Role)}

    def __call__(self, role: Role, text: str) -> bytes:
        """The 24-byte key of a text, lone surrogates and all; KeyError for a role that there is not."""
        prepared = self._prepared[role].copy()
        prepared.update(_utf8(text))
        return prepared.digest()


def state_key(digest: str, arithmetic: str, role: Role, text: str) -> bytes:
    """The 24-byte key of one text's state; for many texts make one `StateKeys`."""
    return StateKeys(digest, arithmetic)(role, text)


def to_bytes(state: TextState) -> bytes:
    """Write the state down: a fixed head with a checksum, then (P,) float32, (T, D) int8 and the terms as UTF-8."""
    of, terms = state.encoded, _utf8(state.terms)
    (count, dimension), pooled = of.tokens.shape, of.pooled.shape[1]
    fields = _FIELDS.pack(pooled, dimension, count, of.lengths[0], len(terms))
    body = b"".join((fields, of.pooled.astype("<f4", copy=False).tobytes(), of.tokens.tobytes(), terms))
    return b"".join((_MAGIC, _CRC.pack(zlib.crc32(body)), body))


def from_bytes(data: bytes, pooled_dimension: int, token_dimension: int) -> TextState:
    """Read what `to_bytes` wrote, bit for bit, into arrays of its own.

    CorruptState for anything else: cut short or too long, a bit flipped, another version, other dimensions.
    """
    if len(data) < _HEAD_BYTES or not data.startswith(_MAGIC):
        raise CorruptState("this is no record of a text state that this version wrote; encode the text again")
    pooled, dimension, count, length, terms_bytes = _FIELDS.unpack_from(data, _HEAD_BYTES - _FIELDS.size)
    if (pooled, dimension) != (pooled_dimension, token_dimension):
        raise CorruptState(
            f"a record of dimensions {pooled}, {dimension} where the model has {pooled_dimension}, {token_dimension}; "
            "encode the text again"
        )
    tokens_at = _HEAD_BYTES + 4 * pooled
    terms_at = tokens_at + count * dimension
    # Sizes first: the checksum of a record may be right for a record that says it holds something else.
    whole = count >= 1 and len(data) == terms_at + terms_bytes
    body = memoryview(data)[len(_MAGIC) + _CRC.size :]
    if not whole or _CRC.unpack_from(data, len(_MAGIC)) != (zlib.crc32(body),):
        raise CorruptState("a damaged record of a text state; encode the text again")
    encoded = Encoded(
        np.frombuffer(data, "<f4", pooled, _HEAD_BYTES).astype(np.float32).reshape(1, pooled),
        np.frombuffer(data, np.int8, count * dimension, tokens_at).reshape(count, dimension).copy(),
        np.array([0, count], dtype=np.int64),
        np.array([length], dtype=np.int64),
    )
    return TextState(encoded, str(data[terms_at:], "utf-8", "surrogatepass"))


def _utf8(text: str) -> bytes:
    """UTF-8 that does not stumble over lone surrogates; different texts stay different."""
    return text.encode("utf-8", "surrogatepass")


def _hash_of(*fields: str) -> hashlib.blake2b:
    """A hash of the fields, each after its length, so that no two lists of fields run together to the same bytes."""
    started = hashlib.blake2b(digest_size=_KEY_BYTES)
    for field in map(_utf8, fields):
        started.update(len(field).to_bytes(8, "little"))
        started.update(field)
    return started
