"""Weights of the rankers, learned from judged results: the exponentially weighted average forecaster.

Its experts are fixed weightings. A judgement costs each expert a loss in [0, 1]; experts lose probability with their
losses, and a request is fused by the weights that they have in the mean. What experts lose in the mean of their
probabilities exceeds the best one's loss by at most 2 √(T ln(1/p) / 2) after T judgements, p being the least prior
(Cesa-Bianchi & Lugosi 2006, theorem 2.3, DOI 10.1017/CBO9780511546921). It depends on the sums of losses alone:
judgements may come in any order, and through any process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from app.ranking.hybrid import RANKERS

_STEPS = 4  # weights of experts are multiples of a quarter, and sum to 1
_PRIOR = 0.5  # probability of the default weights before anything was judged
_FULL_POSITION = 10  # from which on a click counts as much as a judgement

_GRID = np.array([w for w in product(range(_STEPS + 1), repeat=len(RANKERS)) if sum(w) == _STEPS]) / _STEPS
EXPERTS = 1 + len(_GRID)  # the first stands for the weights that a request has by default


@dataclass(frozen=True)
class Evidence:
    """What one client's judgements say."""

    judged: float  # judgements, each by its weight
    losses: NDArray[np.float64]  # (EXPERTS,) sums of the losses


def losses_of(
    scores: NDArray[np.float32],
    default: NDArray[np.float64],
    passage: int,
    *,
    relevant: bool,
    owners: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """What one judgement costs each expert, (EXPERTS,) in [0, 1].

    A relevant document at rank r from 1 costs 1 − 1/log₂(1 + r), its missing part of DCG; one that is not costs
    1/log₂(1 + r). A document stands where its best passage does, and of equal ones each in their middle: who gives all
    the same score has put none of them first.

    Args:
        scores: (3, n) of n passages, what each ranker adds to the fused score at weight 1, in the order of `RANKERS`.
        default: (3,) the weights that the request had by default.
        passage: The position of one of the judged document.
        relevant: What was said of it.
        owners: (n,) the number of each passage's document, below n; None: each passage is a document.
    """
    fused = _experts(default) @ scores.astype(np.float64)
    if owners is not None:
        best = np.full_like(fused, -np.inf)  # of each document, in the column of its number; other columns stay below
        np.maximum.at(best.T, owners, fused.T)
        fused, passage = best, int(owners[passage])
    own = fused[:, passage, None]
    above, equal = np.count_nonzero(fused > own, axis=1), np.count_nonzero(fused == own, axis=1)
    gain = 1 / np.log2(2 + above + (equal - 1) / 2)
    losses: NDArray[np.float64] = 1 - gain if relevant else gain
    return losses


def click_weight(position: int) -> float:
    """How much a click on the document at a position, from 1, counts beside a judgement, in (0, 1].

    People click what stands on top: they look at position k about 1/k as often as at the first, so a click there says k
    times as much (Joachims, Swaminathan & Schnabel 2017, arXiv:1608.04468), here up to the tenth.
    """
    return min(position, _FULL_POSITION) / _FULL_POSITION


def probabilities(clients: Sequence[Evidence], limit: float) -> NDArray[np.float64]:
    """The experts' (EXPERTS,) probabilities, which sum to 1.

    clients: each one's evidence. limit: judgements up to which one client's count; of more their mean counts so often,
    so that a flood of them weighs no more.
    """
    prior = np.full(EXPERTS, (1 - _PRIOR) / (EXPERTS - 1))
    prior[0] = _PRIOR
    heard = [(client, min(1.0, limit / client.judged)) for client in clients if client.judged > 0]
    if not heard:
        return prior
    judged = sum(share * client.judged for client, share in heard)
    losses = np.sum([share * client.losses for client, share in heard], axis=0)
    rate = np.sqrt(8 * np.log(EXPERTS) / judged)
    weighted = prior * np.exp(-rate * (losses - losses.min()))
    posterior: NDArray[np.float64] = weighted / weighted.sum()
    return posterior


def weights(posterior: NDArray[np.float64], default: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (3,) weights of `RANKERS`, ≥ 0 with the sum 1, for a request whose weights by default are these."""
    mean: NDArray[np.float64] = posterior @ _experts(default)
    return mean


def _experts(default: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (EXPERTS, 3) weightings."""
    return np.vstack([default / default.sum(), _GRID])
