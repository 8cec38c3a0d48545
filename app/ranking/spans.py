"""Relevant spans: which sentences of a document match a query, by late interaction with each sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.ranking.candidates import Chunk
from quantum.feature_maps import FeatureMap
from quantum.maxsim import score_documents
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.states import Encoded, ScatteredStates
from retrieval.text.limits import Allowance, most_code_points, runs
from retrieval.text.sentences import sentences


@dataclass(frozen=True)
class Span:
    """A sentence of a text: the code points [start, end)."""

    start: int
    end: int
    score: float  # fidelity of the query with these tokens alone, in [0, 1]


class ChunkReader(Protocol):
    """What compares a query with texts, chunk by chunk."""

    def add(self, chunks: Sequence[Chunk], states: ScatteredStates) -> None:
        """Take c chunks with their states."""


class SentenceScores:
    """Scores the sentences of n texts by the states of their chunks, which come in any order.

    A sentence is scored in the context of its document: its tokens are those that the encoder read there. A sentence
    that is cut between chunks scores as its better piece, and a document as its best chunk. So no sentence scores
    higher than its document.
    """

    def __init__(
        self,
        texts: Sequence[str],
        encoder: Encoder,
        feature_map: FeatureMap,
        query_states: Encoded,
        until: float = math.inf,
    ) -> None:
        """Find the sentences of n texts.

        Args:
            texts: The texts.
            encoder: The model that reads them.
            feature_map: Scores pairs of tokens.
            query_states: The query's state, at 0.
            until: `time.monotonic()` seconds. Texts and chunks that come later have no sentences.
        """
        self._encoder, self._feature_map = encoder, feature_map
        self._query_tokens = query_states.take([0]).tokens
        self._time_left, finding = Allowance(until), Allowance(until)
        found = [sentences(text) if finding.covers(text) else [] for text in texts]
        self._spans = [np.array(spans, dtype=np.int64).reshape(-1, 2) for spans in found]  # (s, 2) each
        self._first = np.concatenate([[0], np.cumsum([len(spans) for spans in self._spans])]).astype(
            np.int64
        )  # (n + 1,)
        self._best = np.full(self._first[-1], -np.inf)  # a sentence of which no token was read is none

    def add(self, chunks: Sequence[Chunk], states: ScatteredStates) -> None:
        """Score the sentences in c chunks by the chunks' states."""
        sentence = np.concatenate(  # (T,) of each token
            [
                self._sentences(*each)
                for each in zip(chunks, self._token_spans(chunks), states.counts.tolist(), strict=True)
            ]
        )
        run = np.stack([np.repeat(np.arange(len(chunks)), states.counts), sentence])[:, sentence >= 0]  # (2, T')
        if run.size:
            starts = np.flatnonzero(np.diff(run, axis=1, prepend=-1).any(axis=0))
            tokens, offsets = np.concatenate(states.tokens)[sentence >= 0], np.append(starts, run.shape[1])
            scores = score_documents(self._feature_map, self._query_tokens, tokens, offsets)
            np.maximum.at(self._best, run[1, starts], scores)

    def _token_spans(self, chunks: Sequence[Chunk]) -> Iterator[NDArray[np.int64]]:
        """Where the tokens of each chunk lie; (0, 2) of a chunk that there is no time for."""
        end = most_code_points(self._encoder.max_tokens)
        texts = [chunk.text[:end] for chunk in chunks]  # as the encoder did
        for run in runs([len(text) for text in texts]):
            in_time = [self._time_left.covers(text) for text in texts[run]]
            spans = iter(self._encoder.row_spans([text for text, yes in zip(texts[run], in_time, strict=True) if yes]))
            yield from (next(spans) if yes else np.zeros((0, 2), dtype=np.int64) for yes in in_time)

    def spans(self, threshold: float, most: int | None) -> list[list[Span]]:
        """Of each text the sentences that score so much at least, at most so many: the best first, ties by position."""
        return [
            self._chosen(spans, self._best[first : first + len(spans)], threshold)[:most]
            for spans, first in zip(self._spans, self._first.tolist(), strict=False)
        ]

    def _sentences(self, chunk: Chunk, spans: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """The sentence in which each of a chunk's tokens ends, (count,): its number among those of all texts, or -1."""
        found = np.full(count, -1, dtype=np.int64)
        of = self._spans[chunk.document]
        if not len(of):  # special tokens stand for a blank text, and have no rows
            return found
        rows = spans[:count]
        last = np.where(rows[:, 1] > rows[:, 0], chunk.start + rows[:, 1] - 1, -1)  # tokens of a prompt lie nowhere
        at = np.searchsorted(of[:, 0], last, side="right") - 1
        inside = (at >= 0) & (last < of[at, 1])
        found[: len(rows)] = np.where(inside, self._first[chunk.document] + at, -1)
        return found

    @staticmethod
    def _chosen(spans: NDArray[np.int64], scores: NDArray[np.float64], threshold: float) -> list[Span]:
        order = [at for at in np.argsort(-scores, kind="stable").tolist() if scores[at] >= threshold]
        return [Span(int(spans[at, 0]), int(spans[at, 1]), float(scores[at])) for at in order]
