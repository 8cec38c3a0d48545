"""Token matches: which tokens of a document a query's tokens met, by fidelity.

The quantum score of a document is the mean over the query's tokens of the best fidelity with a token of the document.
This is that maximum, with its place in both texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.ranking.candidates import Chunk
from quantum.feature_maps import FeatureMap
from quantum.vectors import directions
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.states import Encoded, ScatteredStates


@dataclass(frozen=True)
class TextMatches:
    """How the t tokens of one text match the q tokens of the query. Tokens of prompts and the like are left out."""

    spans: NDArray[np.int64]  # (t, 2) code points [start, end) of each token in the text
    fidelity: NDArray[np.floating]  # (t,) the best with a token of the query, in [0, 1]
    query_token: NDArray[np.int64]  # (t,) which token that is
    best: NDArray[np.floating]  # (q,) of each token of the query, the best with a token of the text; 0 where t is 0
    token: NDArray[np.int64]  # (q,) which token that is, -1 where t is 0


@dataclass
class _Found:
    """What was found in the chunks of one text, an array of each."""

    spans: list[NDArray[np.int64]] = field(default_factory=list)  # (t, 2)
    fidelity: list[NDArray[np.floating]] = field(default_factory=list)  # (t,)
    query_token: list[NDArray[np.int64]] = field(default_factory=list)  # (t,)
    best: list[NDArray[np.floating]] = field(default_factory=list)  # (q,)
    token: list[NDArray[np.int64]] = field(default_factory=list)  # (q,) the best token, by its place among all t


class TokenMatches:
    """Compares the tokens of a query with those of n texts, whose chunks come in any order."""

    def __init__(
        self, query: Sequence[str], count: int, encoder: Encoder, feature_map: FeatureMap, query_states: Encoded | None
    ) -> None:
        """Find the tokens of the query.

        Args:
            query: The chunks that are read of it, from its beginning.
            count: The number n of texts.
            encoder: The model that reads them.
            feature_map: Compares pairs of tokens.
            query_states: The query's state, at 0; None: it was not read, and nothing matches.
        """
        self._encoder, self._feature_map = encoder, feature_map
        starts, of_chunks = np.cumsum([0, *map(len, query[:-1])]), encoder.row_spans(query, "query")
        spans = np.concatenate([of + at * (of[:, 1:] > 0) for of, at in zip(of_chunks, starts, strict=True)])
        rows = query_states.take([0]).tokens if query_states is not None else np.zeros((0, 1), dtype=np.int8)
        self._shown = np.flatnonzero(spans[: len(rows), 1] > spans[: len(rows), 0])
        self.query = spans[self._shown]  # (q, 2) code points of each token
        self._rows = directions(rows[self._shown], np.float32) if self._shown.size else None
        self._found = [_Found() for _ in range(count)]

    def add(self, chunks: Sequence[Chunk], states: ScatteredStates) -> None:
        """Compare the tokens of c chunks with those of the query."""
        spans_of_all = self._encoder.row_spans([chunk.text for chunk in chunks])
        for chunk, spans, tokens in zip(chunks, spans_of_all, states.tokens, strict=True):
            shown = np.flatnonzero(spans[: len(tokens), 1] > spans[: len(tokens), 0])
            if self._rows is None or not shown.size:
                continue
            of, places = self._found[chunk.document], spans[shown] + chunk.start
            fidelity = self._feature_map.fidelity(self._rows, directions(tokens[shown], np.float32))  # (q, t)
            of.token.append(sum(map(len, of.spans)) + fidelity.argmax(axis=1))
            of.spans.append(places)
            of.fidelity.append(fidelity.max(axis=0))
            of.query_token.append(fidelity.argmax(axis=0))
            of.best.append(fidelity.max(axis=1))

    def texts(self) -> list[TextMatches]:
        """The matches of each text, its tokens as they stand in it."""
        return [self._matches(found) for found in self._found]

    def _matches(self, found: _Found) -> TextMatches:
        asked = len(self.query)
        if not found.spans:
            nothing = np.zeros(0, dtype=np.int64)
            return TextMatches(
                np.zeros((0, 2), dtype=np.int64), np.zeros(0), nothing, np.zeros(asked), np.full(asked, -1)
            )
        spans, fidelity, query_token = (
            np.concatenate(arrays) for arrays in (found.spans, found.fidelity, found.query_token)
        )
        order = np.argsort(spans[:, 0], kind="stable")
        best, token = np.stack(found.best), np.stack(found.token)  # (chunks, q)
        of_best = best.argmax(axis=0), np.arange(asked)
        place = np.argsort(order)  # of each token in the order; several may begin at one code point
        return TextMatches(spans[order], fidelity[order], query_token[order], best[of_best], place[token[of_best]])
