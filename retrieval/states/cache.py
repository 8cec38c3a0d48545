"""The states met last, in this process's memory, within so many bytes."""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import Stemmer

from retrieval.encoder.protocol import Role
from retrieval.states.record import TextState

# What `terms` depends on besides the text. Raise the number whenever `lexical.tokenize` cuts any text differently.
LEXICAL_FORMAT = f"terms-1 snowball-{Stemmer.version()} unicode-{unicodedata.unidata_version}"

_KEY_BYTES = 24  # so that two texts of one key are not to be found, not even by someone who looks for them


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
        prepared.update(text.encode("utf-8", "surrogatepass"))
        return prepared.digest()


@dataclass(frozen=True)
class CacheCounts:
    """What a cache has done since it was made, and what it holds now."""

    hits: int
    misses: int
    evictions: int  # states dropped to make room
    entries: int
    bytes: int
    max_bytes: int


class StateCache:
    """States by key; the least recently used make room. Safe to use from several threads: each call locks once."""

    def __init__(self, max_bytes: int) -> None:
        """Keep at most this many bytes as `TextState.nbytes` counts them, 0 for nothing; ValueError if negative."""
        if max_bytes < 0:
            raise ValueError(f"a cache needs max_bytes >= 0, got {max_bytes}")
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, tuple[TextState, int]] = OrderedDict()  # oldest first, each with its bytes
        self._bytes = self._hits = self._misses = self._evictions = 0

    def get(self, keys: Sequence[bytes]) -> list[TextState | None]:
        """The states of these keys in their order, None for each that is not here; those found count as just used."""
        with self._lock:
            found = [self._use(key) for key in keys]
            misses = found.count(None)
            self._misses += misses
            self._hits += len(found) - misses
        return found

    def has(self, keys: Sequence[bytes]) -> list[bool]:
        """Whether the states of these keys are here, in their order; nothing counts as used for it."""
        with self._lock:
            return [key in self._entries for key in keys]

    def put(self, entries: Mapping[bytes, TextState]) -> None:
        """Keep these states as the most recently used, the last one the most.

        One larger than the whole cache is not kept, nor does anything make room for it.
        """
        sized = [(key, state, state.nbytes) for key, state in entries.items()]
        with self._lock:
            for key, state, size in sized:
                self._put(key, state, size)

    def counts(self) -> CacheCounts:
        """The counts of one moment."""
        with self._lock:
            return CacheCounts(
                self._hits, self._misses, self._evictions, len(self._entries), self._bytes, self._max_bytes
            )

    def _use(self, key: bytes) -> TextState | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def _put(self, key: bytes, state: TextState, size: int) -> None:
        replaced = self._entries.pop(key, None)
        if replaced is not None:
            self._bytes -= replaced[1]
        if size > self._max_bytes:
            return
        while self._bytes + size > self._max_bytes:
            _, (_, freed) = self._entries.popitem(last=False)
            self._bytes -= freed
            self._evictions += 1
        self._entries[key] = (state, size)
        self._bytes += size


def _hash_of(*fields: str) -> hashlib.blake2b:
    """A hash of the fields, each after its length, so that no two lists of fields run together to the same bytes."""
    started = hashlib.blake2b(digest_size=_KEY_BYTES)
    for text in fields:
        field = text.encode("utf-8", "surrogatepass")
        started.update(len(field).to_bytes(8, "little"))
        started.update(field)
    return started
