"""What a search needs of passages that are indexed, be it one segment or a collection of many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder.protocol import Encoder
from retrieval.encoder.states import Encoded
from retrieval.errors import WrongModel
from retrieval.text.bm25 import Matches, QueryTerms
from retrieval.text.passages import Passage

Find = Callable[[int], NDArray[np.int64]]  # the positions of up to so many passages, best first
PendingVector = Callable[[], NDArray[np.float32]]  # the (P,) unit vector of a query, which is waited for


@dataclass(frozen=True)
class Model:
    """What encoded the passages."""

    name: str
    digest: str
    arithmetic: str
    max_tokens: int  # that it reads of a passage, including special tokens

    @staticmethod
    def of(encoder: Encoder) -> Model:
        """Return what an encoder is."""
        return Model(encoder.name, encoder.digest, encoder.arithmetic, encoder.max_tokens)


class Words(Protocol):
    """The words of one query in a collection, looked up when they are first needed. For one thread."""

    def best(self, k: int) -> NDArray[np.int64]:
        """Return the positions of up to k passages with the highest BM25 scores above 0, best first.

        CollectionError if such a search is not offered, or if the index cannot be read.
        """

    def matches(self, positions: NDArray[np.int64]) -> Matches:
        """Return how the passages at (m,) different positions match the words, as `bm25` says of their terms.

        CollectionError if they cannot be read.
        """


class PassageIndex(Protocol):
    """n passages with their states, by position."""

    @property
    def name(self) -> str:
        """Its name, for messages."""

    @property
    def model(self) -> Model:
        """What encoded the passages."""

    @property
    def language(self) -> str:
        """The language that was asked for: a code, "none" or "auto"."""

    @property
    def is_whole(self) -> bool:
        """Whether every document is found that was searchable before: no part of it is damaged."""

    @property
    def is_remote(self) -> bool:
        """Whether another machine searches it, so that a search waits and needs no processor here."""

    @property
    def finds_words(self) -> bool:
        """Whether passages are found by words, too."""

    def __len__(self) -> int:
        """The number n of positions; not every one need hold a passage that can be found."""

    def nearest(self, query: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Return the positions of up to k passages with the highest cosine to a (P,) unit vector, best first."""

    def announce(self, query: PendingVector, k: int) -> Find:
        """Return `nearest` of a query, to be called soon with this k; what is announced then is joined."""

    def words(self, query: QueryTerms) -> Words:
        """Return a query's words, to find passages by them and to score passages."""

    def states(self, positions: NDArray[np.int64]) -> Encoded:
        """Return the stored states of the passages at (m,) positions; CollectionError if they cannot be read."""

    def passages(self, positions: NDArray[np.int64]) -> list[Passage]:
        """Return the passages at (m,) positions; CollectionError if they cannot be read."""

    def owners(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for the passages at (m,) positions the numbers of their documents, equal for those of one."""

    def traits(self, positions: NDArray[np.int64]) -> NDArray[np.void]:
        """Return what ranking needs to know of their texts, (m,) `TRAITS`; CollectionError if they cannot be read."""

    def is_cut(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each is, or may be, longer than the model reads."""


class Selection(PassageIndex, Protocol):
    """Some of the passages of a collection, as if there were no others."""

    def positions(self) -> NDArray[np.int64]:
        """Return the positions of all its passages, rising."""


class Named(Protocol):
    """A model, by name and weights."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def digest(self) -> str:
        """Identifies the weights."""


class Indexed(Protocol):
    """What passages are indexed in."""

    @property
    def name(self) -> str:
        """Its name, for messages."""

    @property
    def model(self) -> Model:
        """What encoded the passages."""


def check_encoder(collection: Indexed, encoder: Named) -> None:
    """Raise WrongModel if the collection was built with another model."""
    if collection.model.digest != encoder.digest:
        own, other = collection.model.name, encoder.name
        of, than = ("another version of the model", "this") if own == other else ("the model", repr(other))
        raise WrongModel(
            f"the collection {collection.name!r} was made with {of} {own!r}, not with {than}: read it anew with "
            f"`qrerank index encode {collection.name} --model {other}`"
        )
