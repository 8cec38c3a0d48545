"""Calibration: absolute scores, which mean the same whatever else is in the list.

A logistic regression gives the probability that a document is relevant from evidence that does not depend on the other
documents. It says how relevant a list's documents are; their order comes from fusion, which ranks better. So the
evidence is projected onto the order: whoever sorts by score gets the order. docs/evaluation.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.ranking import parameter_file

Feature = Literal["cosine", "log_fidelity", "coverage", "query_length"]
Evidence = Literal["classical", "quantum", "hybrid", "lexical"]

FORMAT = 1
# What each method knows of a document; lexical: of a document without a state.
FEATURES: Mapping[Evidence, tuple[Feature, ...]] = {
    "classical": ("cosine", "coverage", "query_length"),
    "quantum": ("log_fidelity", "coverage", "query_length"),
    "hybrid": ("cosine", "log_fidelity", "coverage", "query_length"),
    "lexical": ("coverage", "query_length"),
}
FILE = Path(__file__).with_name("calibration.json")  # of the default model
_INTERCEPT = "intercept"
_FIT = "make one with `qrerank fit --calibration`"
_MOST_LOG_ODDS = 12.0  # beyond ±12 a probability says no more

# Projection: how much a list's line counts beside its own evidence, and where the line begins.
_PATIENCE = 5.0  # documents; a list of five gives both half
_SLOPE = 0.7  # log-odds for each unit of a mean z-score, as much as `_DOCUMENTS` say
_DOCUMENTS = 10.0
_LEAST_SLOPE = 0.1
_PLACE = 1e-6  # log-odds between two documents of equal evidence
_FOCUS = 0.5  # a document's weight grows by this power of e for each unit of the mean z-score


@dataclass(frozen=True)
class Calibration:
    """The parameters of one model."""

    model: str
    digest: str  # of the encoder that they were fitted with
    coefficients: Mapping[Evidence, Mapping[str, float]]  # by feature, and the intercept
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def read(path: Path) -> Calibration:
        """Read a file; ParameterFileError if it is not one, was changed, or holds numbers that are not finite."""
        return parameter_file.read(path, FORMAT, Calibration.of, "calibration file", _FIT)

    @staticmethod
    def of(content: Mapping[str, Any]) -> Calibration:
        """One of what a file holds; ValueError, TypeError or KeyError for what cannot be used."""
        found = Calibration(**content)
        found.check()
        return found

    def check(self) -> None:
        """ValueError or TypeError unless each feature of each method has a coefficient, and the model a name."""
        if not isinstance(self.model, str) or not isinstance(self.digest, str):
            raise TypeError("the model and its digest must be texts")
        for evidence, names in FEATURES.items():
            row = self.coefficients[evidence]
            if set(row) != {*names, _INTERCEPT}:
                raise ValueError(f"{evidence} needs coefficients for {', '.join(names)} and the {_INTERCEPT}")
            if not all(map(parameter_file.is_number, row.values())):
                raise ValueError(f"a coefficient of {evidence} is not a number of at most {parameter_file.MOST:g}")

    def write(self, path: Path) -> None:
        """Write a file that `read` reads."""
        parameter_file.write(path, FORMAT, asdict(self))

    def log_odds(self, evidence: Evidence, features: Mapping[str, NDArray[np.float64] | float]) -> NDArray[np.float64]:
        """Return the log-odds that each of n documents is relevant: (n,) within ±12.

        features: (n,) values, or one for all, by the names in `FEATURES`.
        """
        row = self.coefficients[evidence]
        sums = sum((row[name] * np.asarray(features[name]) for name in FEATURES[evidence]), np.asarray(row[_INTERCEPT]))
        return np.clip(np.atleast_1d(sums).astype(np.float64), -_MOST_LOG_ODDS, _MOST_LOG_ODDS)


@cache
def fallback() -> Calibration:
    """Return the default model's parameters. For another model the order is right, and the scores are only a guess."""
    return Calibration.read(FILE)


def probability(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of these log-odds."""
    return 1 / (1 + np.exp(-log_odds))


def project(log_odds: NDArray[np.float64], fused: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log-odds in the order of n ≥ 0 fused scores: higher where `fused` is higher, equal where it is equal.

    Two answers are mixed. The isotonic regression along the order changes no document more than it must, so another
    document in the list hardly changes it. But it says nothing within a run where evidence and order disagree, so lists
    that are merged by score would lose their order there; the least-squares line over `fused` keeps it. The longer the
    list, the more the line counts.

    Args:
        log_odds: (n,) by the evidence.
        fused: (n,) weighted means of z-scores.
    """
    if not len(fused):
        return log_odds
    order = np.argsort(-fused, kind="stable")
    isotonic = np.empty_like(log_odds)
    isotonic[order] = _falling(log_odds[order], fused[order])
    share = 1 / (1 + (_PATIENCE / len(fused)) ** 2)
    return (1 - share) * isotonic + share * _line(log_odds, fused)


def along(log_odds: NDArray[np.float64], order: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (n,) log-odds that fall along an order of n ≥ 0 documents: the nearest ones, less a millionth a place."""
    places = np.arange(len(order), dtype=np.float64)
    falling = np.empty_like(log_odds)
    falling[order] = _falling(log_odds[order], -places) - _PLACE * places if len(order) else places
    return falling


def _line(log_odds: NDArray[np.float64], fused: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted least-squares line over the fused scores, whose slope is drawn to `_SLOPE`; the top counts most."""
    weights = np.exp(_FOCUS * (fused - fused.max()))
    weights *= len(fused) / weights.sum()
    middle, level = np.average(fused, weights=weights), np.average(log_odds, weights=weights)
    away = fused - middle
    slope = (weights @ (away * (log_odds - level)) + _DOCUMENTS * _SLOPE) / (weights @ away**2 + _DOCUMENTS)
    line: NDArray[np.float64] = level + max(slope, _LEAST_SLOPE) * away
    return line


def _falling(values: NDArray[np.float64], fused: NDArray[np.float64]) -> NDArray[np.float64]:
    """Isotonic regression by pooling adjacent violators: the nearest values that never rise, equal where `fused` is.

    Best, Chakravarti 1990, "Active set algorithms for isotonic regression", DOI 10.1007/BF01580873.
    """
    starts = np.flatnonzero(np.diff(fused, prepend=np.inf))
    sums, counts = np.add.reduceat(values, starts).tolist(), np.diff(starts, append=len(values)).tolist()
    pools: list[tuple[float, int]] = []  # sum and count of each
    for pool in zip(sums, counts, strict=True):
        pools.append(pool)
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] < pools[-1][0] * pools[-2][1]:  # the mean before is lower
            (total, count), (before, number) = pools.pop(), pools.pop()
            pools.append((before + total, number + count))
    return np.repeat([total / count for total, count in pools], [count for _, count in pools])
