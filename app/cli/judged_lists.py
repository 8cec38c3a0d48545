"""Judged lists: each query's candidates with all rankers' scores and grades.

They are computed once and kept in a file, so that fusions can be tried in seconds.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from app.cli.terminal import note
from app.ranking.hybrid import RANKERS, code_share
from app.ranking.reranker import Reranker
from quantum.feature_maps import FeatureMap
from quantum.kernel import gram
from quantum.maxsim import score_documents
from retrieval.array_files import load_arrays
from retrieval.encoder.prepare import Progress
from retrieval.errors import DataError
from retrieval.evaluation.beir import BeirDataset, Query
from retrieval.fusion.normalization import first_of_each, ranking
from retrieval.index.first_stage import BOTH, FirstStage
from retrieval.index.segment import Segment

FORMAT = 3
CANDIDATES = 100
BANDWIDTHS = (0.5, 0.5**0.5, 2**0.5, 2.0)  # times the configured one
# Rows of scores: the rankers, the fidelity of the pooled vectors, and `quantum` by other bandwidths.
ROWS = (*RANKERS, "document fidelity", *(f"quantum, bandwidth × {factor:.2g}" for factor in BANDWIDTHS))
_DISCOUNTS = 1 / np.log2(np.arange(2, 12))  # of nDCG@10

Vector = NDArray[np.float64]


class JudgedList(NamedTuple):
    """One query's n candidates: passages, of which the best of each document counts."""

    scores: Vector  # (rows, n), see ROWS
    gram: Vector  # (n, n) fidelities of the pooled vectors
    grades: Vector  # (n,) of their documents
    owners: NDArray[np.int64]  # (n,) the number of each one's document
    ideal: float  # DCG@10 of the best order of all judged documents
    code: float  # how much the candidates look like programs, 0 to 1
    readable: bool  # whether the model knows the language; else words alone decide

    @property
    def rankers(self) -> Vector:
        """(3, n), as `hybrid` fuses them."""
        return self.scores[: len(RANKERS)]

    def row(self, at: int) -> Vector:
        """(n,) one row of the scores."""
        scores: Vector = self.scores[at]
        return scores

    def ndcg(self, scores: Vector) -> float:
        """nDCG@10 of the order that (n,) scores give."""
        order = ranking(scores)
        gains = self.grades[order[first_of_each(self.owners[order])][: len(_DISCOUNTS)]]
        return float(gains @ _DISCOUNTS[: len(gains)]) / self.ideal


@dataclass(frozen=True)
class JudgedLists:
    """The q queries of one collection; c is the most candidates that one has."""

    collection: str
    scores: Vector  # (q, rows, c), NaN beyond the candidates
    gram: NDArray[np.float32]  # (q, c, c)
    grades: Vector  # (q, c)
    owners: NDArray[np.int64]  # (q, c), -1 beyond the candidates
    ideal: Vector  # (q,)
    code: Vector  # (q,)
    readable: NDArray[np.bool_]  # (q,)

    def __len__(self) -> int:
        """How many queries."""
        return len(self.ideal)

    def __iter__(self) -> Iterator[JudgedList]:
        """One query after the other."""
        for at in range(len(self)):
            n = int(np.count_nonzero(~np.isnan(self.scores[at, 0])))
            yield JudgedList(
                self.scores[at, :, :n],
                self.gram[at, :n, :n].astype(np.float64),
                self.grades[at, :n],
                self.owners[at, :n],
                float(self.ideal[at]),
                float(self.code[at]),
                bool(self.readable[at]),
            )

    def part(self, queries: NDArray[np.int64]) -> JudgedLists:
        """Some of the queries."""
        arrays = {each.name: getattr(self, each.name)[queries] for each in fields(self) if each.name != "collection"}
        return JudgedLists(self.collection, **arrays)

    def ndcg(self, fuse: Callable[[JudgedList], Vector]) -> Vector:
        """(q,) nDCG@10 of the orders that a fusion gives."""
        return np.array([each.ndcg(fuse(each)) for each in self])


def judged_lists(
    reranker: Reranker,
    dataset: BeirDataset,
    collection: Segment,
    queries: Sequence[Query],
    own: Mapping[str, int],
    cache: Path,
    progress: Progress,
    first_stage: FirstStage = BOTH,
) -> JudgedLists:
    """Retrieve and score the candidates of queries, or read what an earlier call found.

    Args:
        reranker: Retrieves, as `search` does, and scores.
        dataset: The judgements.
        collection: The dataset's documents, from `open_dataset`.
        queries: From `judged_queries`.
        own: By query, the number of a document that is not a candidate, as `own_documents` tells.
        cache: The folder of such files.
        progress: Called after each query.
        first_stage: What retrieves the candidates.

    DataError if no query has candidates; those that have none are left out, since no fusion orders them.
    """
    path = list_file(cache, collection, reranker, [*_asked(dataset, queries, own), first_stage])
    kept = _kept(path)
    if kept is None:
        found = []
        for done, query in enumerate(queries):
            progress(f"scores of {dataset.name}", done, len(queries))
            each = _judged_list(reranker, dataset, collection, query, own.get(query.id), first_stage)
            found += [each] if each else []
        if not found:
            raise DataError(f"{dataset.name}: none of the {len(queries)} queries finds a document")
        kept = _padded(found)
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(partial, **kept)
        partial.replace(path)
    progress(f"scores of {dataset.name}", len(queries), len(queries))
    return JudgedLists(dataset.name, **kept)


def _kept(path: Path) -> dict[str, Any] | None:
    """The arrays of a file; None if there is none, or it is damaged: what it held is computed again."""
    try:
        return load_arrays(path)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError, BadZipFile, zlib.error) as error:
        note(f"{path} is damaged, and is made again: {error}")
        return None


def list_file(cache: Path, collection: Segment, reranker: Reranker, asked: Sequence[object]) -> Path:
    """Where the lists lie that were made of these: another model, circuit, query or first stage has another file."""
    made_of = repr((FORMAT, CANDIDATES, ROWS, reranker.feature_map, asked))
    return cache / f"{collection.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}.npz"


def _asked(dataset: BeirDataset, queries: Sequence[Query], own: Mapping[str, int]) -> list[object]:
    return [(query.id, query.text, sorted(dataset.qrels[query.id].items()), own.get(query.id)) for query in queries]


def _judged_list(
    reranker: Reranker,
    dataset: BeirDataset,
    collection: Segment,
    query: Query,
    leave_out: int | None,
    first_stage: FirstStage,
) -> JudgedList | None:
    positions, found = reranker.search(
        query.text, collection, candidates=CANDIDATES, leave_out=leave_out, first_stage=first_stage, grouped=True
    )
    if not len(positions):
        return None
    states, asked = collection.states(positions), reranker.encoder.encode([query.text])
    fidelities = gram(reranker.feature_map, np.concatenate([asked.pooled, states.pooled]))
    others = [
        score_documents(each, asked.tokens, states.tokens, states.offsets) for each in bandwidths(reranker.feature_map)
    ]
    passages, grades, traits = collection.passages(positions), dataset.qrels[query.id], collection.traits(positions)
    best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[: len(_DISCOUNTS)]
    return JudgedList(
        np.stack([*(found.rankers[name] for name in RANKERS), fidelities[0, 1:], *others]),
        fidelities[1:, 1:],
        np.array([max(0.0, grades.get(passage.id, 0.0)) for passage in passages]),
        np.unique([passage.id for passage in passages], return_inverse=True)[1],
        float(np.asarray(best) @ _DISCOUNTS[: len(best)]),
        code_share(traits["symbols"], traits["characters"]),
        found.readable,
    )


def bandwidths(feature_map: FeatureMap) -> list[FeatureMap]:
    """The feature map with the other bandwidths that are tried."""
    return [replace(feature_map, bandwidth=factor * feature_map.bandwidth) for factor in BANDWIDTHS]


def _padded(found: Sequence[JudgedList]) -> dict[str, Any]:
    """All lists as arrays, those with fewer candidates filled up with NaN."""
    most = max(len(each.grades) for each in found)

    scores = np.full((len(found), len(ROWS), most), np.nan)
    grams = np.full((len(found), most, most), np.nan, dtype=np.float32)
    grades, owners = np.full((len(found), most), np.nan), np.full((len(found), most), -1)
    for at, each in enumerate(found):
        n = len(each.grades)
        scores[at, :, :n], grams[at, :n, :n] = each.scores, each.gram
        grades[at, :n], owners[at, :n] = each.grades, each.owners
    return {
        "scores": scores,
        "gram": grams,
        "grades": grades,
        "owners": owners,
        **{name: np.array([getattr(each, name) for each in found]) for name in ("ideal", "code", "readable")},
    }
