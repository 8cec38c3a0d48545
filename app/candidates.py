"""The documents to rank, wherever they come from: sent with the request, or found in a collection."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.collection import Collection
from retrieval.deadline import Deadline
from retrieval.encoding import Encoded, join
from retrieval.lexical import tokenize
from retrieval.state_source import StateSource
from retrieval.text_state import TextState


class Candidates(Protocol):
    """n documents: their terms at once, their states by the batch."""

    @property
    def texts(self) -> Sequence[str]:
        """Their texts, (n,)."""

    @property
    def terms(self) -> Sequence[Sequence[str]]:
        """Their lexical terms, (n,)."""

    @property
    def ready(self) -> NDArray[np.bool_]:
        """(n,) whose states cost nothing."""

    def encode(self, chosen: NDArray[np.int64], until: float, deadline: Deadline) -> NDArray[np.int64]:
        """Wait for the states of the (m,) chosen, the first most urgently; the positions of those there by `until`.

        What the last call gave and is chosen again is there.
        """

    def states(self, positions: NDArray[np.int64]) -> Encoded:
        """The states at positions that the last `encode` gave."""


class SentDocuments:
    """Documents that came with a request; states that are not remembered must be encoded."""

    def __init__(self, texts: Sequence[str], source: StateSource) -> None:
        """Look up what is remembered of these n texts."""
        self.texts = texts
        self._source = source
        self._known = source.known(texts)
        self._fresh: dict[int, TextState] = {}  # of the last chosen only, so that memory does not grow with n
        self.terms = [
            state.term_list if state is not None else tokenize(text)
            for text, state in zip(texts, self._known, strict=True)
        ]
        self.ready = np.array([state is not None for state in self._known], dtype=bool)

    def encode(self, chosen: NDArray[np.int64], until: float, deadline: Deadline) -> NDArray[np.int64]:
        """Encode what is not remembered and can be encoded by `until`."""
        wanted = chosen[~self.ready[chosen]].tolist()
        self._fresh = {at: self._fresh[at] for at in wanted if at in self._fresh}
        missing = [at for at in wanted if at not in self._fresh] if time.monotonic() < until else []
        texts, terms = [self.texts[at] for at in missing], [self.terms[at] for at in missing]
        found = self._source.find(texts, terms, until, deadline) if missing else []
        self._fresh |= {at: state for at, state in zip(missing, found, strict=True) if state is not None}
        there = [at for at in chosen.tolist() if self.ready[at] or at in self._fresh]
        return np.array(there, dtype=np.int64)

    def states(self, positions: NDArray[np.int64]) -> Encoded:
        """What is remembered, and what was just encoded, in one piece."""
        return join([(self._known[at] or self._fresh[at]).encoded for at in positions.tolist()])


class FoundPassages:
    """Passages of a collection, whose states are stored."""

    def __init__(self, positions: NDArray[np.int64], collection: Collection) -> None:
        """Read n passages by their positions in the collection."""
        self._positions, self._collection = positions, collection
        self.texts = [passage.content for passage in collection.passages(positions)]
        self.terms = collection.terms(positions)
        self.ready = np.ones(len(positions), dtype=bool)

    def encode(
        self,
        chosen: NDArray[np.int64],
        until: float,  # noqa: ARG002 - nothing to wait for
        deadline: Deadline,  # noqa: ARG002
    ) -> NDArray[np.int64]:
        """All of the chosen: they are stored."""
        return chosen

    def states(self, positions: NDArray[np.int64]) -> Encoded:
        """The stored states."""
        return self._collection.states(self._positions[positions])
