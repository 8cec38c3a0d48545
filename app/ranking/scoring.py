"""From states to scores: each ranker's own, their fusion for the order, and a calibrated probability of relevance."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ranking import cross_encoding
from app.ranking.calibration import Calibration, Evidence, along, probability, project
from app.ranking.candidates import Candidates
from app.ranking.hybrid import RANKERS, Fusion, code_share
from app.ranking.job import Contributions, Job, Scored
from app.ranking.methods import BASE
from quantum.backends import Backend
from quantum.diversity import diversify, near_duplicates
from quantum.feature_maps import FeatureMap
from quantum.kernel import gram
from quantum.maxsim import best_fidelities, mean_fidelities
from quantum.negation import excluded_shares
from quantum.simulator import Real
from quantum.vectors import directions
from retrieval.encoder.states import Encoded, ScatteredStates
from retrieval.fusion.normalization import ranking, zscore
from retrieval.text.bm25 import Matches, QueryTerms

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[np.float64]]  # by name, one value a document or chunk

_LEAST_LOG_FIDELITY = -20.0  # of a token; one that nothing is like must not decide a whole mean
_MOST_UNKNOWN = 0.5  # of the tokens; beyond it the model cannot read the language
_EXCLUDED = 0.75  # weight of the excluded share's z-score
_EXCLUDED_LOG_ODDS = 4.0  # that a document loses which is all about what is excluded
_GAP = 1e-6  # log-odds between the last document with a state and the first one without
_RANKERS = {"cosine": "classical", "fidelity": "quantum"}
# By whether cosine and fidelity are known.
_EVIDENCE: Mapping[tuple[bool, bool], Evidence] = {
    (True, True): "hybrid",
    (True, False): "classical",
    (False, True): "quantum",
    (False, False): "lexical",
}


@dataclass(frozen=True)
class _Part:
    """What is kept of c chunks once their tokens are scored."""

    owners: NDArray[np.int64]  # (c,) the documents that the chunks belong to
    pooled: NDArray[np.float32]  # (c, P)
    found: Mapping[str, NDArray[np.float64]]  # (c,) each: cosine, fidelity, log_fidelity, as far as the method needs
    rows: NDArray[np.int64]  # (c,) token rows
    content: NDArray[np.int64]  # (c,) tokens, without special ones
    unknown: NDArray[np.int64]  # (c,) of them, those that the model does not know
    tokens: int
    spans: NDArray[np.int64] | None  # (c, 2), see `Scorer.put`


@dataclass(frozen=True)
class _Best:
    """What is known of the m documents that were read, by the best chunk of each."""

    documents: NDArray[np.int64]  # (m,) positions, rising
    chunks: NDArray[np.int64]  # (m,) places of the chunks among those of all parts
    pooled: NDArray[np.float32]  # (m, P)
    found: Arrays  # (m,) each, as in `_Part`
    known: bool  # whether the model knows most tokens of the query and of a document at least
    readable: NDArray[np.bool_]  # (m,) of which documents its vectors say what they are about


def _rankers(found: Arrays) -> dict[str, NDArray[np.float64]]:
    """The scores of the rankers among what was found, by the rankers' names."""
    return {_RANKERS[name]: values for name, values in found.items() if name in _RANKERS}


def _log_odds(
    calibration: Calibration, evidence: Evidence, query: QueryTerms, matches: Matches, found: Arrays
) -> NDArray[np.float64]:
    """The log-odds of n documents by evidence that does not depend on the other ones. found: of the states."""
    features = {**found, "coverage": matches.coverage, "query_length": np.array(math.log(query.length))}
    return calibration.log_odds(evidence, features)


def unread(calibration: Calibration, query: QueryTerms, matches: Matches) -> Scored:
    """The n documents, none of which was read, scored by their words alone."""
    log_odds = _log_odds(calibration, "lexical", query, matches, {})
    nothing = np.zeros(len(log_odds), dtype=np.int64)
    return Scored(
        scores=probability(project(log_odds, prescores(matches.scores))),
        rankers={"lexical": matches.scores},
        log_odds=log_odds,
        evidence={"coverage": matches.coverage},
        chunks_read=nothing,
        tokens_read=nothing,
    )


@dataclass
class Scorer:
    """Scores the chunks of one request part by part, and keeps only the pooled vector of each chunk."""

    feature_map: FeatureMap
    fusion: Fusion
    calibration: Calibration
    job: Job
    states: Encoded  # of the query, at 0, and of the excluded texts
    per_token: bool = True  # whether each token has a row; else one row stands for a whole text
    backend: Backend | None = None  # what runs the circuits of one row a text; None: the exact kernel
    parts: dict[int, _Part] = field(default_factory=dict)

    def put(
        self, part: int, owners: NDArray[np.int64], states: ScatteredStates, spans: NDArray[np.int64] | None = None
    ) -> None:
        """Score c chunks by their states. They replace what was put as this part before.

        A product of matrices rounds a row differently when other rows stand beside it. So a part that comes in pieces
        is put whole each time: its last scores are those that it would have got at once.

        Args:
            part: Its number.
            owners: (c,) positions of the documents that the chunks belong to.
            states: Of the chunks.
            spans: (c, 2) code points of their documents at which the chunks begin and end; None where nobody asks.
        """
        found: dict[str, NDArray[np.float64]] = {}
        if self.job.method != "quantum":
            found |= self._found("classical", self._cosine, states)
        if self.job.method != "classical":
            found |= self._found("quantum", self._fidelity, states)
        content, tokens = states.counts if self.per_token else states.lengths, int(states.lengths.sum())
        self.parts[part] = _Part(owners, states.pooled, found, states.counts, content, states.unknown, tokens, spans)

    def _found(self, ranker: str, score: Callable[[ScatteredStates], Arrays], states: ScatteredStates) -> Arrays:
        """What a ranker says of c chunks. One of several that fails is left out of the job, which says so."""
        if ranker in self.job.dropped:
            return {}
        try:
            with self.job.watch(ranker):
                return score(states)
        except Exception:
            if not self.job.drop(ranker):
                raise
            log.exception("the ranker %s failed; the others answer", ranker)
            return {}

    def _cosine(self, states: ScatteredStates) -> Arrays:
        # Rounding leaves a unit vector's product with itself a little over 1.
        return {"cosine": np.clip((states.pooled @ self.states.pooled[0]).astype(np.float64), -1, 1)}

    def _fidelity(self, states: ScatteredStates) -> Arrays:
        query_tokens = self.states.tokens[: self.states.offsets[1]]
        if self.backend:
            rows = (directions(rows, np.float64) for rows in (query_tokens, np.concatenate(states.tokens)))
            best: Real = self.backend.estimate(self.feature_map, *rows).log_fidelity
        else:
            best = best_fidelities(self.feature_map, query_tokens, states.tokens, states.offsets, states.scales)
        log_fidelity = np.maximum(best, _LEAST_LOG_FIDELITY).mean(axis=0, dtype=np.float64)
        return {"fidelity": mean_fidelities(best), "log_fidelity": log_fidelity}

    def scores(self, matches: Matches, documents: Candidates, logits: NDArray[np.float64] | None = None) -> Scored:
        """The scores of n documents by what was read of them so far.

        A document without a state is scored by its words alone, and stands below the others. logits: (n,) a
        cross-encoder's, NaN for documents that it did not read.
        """
        if not self.parts:
            return unread(self.calibration, self.job.terms, matches)
        with self.job.watch("fuse"):
            copies = documents.copies
            best, near = self._best(copies), None
            chosen, kernel = best.documents, cache(partial(gram, self.feature_map, best.pooled))
            log_odds = self._evidence(best, matches)
            fused, contributions = self._fused(best, matches.scores[chosen], kernel, documents)
            fused = fused if logits is None else cross_encoding.add(fused, logits[chosen])
            if len(self.states.pooled) > 1 and best.known:  # else all texts are one vector, that of what is unknown
                log_odds, fused = self._without_excluded(best, log_odds, fused)
            projected = _projected(log_odds, fused, chosen, prescores(matches.scores), copies)
            if self.job.diversity and best.known:  # copies are told apart where words alone decide, too
                projected, near = _diverse(projected, chosen, kernel(), self.job.diversity, self.job.min_score)
        owners, content, n = self._all("owners"), self._all("content"), len(copies)
        found = {name: _spread(values, chosen, n) for name, values in best.found.items()}
        read = {} if logits is None else {cross_encoding.NAME: logits}
        return Scored(
            scores=probability(projected),
            rankers=_rankers(found) | {"lexical": matches.scores} | read,
            log_odds=log_odds,
            evidence={name: found[name] for name in found if name not in _RANKERS} | {"coverage": matches.coverage},
            readable=bool(best.readable.any()),
            encoded=len(chosen),
            tokens=sum(part.tokens for part in self.parts.values()),
            chunks_read=np.bincount(owners, minlength=n),
            tokens_read=np.bincount(owners, content, n).astype(np.int64),
            contributions=contributions and contributions.of_all(chosen, n),
            near_duplicates=near,
        )

    def _best(self, copies: NDArray[np.int64]) -> _Best:
        """The best chunk of each document. copies: (n,) of `Candidates.copies`.

        All copies of a text get what the first has: ranks would tell them apart by how a product was rounded.
        """
        owners, parts = self._all("owners"), list(self.parts.values())
        names = [name for name in parts[0].found if all(name in part.found for part in parts)]
        found = {name: np.concatenate([part.found[name] for part in parts]) for name in names}
        order = np.lexsort((-found.get("fidelity", found.get("cosine", np.zeros(len(owners)))), owners))
        documents, first = np.unique(owners[order], return_index=True)
        # One chunk that is known is enough, or others, such as emoji, would leave it to words alone.
        of_documents = np.minimum.reduceat((self._all("unknown") / self._all("rows"))[order], first)
        known = np.maximum(of_documents, self.states.unknown[0] / self.states.offsets[1]) <= _MOST_UNKNOWN
        best = {name: np.maximum.reduceat(values[order], first) for name, values in found.items()}
        _, first_copy, copy = np.unique(copies[documents], return_index=True, return_inverse=True)
        equal, chunks = {name: values[first_copy[copy]] for name, values in best.items()}, order[first]
        return _Best(documents, chunks, self._all("pooled")[chunks], equal, bool(known.any()), known & self.job.reads)

    def best_chunks(self, documents: Candidates) -> list[str]:
        """Of each of n documents the chunk that scored best, by the spans that were put; all of one without states."""
        chunks = list(documents.texts)
        if not self.parts:
            return chunks
        best = self._best(documents.copies)
        for at, (start, end) in zip(best.documents.tolist(), self._all("spans")[best.chunks].tolist(), strict=True):
            chunks[at] = chunks[at][start:end]
        return chunks

    def _all(self, name: str) -> NDArray[Any]:
        """One array of `_Part` for all chunks."""
        return np.concatenate([getattr(part, name) for part in self.parts.values()])

    def _evidence(self, best: _Best, matches: Matches) -> NDArray[np.float64]:
        """The (n,) log-odds of all documents: by their words, and of those that the model can read by their states."""
        log_odds = _log_odds(self.calibration, "lexical", self.job.terms, matches, {})
        if best.readable.any():
            chosen = best.documents[best.readable]
            found = {name: values[best.readable] for name, values in best.found.items()}
            evidence = _EVIDENCE["cosine" in found, "fidelity" in found]
            known = Matches(matches.scores[chosen], matches.coverage[chosen])
            log_odds[chosen] = _log_odds(self.calibration, evidence, self.job.terms, known, found)
        return log_odds

    def _without_excluded(
        self, best: _Best, log_odds: NDArray[np.float64], fused: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The (n,) log-odds and the (m,) fused scores, lower the more of a document is about what is excluded."""
        excluded = excluded_shares(self.states.pooled[0], self.states.pooled[1:], best.pooled)
        lower = log_odds.copy()
        lower[best.documents] -= _EXCLUDED_LOG_ODDS * excluded * best.readable
        return lower, fused - _EXCLUDED * (fused.std() or 1.0) * zscore(excluded)

    def _fused(
        self,
        best: _Best,
        lexical: NDArray[np.float64],
        kernel: Callable[[], NDArray[np.float64]],
        documents: Candidates,
    ) -> tuple[NDArray[np.float64], Contributions | None]:
        """The (m,) scores that order the documents: a method's own z-score, or the fusion of all of them.

        lexical: (m,), which alone orders what the model cannot read.
        """
        if not best.readable.any():
            return zscore(lexical), None
        rankers = _rankers(best.found) | {"lexical": lexical}
        if (method := BASE[self.job.method]) != "hybrid":
            return zscore(rankers[method]), None
        fusion = replace(self.fusion, algorithm=self.job.fusion or self.fusion.algorithm)
        nothing = np.zeros_like(lexical)  # of one that was left out: equal scores order nothing
        rows = np.stack([rankers.get(name, nothing) for name in RANKERS])
        code = code_share(documents.symbols, documents.characters)
        if self.job.weigh is None or not fusion.is_linear:
            return fusion.fuse(rows, code, kernel), None
        parts, defaults = fusion.parts(rows, code, kernel)
        left_out = not {*RANKERS}.isdisjoint(self.job.dropped)  # then nothing can be learned of it
        return self.job.weigh(defaults) @ parts, None if left_out else Contributions(parts, defaults)


def _projected(
    log_odds: NDArray[np.float64],
    fused: NDArray[np.float64],
    chosen: NDArray[np.int64],
    order: NDArray[np.float64],
    copies: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The (n,) log-odds in the order of the (m,) fused scores of the chosen, the rest below them in prescore order.

    Equal texts get equal ones to the last bit, wherever a matrix product rounded them differently: those of the first
    copy, or of the first that was read in time.
    """
    projected = project(log_odds[chosen], fused)
    if len(chosen) < len(copies):
        projected = _below(projected, chosen, log_odds, order)
        texts, first = np.unique(copies[chosen], return_index=True)
        projected[texts] = projected[chosen[first]]
    return projected[copies]


def _below(
    projected: NDArray[np.float64], chosen: NDArray[np.int64], log_odds: NDArray[np.float64], order: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The (n,) log-odds of all documents: those of the (m,) chosen, and below them the rest in (n,) prescore order."""
    everything = np.empty_like(log_odds)
    everything[chosen] = projected
    rest = np.setdiff1d(np.arange(len(log_odds)), chosen)
    if len(rest):
        lower = project(log_odds[rest], order[rest])
        everything[rest] = lower + min(0.0, projected.min() - _GAP - lower.max())
    return everything


def _diverse(
    log_odds: NDArray[np.float64],
    chosen: NDArray[np.int64],
    kernel: NDArray[np.float64],
    diversity: float,
    min_score: float,
) -> tuple[NDArray[np.float64], float]:
    """The (n,) log-odds in an order in which the (m,) chosen differ, and the share of near duplicates among these.

    Those below `min_score` stay below the others: the scores of an order are means, and one would lift them over it.
    """
    near = near_duplicates(kernel, ranking(log_odds[chosen]))
    high = np.flatnonzero(probability(log_odds[chosen]) >= min_score)
    if not len(high):
        return log_odds, near
    chosen, kernel = chosen[high], kernel[np.ix_(high, high)]
    own = log_odds[chosen]
    order = diversify(kernel, -np.logaddexp(0, -own), diversity)
    moved = log_odds.copy()
    moved[chosen] = along(own, order)
    rest = np.setdiff1d(np.arange(len(log_odds)), chosen)
    if len(rest):  # which stands below
        moved[rest] += min(0.0, moved[chosen].min() - _GAP - log_odds[rest].max())
    return moved, near


def _spread(values: NDArray[np.float64], chosen: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """The (count,) values of all documents: NaN where they are not among the chosen."""
    everything = np.full(count, np.nan)
    everything[chosen] = values
    return everything


def prescores(lexical: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores in [0, 1) in the order of (n,) BM25 scores b ≥ 0: b/(1 + b)."""
    return lexical / (1 + lexical)
