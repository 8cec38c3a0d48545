"""What of a collection can be searched at one moment: its segments, and which of their passages are part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from retrieval.encoder.states import Encoded
from retrieval.errors import CollectionError
from retrieval.index.exact import best
from retrieval.index.passage_index import Find, Model, PendingVector
from retrieval.index.postings import QueryWords, WordSearch
from retrieval.index.segment import Rows, Segment, column, states_of
from retrieval.index.shared_search import SharedSearch
from retrieval.text.bm25 import QueryTerms
from retrieval.text.passages import TRAITS, Passage

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Part:
    """A segment of a snapshot."""

    number: int
    segment: Segment
    live: NDArray[np.bool_]  # (n,) which of its passages are part of the collection


class Snapshot:
    """The passages of all segments, by position through all of them. Thread-safe; it never changes."""

    is_remote, finds_words = False, True

    def __init__(
        self,
        name: str,
        model: Model,
        language: str,
        parts: Sequence[Part],
        faults: Mapping[int, str] = MappingProxyType({}),
        *,
        is_repairing: bool = False,
    ) -> None:
        """Search these segments.

        Args:
            name: Of the collection, for messages.
            model: What encoded the passages.
            language: That was asked for.
            parts: The segments, in the order of their documents.
            faults: Why further segments cannot be searched, and what helps, by number.
            is_repairing: Whether documents of segments that were damaged are not indexed again yet.
        """
        self.name, self.model, self.language, self.parts = name, model, language, parts
        self.faults, self.is_repairing = faults, is_repairing
        self._starts = np.cumsum([0, *(len(part.live) for part in parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def only(self, rows: Mapping[int, NDArray[np.int64]]) -> Snapshot | None:
        """Return a snapshot of some passages alone, as if there were no others; None if it lacks their segments.

        Segments that are damaged may be lacking: the snapshot says so, too.

        rows: by segment. A segment never changes, so they may be of another moment than this snapshot.
        """
        parts = [
            replace(part, live=_at(rows[part.number], len(part.live))) for part in self.parts if part.number in rows
        ]
        if rows.keys() - {part.number for part in parts} - self.faults.keys():
            return None
        return Snapshot(self.name, self.model, self.language, parts, self.faults, is_repairing=self.is_repairing)

    @property
    def is_whole(self) -> bool:
        """Whether every document is found that was searchable before."""
        return not self.faults and not self.is_repairing

    def check_whole(self) -> None:
        """CollectionError if a damaged segment is missing."""
        if not self.is_whole:
            waiting = repairable(self.name, "documents of a damaged segment are not indexed again yet")
            fault = next(iter(self.faults.values()), waiting)
            raise CollectionError(f"collection {self.name} cannot be searched whole: {fault}")

    def without(self, faults: Mapping[int, str]) -> Snapshot:
        """Return a snapshot that does not search these segments, and why, by number."""
        kept = [part for part in self.parts if part.number not in faults]
        known = {**self.faults, **{number: repairable(self.name, fault) for number, fault in faults.items()}}
        return Snapshot(self.name, self.model, self.language, kept, known, is_repairing=self.is_repairing)

    def changed(self) -> str | None:
        """Return a message if the size of a file has changed since it was opened, else None."""
        return next((fault for part in self.parts if (fault := part.segment.files.changed())), None)

    @cached_property
    def live(self) -> NDArray[np.bool_]:
        """(n,) which positions hold a passage that can be found."""
        return np.concatenate([np.zeros(0, dtype=bool), *(part.live for part in self.parts)])

    def positions(self) -> NDArray[np.int64]:
        """Return the positions of all passages that can be found, rising."""
        return np.flatnonzero(self.live)

    def nearest(self, query: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """See `PassageIndex.nearest`."""
        positions: NDArray[np.int64] = _nearest(self.parts, self._starts, query[None, :], k)[0]
        return positions

    def announce(self, query: PendingVector, k: int) -> Find:
        """See `PassageIndex.announce`."""
        return self._searches.announce(query, k)

    @cached_property
    def _searches(self) -> SharedSearch:
        # No method of this one: they would refer to each other, and files of a deleted collection would stay open.
        return SharedSearch(partial(_nearest, self.parts, self._starts))

    def words(self, query: QueryTerms) -> QueryWords:
        """See `PassageIndex.words`."""
        return QueryWords(self._word_search, query)

    @cached_property
    def _word_search(self) -> WordSearch:
        return WordSearch([part.segment.postings for part in self.parts], [part.live for part in self.parts])

    def states(self, positions: NDArray[np.int64]) -> Encoded:
        """See `PassageIndex.states`."""
        return states_of(self._rows(positions), len(positions))

    def passages(self, positions: NDArray[np.int64]) -> list[Passage]:
        """See `PassageIndex.passages`."""
        return self._in_order(positions, Segment.passages)

    def owners(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `PassageIndex.owners`."""
        starts = self._starts[np.searchsorted(self._starts, positions, side="right") - 1]
        owners: NDArray[np.int64] = self._column(positions, lambda segment: segment.documents) + starts
        return owners

    def traits(self, positions: NDArray[np.int64]) -> NDArray[np.void]:
        """See `PassageIndex.traits`."""
        return self._column(positions, lambda segment: segment.text_traits, TRAITS)

    def is_cut(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """See `PassageIndex.is_cut`."""
        cut: NDArray[np.bool_] = self._column(positions, lambda segment: segment.lengths) >= self.model.max_tokens
        return cut

    def _column(
        self, positions: NDArray[np.int64], of: Callable[[Segment], NDArray[Any]], dtype: DTypeLike = np.int64
    ) -> NDArray[Any]:
        """The entries at (m,) positions of a vector that each segment has."""
        return column(self._rows(positions), len(positions), of) if len(positions) else np.zeros(0, dtype=dtype)

    def _in_order(
        self, positions: NDArray[np.int64], read: Callable[[Segment, NDArray[np.int64]], Iterable[_Item]]
    ) -> list[_Item]:
        """What each segment reads of its passages, in the order of the (m,) positions."""
        items: dict[int, _Item] = {}
        for segment, places, rows in self._rows(positions):
            items.update(zip(places.tolist(), read(segment, rows), strict=True))
        return [items[place] for place in range(len(positions))]

    def _rows(self, positions: NDArray[np.int64]) -> list[Rows]:
        """The segments that hold the passages at (m,) positions; for none of them any segment, if there is one."""
        of = np.searchsorted(self._starts, positions, side="right") - 1
        numbers = np.flatnonzero(np.bincount(of)).tolist() or [*range(len(self.parts))][:1]
        places = [np.flatnonzero(of == number) for number in numbers]
        return [
            (self.parts[number].segment, at, positions[at] - self._starts[number])
            for number, at in zip(numbers, places, strict=True)
        ]


def _nearest(
    parts: Sequence[Part], starts: NDArray[np.int64], queries: NDArray[np.float32], k: int
) -> NDArray[np.int64]:
    """The (m, k') positions that are nearest to each of (m, P) queries. starts: where each part begins."""
    positions, scores = [np.zeros((len(queries), 0), np.int64)], [np.zeros((len(queries), 0), np.float32)]
    least: NDArray[np.float32] | float = -np.inf  # what the k-th best has at least
    placed = zip(starts.tolist(), parts, strict=False)  # starts has the end, too
    for start, part in sorted(placed, key=lambda each: len(each[1].live), reverse=True):  # then few others matter
        ids, found = part.segment.index.search(queries, k, None if part.live.all() else part.live, least)
        positions.append(ids + start)
        scores.append(found)
        if found.shape[1] == k:
            least = np.maximum(least, found[:, -1])
    nearest, _ = best(np.concatenate(positions, axis=1), np.concatenate(scores, axis=1), k)
    return nearest


def repairable(name: str, fault: str) -> str:
    """Return what is wrong with segments of a collection, and what mends them."""
    return f"{fault}; `qrerank index verify {name} --repair` mends it"


def _at(rows: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    """(n,) true at these rows."""
    mask = np.zeros(n, dtype=bool)
    mask[rows] = True
    return mask
