"""An in-process LRU cache of text states with a limit in bytes, and the keys of its entries."""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, get_args

import Stemmer

from retrieval.encoder.protocol import Role
from retrieval.states.record import TextState

# The version of the terms: raise the number whenever `bm25.Terms.of` returns other terms for any text.
LEXICAL_FORMAT = f"terms-3 snowball-{Stemmer.version()} unicode-{unicodedata.unidata_version}"

_KEY_BYTES = 24  # long enough that collisions cannot be constructed on purpose


class StateKeys:
    """Computes cache keys: BLAKE2b hashes of model digest, arithmetic, lexical format, role and text.

    All fields but the text are hashed only once, in the constructor.
    """

    def __init__(self, digest: str, arithmetic: str) -> None:
        """Compute keys for an encoder with this `digest` and `arithmetic`."""
        self._hash_prefixes = {role: hash_fields(digest, arithmetic, LEXICAL_FORMAT, role) for role in get_args(Role)}

    def __call__(self, role: Role, text: str) -> bytes:
        """Return the 24-byte key of a text, which may hold lone surrogates; KeyError for an unknown role."""
        text_hash = self._hash_prefixes[role].copy()
        text_hash.update(text.encode("utf-8", "surrogatepass"))
        return text_hash.digest()


@dataclass(frozen=True)
class CacheCounts:
    """Counters of a cache since its creation, and its current size."""

    hits: int
    misses: int
    evictions: int  # values removed to make room
    entries: int
    bytes: int
    max_bytes: int


class Sized(Protocol):
    """What knows how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes, what surrounds it in a cache included."""


Value = TypeVar("Value", bound=Sized)


class LruCache(Generic[Value]):
    """An LRU cache by key. Thread-safe: each call takes the lock once."""

    def __init__(self, max_bytes: int) -> None:
        """Create an empty cache.

        max_bytes: the limit, as `nbytes` counts; 0 caches nothing. ValueError if negative.
        """
        if max_bytes < 0:
            raise ValueError(f"the cache needs max_bytes >= 0, got {max_bytes}")
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, tuple[Value, int]] = OrderedDict()  # value and its size in bytes, LRU first
        self._bytes = self._hits = self._misses = self._evictions = 0

    def get(self, keys: Sequence[bytes]) -> list[Value | None]:
        """Return the values in the order of the keys, None for a miss; hits become the most recently used."""
        with self._lock:
            values = [self._use(key) for key in keys]
            misses = values.count(None)
            self._misses += misses
            self._hits += len(values) - misses
        return values

    def has(self, keys: Sequence[bytes]) -> list[bool]:
        """Return whether each key is cached, in order; neither counters nor the LRU order change."""
        with self._lock:
            return [key in self._entries for key in keys]

    def put(self, entries: Mapping[bytes, Value]) -> None:
        """Cache these values as the most recently used, the last one as the newest.

        A value larger than the whole cache is not cached and evicts nothing.
        """
        sized = [(key, value, value.nbytes) for key, value in entries.items()]
        with self._lock:
            for key, value, size in sized:
                self._put(key, value, size)

    def counts(self) -> CacheCounts:
        """Return a consistent snapshot of the counters."""
        with self._lock:
            return CacheCounts(
                self._hits, self._misses, self._evictions, len(self._entries), self._bytes, self._max_bytes
            )

    def _use(self, key: bytes) -> Value | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def _put(self, key: bytes, value: Value, size: int) -> None:
        previous = self._entries.pop(key, None)
        if previous is not None:
            self._bytes -= previous[1]
        if size > self._max_bytes:
            return
        while self._bytes + size > self._max_bytes:
            _, (_, evicted_size) = self._entries.popitem(last=False)
            self._bytes -= evicted_size
            self._evictions += 1
        self._entries[key] = (value, size)
        self._bytes += size


StateCache = LruCache[TextState]


def hash_fields(*fields: str) -> hashlib.blake2b:
    """Hash the fields, each prefixed with its length so that different lists of fields never hash the same bytes."""
    prefix_hash = hashlib.blake2b(digest_size=_KEY_BYTES)
    for field in fields:
        encoded_field = field.encode("utf-8", "surrogatepass")
        prefix_hash.update(len(encoded_field).to_bytes(8, "little"))
        prefix_hash.update(encoded_field)
    return prefix_hash
