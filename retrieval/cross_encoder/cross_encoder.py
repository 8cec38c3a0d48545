"""Scores of pairs for many threads, most promising first, until a deadline; what was read is cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.cross_encoder.model import Logits, PairModel
from retrieval.deadline import Deadline
from retrieval.encoder.batching import EncoderCounts, SharedEncoder
from retrieval.encoder.protocol import PASS_TOKENS
from retrieval.states.cache import CacheCounts, LruCache, hash_fields

_WARM_UP_TOKENS = 64  # between the lengths that are tried: what one costs is in proportion


@dataclass(frozen=True, slots=True)
class _Logit:
    """A cached score."""

    value: float

    @property
    def nbytes(self) -> int:
        """Bytes with its key and its place in the cache, by `tracemalloc`."""
        return 320


class CrossEncoder:
    """Reads a query with documents. Threads may share it, and then share its passes and what is cached."""

    def __init__(self, model: PairModel, max_bytes: int = 0) -> None:
        """Take a model.

        max_bytes: Memory for the scores of pairs that were read. 0: none are kept.
        """
        self._model = model
        self._cache: LruCache[_Logit] = LruCache(max_bytes)
        self._shared: SharedEncoder[Logits] = SharedEncoder(model)
        self._prefix = hash_fields(model.spec.digest, str(model.max_tokens))

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.spec.name

    @property
    def digest(self) -> str:
        """SHA-256 of the model's files, hexadecimal."""
        return self._model.spec.digest

    @property
    def max_tokens(self) -> int:
        """The most tokens of a pair that are read."""
        return self._model.max_tokens

    def scores(self, query: str, texts: Sequence[str], until: float, deadline: Deadline) -> NDArray[np.float64]:
        """Read the query with each of m texts, and return the (m,) logits, NaN for those there was no time for.

        Args:
            query: What is asked.
            texts: The documents, the most promising first.
            until: Time limit, in `time.monotonic()` seconds; no pass starts that would end later.
            deadline: Names the caller; may be cancelled from another thread.

        Raises:
            Cancelled: The deadline was cancelled.
            EncodingError: The model gave no usable score.
        """
        keys = [self._key(query, text) for text in texts]
        logits = {key: logit for key, logit in zip(keys, self._cache.get(keys), strict=True) if logit}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in logits}
        if missing:
            pairs = self._model.pairs(query, list(missing.values()))
            read = self._shared.encode(list(missing), pairs, until, deadline)
            found = {key: _Logit(float(of.values[0])) for key, of in zip(missing, read, strict=True) if of}
            self._cache.put(found)
            logits |= found
        return np.array([logits[key].value if key in logits else np.nan for key in keys], dtype=np.float64)

    def _key(self, query: str, text: str) -> bytes:
        key = self._prefix.copy()
        for part in (query, text):
            encoded = part.encode("utf-8", "surrogatepass")
            key.update(len(encoded).to_bytes(8, "little"))
            key.update(encoded)
        return key.digest()

    def warm_up(self) -> None:
        """Compile kernels and measure what passes cost, so that the first request knows what it has time for."""
        longest = min(self.max_tokens, PASS_TOKENS)
        self._shared.warm_up([(1, tokens) for tokens in range(longest, 0, -_WARM_UP_TOKENS)])

    def counts(self) -> tuple[EncoderCounts, CacheCounts]:
        """The counters of passes and of the cache."""
        return self._shared.counts(), self._cache.counts()
