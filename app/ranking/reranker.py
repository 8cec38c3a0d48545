"""The reranking pipeline: text in, order out. It knows both libraries, and no HTTP.

>>> reranker = Reranker(encoder)
>>> reranker.rerank("which bird sings at night", ["an owl hunts mice", "the nightingale sings after dusk"]).order
array([1, 0])
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from app.ranking.calibration import Calibration, fallback
from app.ranking.candidates import Candidates, FoundPassages, SentDocuments
from app.ranking.cpu_slots import CpuSlots
from app.ranking.cross_encoding import NAME, CrossEncoding
from app.ranking.hybrid import Fusion
from app.ranking.job import Job, Options, Pace, Ranking, Scored, parts
from app.ranking.methods import BASE, CROSS_METHOD
from app.ranking.scoring import Scorer, unread
from app.ranking.spans import ChunkReader, SentenceScores, Span
from app.ranking.token_matches import TokenMatches
from quantum.backends import Backend
from quantum.diagnostics import check_spread
from quantum.errors import QuantumError
from quantum.feature_maps import FeatureMap, feature_map
from quantum.gates import check_limits
from retrieval.deadline import Deadline
from retrieval.encoder.chunks import USUAL, Reading
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.states import Encoded
from retrieval.errors import EncoderUnavailable
from retrieval.fusion import ranking
from retrieval.index.first_stage import BOTH, FirstStage
from retrieval.index.passage_index import PassageIndex, check_encoder
from retrieval.states.cache import StateCache
from retrieval.states.source import PendingStates, StateSource
from retrieval.text.bm25 import Matches
from retrieval.text.characters import is_read
from retrieval.text.languages import AUTO

__all__ = ["Ranking", "Reranker", "Span"]


class Reranker:
    """Ranks documents for a query. Threads may share it, and then share the encoder's passes and what is cached."""

    def __init__(
        self,
        source: Encoder | StateSource,
        states: FeatureMap | None = None,
        fusion: Fusion | None = None,
        processors: int = 1,
        slots: CpuSlots | None = None,
        calibration: Calibration | None = None,
        cross: CrossEncoding | None = None,
        backend: Backend | None = None,
    ) -> None:
        """Make a reranker.

        Args:
            source: An encoder, or one with its caches.
            states: The feature map. Its real circuit must be small enough, CircuitTooLarge, and tell vectors apart,
                Saturated.
            fusion: The weights of the rankers.
            processors: How many threads compute at once; the others wait.
            slots: The CPU slots, where several rerankers share the same processors.
            calibration: The parameters of the scores; by default those of the default model.
            cross: What the method hybrid+cross needs.
            backend: What runs the circuits, of an encoder with one vector a text; None: the exact kernel. QuantumError
                for an encoder with a vector for each token.
        """
        self.source = source if isinstance(source, StateSource) else StateSource(source)
        self.feature_map = states or feature_map()
        self.fusion = fusion or Fusion()
        self.calibration = calibration or fallback()
        self.cross = cross
        self._slots = slots or CpuSlots(processors)
        self._pace = Pace()
        self.backend = backend
        check_limits(self.feature_map)
        check_spread(self.feature_map, self.encoder.token_dimension)
        if backend and self.encoder.granularity == "token":
            raise QuantumError(
                f"{backend.name} runs a circuit for each register of a pair, and {self.encoder.name} has a vector for "
                "each token, thousands of pairs a request: leave it exact, or serve a model with one vector a text"
            )

    @property
    def is_calibrated(self) -> bool:
        """Whether the parameters of the scores were fitted with this encoder."""
        return self.calibration.digest == self.encoder.digest

    @property
    def encoder(self) -> Encoder:
        """What turns texts into states."""
        return self.source.encoder

    def rerank(
        self, query: str, documents: Sequence[str], *, reading: Reading = USUAL, **options: Unpack[Options]
    ) -> Ranking:
        """Rank n ≥ 1 documents for a query. A document that is too long for the encoder scores as its best chunk.

        Where an encoder on another machine fails, documents without cached states are scored by their words, and the
        ranking says so.

        Args:
            query: What is asked.
            documents: The texts to rank.
            reading: What is read of each document.
            options: See `Options`.

        Raises:
            ValueError: An empty query, no documents or one text in their place, an unknown method or language, or
                hybrid+cross without a cross-encoder.
            TypeError: A document is no string, or they are no list; a deadline or a reading that is none.
            Cancelled: The deadline was cancelled.
        """
        if len(documents) == 0:
            raise ValueError("there are no documents to rank; give a list of texts")
        job = self._job(query, **options)
        with self._announced(job, job.deadline.at) as pending:
            with self._processor(job), job.watch("prescore"):
                candidates = SentDocuments(documents, self.source, reading, job.deadline, job.language)
                matches = job.matches(candidates)
            job.incomplete = candidates.late
            if job.report:
                job.report(job.ranking(unread(self.calibration, job.terms, matches), candidates))
            try:
                query_states = _waited(job, pending)
            except EncoderUnavailable as error:
                job.unavailable, query_states = error, None  # the words can be compared
        return self._rank(job, query_states, candidates, matches)

    def search(
        self,
        query: str,
        collection: PassageIndex,
        *,
        positions: NDArray[np.int64] | None = None,
        candidates: int = 100,
        first_stage: FirstStage = BOTH,
        leave_out: int | None = None,
        grouped: bool = False,
        **options: Unpack[Options],
    ) -> tuple[NDArray[np.int64], Ranking]:
        """Retrieve a collection's best candidates and rank them; returns their (n,) positions and the ranking.

        Args:
            query: What is asked.
            collection: Where to search.
            positions: (n,) those of the candidates; None: they are searched for.
            candidates: How many passages to retrieve.
            first_stage: How candidates are found.
            leave_out: The number of a document that must not be among them; the next best takes its place.
            grouped: Retrieve passages of so many documents, up to two of each, and order each document's best only.
            options: See `Options`; where they name no language, the collection's is taken, which may be to detect it.
        """
        if options.get("language", AUTO) == AUTO:
            options["language"] = collection.language
        job = self._job(query, **options)
        check_encoder(collection, self.encoder)
        words, nearest = collection.words(job.terms), None
        first_stage = first_stage if job.reads else first_stage.by_words()
        with self._announced(job, math.inf) as pending:
            if self.encoder.breaker or self.source.shared_encoder.is_busy:  # another machine, or other threads encode
                _waited(job, pending)
            if positions is None:  # whoever gets a processor first encodes and searches for all that wait for one
                nearest = first_stage.announce(collection, lambda: _needed(pending()).pooled[0], candidates, leave_out)
            # Where another machine searches, this one's processors are left to others.
            with nullcontext() if collection.is_remote else self._processor(job):
                query_states = _needed(_waited(job, pending))
                with job.watch("retrieve"):
                    if positions is None:
                        vector = query_states.pooled[0]
                        positions = first_stage.search(
                            collection, vector, words, candidates, leave_out, grouped=grouped, nearest=nearest
                        )
                    found = FoundPassages(positions, collection, words, grouped=grouped)
                with job.watch("prescore"):
                    matches = job.matches(found)
        if job.report:
            job.report(job.ranking(unread(self.calibration, job.terms, matches), found))
        return positions, self._rank(job, query_states, found, matches)

    def rank_passages(self, query: str, collection: PassageIndex, positions: NDArray[np.int64]) -> Ranking:
        """Rank the passages at (n,) positions of a collection for a query; see `search`."""
        return self.search(query, collection, positions=positions)[1]

    def relevant_spans(
        self,
        query: str,
        texts: Sequence[str],
        *,
        threshold: float = 0.1,
        most: int | None = None,
        reading: Reading = USUAL,
        deadline: Deadline | None = None,
    ) -> list[list[Span]]:
        """Which sentences of n ≥ 0 texts match a query: for each text the best first, ties by position.

        A sentence scores as `quantum` would score its document without the other tokens, so never higher than the
        document. Sentences that the deadline left unread are left out.

        Args:
            query: What is asked.
            texts: The texts.
            threshold: The least score, in [0, 1].
            most: At most so many sentences of a text, at least 1; None for all.
            reading: What is read of each text; what is not read has no spans.
            deadline: When the answer is due.

        Raises:
            ValueError: An empty query, one text in place of several, a threshold or number out of range, or a model
                without vectors of tokens.
            Cancelled: The deadline was cancelled.
        """
        if self.encoder.granularity != "token":
            raise ValueError(f"{self.encoder.name} gives one vector for a whole text: no sentence can be told apart")
        if not 0 <= threshold <= 1 or (most is not None and most < 1):
            raise ValueError(f"a threshold lies in [0, 1], and at least 1 span is given; got {threshold} and {most}")
        job, candidates, query_states = self._compared(query, texts, reading, deadline)
        if query_states is None:
            return [[] for _ in texts]
        scores = SentenceScores(candidates.texts, self.encoder, self.feature_map, query_states, job.deadline.at)
        self._read_by(scores, job, candidates)
        return scores.spans(threshold, most)

    def token_matches(
        self, query: str, texts: Sequence[str], *, reading: Reading = USUAL, deadline: Deadline | None = None
    ) -> TokenMatches:
        """Which tokens of a query and of n ≥ 0 texts match, by fidelity: what the score of `quantum` is made of.

        Args:
            query: What is asked.
            texts: The texts.
            reading: What is read of each text; what is not read has no tokens.
            deadline: When the answer is due. Texts that it left unread have no tokens.

        Raises:
            ValueError: An empty query, one text in place of several, or a model without vectors of tokens.
            Cancelled: The deadline was cancelled.
        """
        if self.encoder.granularity != "token":
            raise ValueError(f"{self.encoder.name} gives one vector for a whole text, and none for a token")
        job, candidates, query_states = self._compared(query, texts, reading, deadline)
        chunks = self.source.query_chunks(query)
        matches = TokenMatches(chunks, len(texts), self.encoder, self.feature_map, query_states)
        if query_states is not None:
            self._read_by(matches, job, candidates)
        return matches

    def _compared(
        self, query: str, texts: Sequence[str], reading: Reading, deadline: Deadline | None
    ) -> tuple[Job, SentDocuments, Encoded | None]:
        """A job that compares tokens, its texts, and the states of its query; None if there was no time for them."""
        job = Job(query, "quantum", deadline=deadline or Deadline())
        with self._processor(job):
            candidates = SentDocuments(texts, self.source, reading, job.deadline)
        with self._announced(job, job.deadline.at) as pending:
            return job, candidates, _waited(job, pending)

    def _read_by(self, reader: ChunkReader, job: Job, candidates: SentDocuments) -> None:
        """Let a reader see all chunks with their states, as far as the deadline allows."""
        for part in parts(candidates, np.arange(len(candidates.texts)), job, self._pace):
            if len(part.chunks):
                with self._processor(job):
                    reader.add([candidates.chunks[at] for at in part.chunks.tolist()], candidates.states(part.chunks))

    def variant(
        self,
        states: FeatureMap | None = None,
        fusion: Fusion | None = None,
        calibration: Calibration | None = None,
        source: StateSource | None = None,
    ) -> Reranker:
        """One with another circuit, fusion, parameters of the scores or source, otherwise the same."""
        return Reranker(
            source or self.source,
            states or self.feature_map,
            fusion or self.fusion,
            slots=self._slots,
            calibration=calibration or self.calibration,
            cross=self.cross,
            backend=self.backend,
        )

    def isolated_copy(self) -> Reranker:
        """An isolated copy for probes: the same model on the same processors; see `StateSource.isolated_copy`."""
        return self.variant(source=self.source.isolated_copy())

    def warm_up(self) -> None:
        """Compile kernels and learn the costs, so that the first requests are about as fast as the hundredth."""
        self.source.shared_encoder.warm_up()
        source = self.source.isolated_copy(StateCache(2**26))  # all is encoded once, has room, and is forgotten
        documents = [" ".join(f"word{i} number{j}" for j in range(i)) for i in range(5, 51, 5)] * 5
        for _ in range(3):
            self._pace.cost = 0.0  # what the last time took is what counts
            job = Job("word number", "hybrid")
            query_states = source.encode_query([job.query], math.inf, job.deadline)
            found = SentDocuments(documents, source)
            self._rank(job, query_states, found, found.matches(job.terms))

    def _job(self, query: str, **options: Unpack[Options]) -> Job:
        """A request; `hybrid` goes by words alone if the model does not read the query's script."""
        job = Job(query, **options)
        job.reads = BASE[job.method] != "hybrid" or is_read(query, self.encoder.scripts)
        return job

    @contextmanager
    def _processor(self, job: Job) -> Iterator[None]:
        """Hold a CPU slot within the block; Cancelled if nobody waits for the result any more."""
        begun = time.perf_counter()
        with self._slots.slot(job.deadline.caller):
            job.watch.since("wait", begun)
            job.deadline.check()
            yield

    @contextmanager
    def _announced(self, job: Job, until: float) -> Iterator[PendingStates]:
        """Announce the query, at 0, and the excluded texts to the encoder within the block."""
        begun = time.perf_counter()
        with self.source.announced_query([job.query, *job.exclude], until, job.deadline) as pending:
            job.watch.since("encode_query", begun)
            yield pending

    def _rank(self, job: Job, query_states: Encoded | None, candidates: Candidates, matches: Matches) -> Ranking:
        """Rank candidates by their words and, where the query has states, by what of them can be read in time."""
        job.cached = int(np.count_nonzero(candidates.ready))
        if job.method == CROSS_METHOD and self.cross is None:
            raise ValueError("hybrid+cross needs a cross-encoder, and this reranker has none")
        if query_states is None:
            job.incomplete = True
            job.dropped += [NAME] if job.method == CROSS_METHOD else []
            return job.ranking(unread(self.calibration, job.terms, matches), candidates)
        job.query_tokens, job.query_cut = int(query_states.lengths.sum()), self.source.is_cut(job.query)
        per_token = self.encoder.granularity == "token"
        scorer = Scorer(self.feature_map, self.fusion, self.calibration, job, query_states, per_token, self.backend)
        scored = self._read_parts(scorer, candidates, matches)
        if not job.report:  # partial rankings cost more than scoring does
            self._pace.learn(job.watch.ms, int(scored.chunks_read.sum()))
        if job.method == CROSS_METHOD and self.cross:
            scored = self._crossed(self.cross, scorer, scored, candidates, matches)
        return job.ranking(scored, candidates)

    def _read_parts(self, scorer: Scorer, candidates: Candidates, matches: Matches) -> Scored:
        """Score candidates part by part, the most promising first, and report the ranking after each part but the last.

        A CPU slot is held while a part is scored, and not while its texts are encoded.
        """
        job, scored = scorer.job, None
        promising = ranking(matches.scores)[: job.encode_limit]
        for part in parts(candidates, promising, job, self._pace):
            job.incomplete, scored = part.incomplete, None
            if not len(part.chunks):
                continue
            with self._processor(job):
                with job.watch("join"):
                    states = candidates.states(part.chunks)
                spans = candidates.spans(part.chunks) if job.method == CROSS_METHOD else None
                scorer.put(part.number, part.owners, states, spans)
                if job.report or not part.more:
                    scored = scorer.scores(matches, candidates)
            if scored and part.more and job.report:
                job.report(job.ranking(scored, candidates))
        if scored is None:  # the last part had nothing to read, or there was none
            with self._processor(job):
                scored = scorer.scores(matches, candidates)
        return scored

    def _crossed(
        self, cross: CrossEncoding, scorer: Scorer, scored: Scored, candidates: Candidates, matches: Matches
    ) -> Scored:
        """The documents scored once more, with what the cross-encoder says of the best of them."""
        job = scorer.job
        if job.report:
            job.report(job.ranking(scored, candidates))
        until = self._pace.encode_until(job.deadline, 0)  # the chunks are scored already
        logits = cross.logits(job, scored, scorer.best_chunks(candidates), candidates.copies, until)
        with self._processor(job):
            return scorer.scores(matches, candidates, logits)


def _waited(job: Job, pending: PendingStates) -> Encoded | None:
    """Wait for the states of a job's query; None if there was no time for them."""
    with job.watch("encode_query"):
        return pending()


def _needed(query_states: Encoded | None) -> Encoded:
    """The states of a query that were waited for with all the time there is: without them nothing can be found."""
    if query_states is None:
        raise RuntimeError("the query's state is missing")
    return query_states
