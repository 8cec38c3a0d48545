"""The results of an evaluation: the metrics of every ranking, and comparisons query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrieval.evaluation.metrics import Qrels, average_precision, mean, mrr, ndcg, oracle, recall, unjudged
from retrieval.evaluation.significance import holm, paired_test
from retrieval.evaluation.trec_runs import ScoredRun

DEPTH = 10  # of nDCG and MRR
NDCG, MRR, UNJUDGED = f"ndcg@{DEPTH}", f"mrr@{DEPTH}", f"unjudged@{DEPTH}"
AT = "@"  # between a method and the configuration that it ran with: hybrid@f32
_EQUAL = 1e-9  # differences of nDCG up to here are of rounding


@dataclass(frozen=True)
class Ranked:
    """How one method ranked the queries' candidates; a run of a file has no times."""

    run: ScoredRun
    ms: Sequence[float] = ()  # milliseconds of each query, from its text to its ranking
    rerank_ms: Sequence[float] = ()  # of them those after its candidates were retrieved


@dataclass(frozen=True)
class Scores:
    """The metrics of one ranking by query, and what they mean over all of them."""

    by_query: Mapping[str, NDArray[np.float64]]  # metric -> (q,)
    ceiling: float  # nDCG@10 of the same documents in the best order
    ranked: Ranked

    def mean(self, metric: str) -> float:
        """The mean of a metric over the queries."""
        return float(np.mean(self.by_query[metric]))

    @property
    def ndcg(self) -> float:
        """The mean nDCG@10."""
        return self.mean(NDCG)

    def percentile(self, percent: float) -> float | None:
        """A percentile of the milliseconds that reranking took; None for a run of a file."""
        return float(np.percentile(self.ranked.rerank_ms, percent)) if self.ranked.rerank_ms else None

    def as_json(self, *, times: bool) -> dict[str, float]:
        """The means, and the times if they are wanted and there are any."""
        written = {metric: self.mean(metric) for metric in self.by_query} | {f"ceiling_{NDCG}": self.ceiling}
        if times and self.ranked.ms:
            written["ms_per_query"] = float(np.mean(self.ranked.ms))
            for percent in (50, 95):
                written[f"rerank_ms_p{percent}"] = self.percentile(percent) or 0.0
        return written


@dataclass(frozen=True)
class Comparison:
    """The difference of one ranking to another in nDCG@10. A single query gives no p."""

    one: str
    other: str
    delta: float
    better: int  # queries
    worse: int
    p: float | None  # of the paired randomisation test
    p_holm: float | None = None  # corrected for all comparisons that are made together

    def as_json(self) -> dict[str, float | None]:
        """All but the names."""
        return {
            "delta": self.delta,
            "p": self.p,
            "p_holm": self.p_holm,
            "better": self.better,
            "worse": self.worse,
        }


@dataclass(frozen=True)
class Evaluation:
    """One collection's results."""

    dataset: str
    judgements: str  # what they are: the split, or known items
    model: str
    encoder: str  # runtime and precision of the encoder
    first_stage: str
    candidates: int
    queries: Mapping[str, str]  # text by id
    methods: Mapping[str, Scores]
    baseline: str
    paired: Sequence[Comparison] = ()

    def versus(self, one: str, other: str | None = None) -> Comparison | None:
        """The comparison of these two, if it was made. other: the baseline if it is absent."""
        pair = (one, other or self.baseline)
        return next((each for each in self.paired if (each.one, each.other) == pair), None)

    def as_json(self, *, times: bool = True) -> dict[str, object]:
        """The form that `qrerank evaluate --json` writes. times: whether with times, which differ between two runs."""
        values = {name: scores.by_query[NDCG].tolist() for name, scores in self.methods.items()}
        return {
            "dataset": self.dataset,
            "queries": len(self.queries),
            "candidates": self.candidates,
            "methods": {name: scores.as_json(times=times) for name, scores in self.methods.items()},
            "paired": {f"{each.one} vs {each.other}": each.as_json() for each in self.paired},
            "judgements": self.judgements,
            "model": self.model,
            "encoder": self.encoder,
            "first_stage": self.first_stage,
            f"{NDCG}_by_query": {
                query: {name: each[at] for name, each in values.items()} for at, query in enumerate(self.queries)
            },
        }


def scored(rows: Mapping[str, Ranked], qrels: Qrels, k: int) -> dict[str, Scores]:
    """Compute the metrics of rankings.

    Args:
        rows: The rankings by name.
        qrels: Of the queries that count, each with a relevant document.
        k: What is ranked below counts as not found.
    """
    metrics = {
        NDCG: (ndcg, DEPTH),
        MRR: (mrr, DEPTH),
        f"map@{k}": (average_precision, k),
        f"recall@{k}": (recall, k),
        UNJUDGED: (unjudged, DEPTH),
    }
    result = {}
    for name, ranked in rows.items():
        run = {query: [document for document, _ in found[:k]] for query, found in ranked.run.items()}
        by_query = {
            metric: np.fromiter(compute(run, qrels, depth).values(), dtype=np.float64)
            for metric, (compute, depth) in metrics.items()
        }
        result[name] = Scores(by_query, mean(ndcg(oracle(run, qrels), qrels, DEPTH)), ranked)
    return result


def compared(results: Sequence[Evaluation]) -> list[Evaluation]:
    """Compare each ranking with the baseline, and that of a configuration with the same method of the settings.

    All p-values of all collections are corrected together.
    """
    made = [[_comparison(result, *pair) for pair in _pairs(result)] for result in results]
    tests = [each for row in made for each in row if each.p is not None]
    corrected = iter(holm([each.p for each in tests if each.p is not None]))
    return [
        replace(
            result,
            paired=[each if each.p is None else replace(each, p_holm=next(corrected)) for each in row],
        )
        for result, row in zip(results, made, strict=True)
    ]


def _pairs(result: Evaluation) -> list[tuple[str, str]]:
    """The names of what is compared with what; no two twice, or one test would be corrected for as two."""
    names = list(result.methods)
    pairs = [(name, result.baseline) for name in names if result.baseline in names and name != result.baseline]
    for name in names:
        method, _, configuration = name.rpartition(AT)
        if configuration and method in names and not {(name, method), (method, name)} & set(pairs):
            pairs.append((name, method))
    return pairs


def _comparison(result: Evaluation, one: str, other: str) -> Comparison:
    a, b = (result.methods[name].by_query[NDCG] for name in (one, other))
    p = paired_test(a, b).p if len(a) > 1 else None
    better, worse = (int(np.count_nonzero(sign * (a - b) > _EQUAL)) for sign in (1, -1))
    return Comparison(one, other, float(np.mean(a - b)), better, worse, p)
