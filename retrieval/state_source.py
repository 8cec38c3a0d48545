"""From texts to their states, at the least cost: remembered here, remembered by a replica, or encoded now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from retrieval.deadline import Deadline
from retrieval.encoder import Encoder, Role
from retrieval.encoding import Encoded, join
from retrieval.lexical import tokenize
from retrieval.shared_encoder import SharedEncoder
from retrieval.state_cache import StateCache
from retrieval.text_state import StateKeys, TextState

if TYPE_CHECKING:
    from retrieval.redis_states import RedisStates


class StateSource:
    """The states of texts; safe to share between threads, which then share passes of the encoder and what is cached."""

    def __init__(self, encoder: Encoder, cache: StateCache | None = None, replicas: RedisStates | None = None) -> None:
        """Take an encoder, a cache (none: nothing is remembered), and what replicas remember together."""
        self.encoder = encoder
        self.shared_encoder = SharedEncoder(encoder)
        self.cache = cache or StateCache(0)
        self.replicas = replicas
        self._keys = StateKeys(encoder.digest, encoder.arithmetic)

    def known(self, texts: Iterable[str], role: Role = "document") -> list[TextState | None]:
        """What is remembered here of n texts."""
        return self.cache.get([self._keys(role, text) for text in texts])

    def find(
        self,
        texts: Sequence[str],
        terms: Sequence[Sequence[str]],
        until: float,
        deadline: Deadline,
        role: Role = "document",
    ) -> list[TextState | None]:
        """The states of n texts that are not known here, the first most urgently; None for what `until` cut off.

        terms: their lexical ones, to be remembered with the states. until: `time.monotonic()` seconds.
        Raises Cancelled, or EncodingError for a text without a usable vector.
        """
        keys = [self._keys(role, text) for text in texts]
        found = self.replicas.get(keys) if self.replicas else [None] * len(keys)
        missing = [at for at, state in enumerate(found) if state is None]
        fresh = {keys[at]: state for at, state in enumerate(found) if state is not None}
        if missing:
            read = self.encoder.tokenize([texts[at] for at in missing], role)
            encoded = self.shared_encoder.encode([keys[at] for at in missing], read, until, deadline)
            made = {
                keys[at]: TextState(states, " ".join(terms[at]))
                for at, states in zip(missing, encoded, strict=True)
                if states is not None
            }
            if self.replicas:
                self.replicas.put(made)
            fresh |= made
        self.cache.put(fresh)
        return [fresh.get(key) for key in keys]

    def ask(self, texts: Sequence[str], until: float, deadline: Deadline) -> Encoded:
        """The states of a query's n ≥ 1 texts; of none at all unless all are there by `until`."""
        states = self.known(texts, "query")
        missing = [at for at, state in enumerate(states) if state is None]
        wanted = [texts[at] for at in missing]
        found = self.find(wanted, [tokenize(text) for text in wanted], until, deadline, "query") if missing else []
        for at, state in zip(missing, found, strict=True):
            states[at] = state
        parts = [state.encoded for state in states if state is not None]
        return join(parts) if len(parts) == len(texts) else self.encoder.encode([])
