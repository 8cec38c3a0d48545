"""The documents to rank, wherever they come from: sent with the request, or found in a collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.collection import Collection
from retrieval.deadline import Deadline
from retrieval.encoding import Encoded, join
from retrieval.lexical import tokenize
from retrieval.state_source import StateSource


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

    def states(
        self, chosen: NDArray[np.int64], until: float, deadline: Deadline
    ) -> tuple[NDArray[np.int64], Encoded | None]:
        """The positions among the (m,) chosen that have states by `until`, in their order, and those states."""


class SentDocuments:
    """Documents that came with a request; states that are not remembered must be encoded."""

    def __init__(self, texts: Sequence[str], source: StateSource) -> None:
        """Look up what is remembered of these n texts."""
        self.texts = texts
        self._source = source
        self._states = source.known(texts)
        self.terms = [
            state.term_list if state is not None else tokenize(text)
            for text, state in zip(texts, self._states, strict=True)
        ]
        self.ready = np.array([state is not None for state in self._states], dtype=bool)

    def states(
        self, chosen: NDArray[np.int64], until: float, deadline: Deadline
    ) -> tuple[NDArray[np.int64], Encoded | None]:
        """What is remembered, and what can be encoded by `until`, the first chosen first."""
        missing = [at for at in chosen.tolist() if self._states[at] is None]
        found = self._source.find([self.texts[at] for at in missing], until, deadline) if missing else []
        by_position = {at: state for at in chosen.tolist() if (state := self._states[at]) is not None}
        by_position |= {at: state for at, state in zip(missing, found, strict=True) if state is not None}
        there = [at for at in chosen.tolist() if at in by_position]
        parts = [by_position[at].encoded for at in there]
        return np.array(there, dtype=np.int64), join(parts) if parts else None


class FoundPassages:
    """Passages of a collection, whose states are stored."""

    def __init__(self, positions: NDArray[np.int64], collection: Collection) -> None:
        """Read n passages by their positions in the collection."""
        self._positions, self._collection = positions, collection
        self.texts = [passage.content for passage in collection.passages(positions)]
        self.terms = collection.terms(positions)
        self.ready = np.ones(len(positions), dtype=bool)

    def states(
        self,
        chosen: NDArray[np.int64],
        until: float,  # noqa: ARG002 - nothing to wait for
        deadline: Deadline,  # noqa: ARG002
    ) -> tuple[NDArray[np.int64], Encoded | None]:
        """The stored states of the chosen."""
        return chosen, self._collection.states(self._positions[chosen])
