"""Diverse rankings: greedy selection from a determinantal point process on the fidelity kernel.

The squared volume that a set's states span, det K, is large where they differ and 0 where two are equal. With
probabilities p of relevance and a share a of diversity, a set S is worth

    (1 - a) sum_S log p**2 + a log det K_S

and each place goes to the document that adds most: (1 - a) log p**2 + a log r, where r in [0, 1] is what is left of its
state beside those chosen (its Schur complement in K_S). Kulesza, Taskar 2012, arXiv:1207.6083; the incremental Cholesky
factor is that of Chen, Zhang, Zhou 2018, arXiv:1709.05135.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Places that are chosen beside each other; the next ones are chosen anew, so 1000 documents take 50 times 1000 x 1000
# products and not 500 times as many.
_ROUND = 50
# What is left of a state that counts as none: the kernel's entries are known to 1e-6, and a round adds 50 such errors.
_LEAST = 1e-4
# A log of a probability; those below count as this one. With -inf no document adds more than one that is chosen.
_LEAST_LOG_P = -1e6
_NEARLY_EQUAL = 0.9  # two documents with a higher fidelity are near duplicates


def diversify(kernel: NDArray[np.float64], log_p: NDArray[np.float64], diversity: float) -> NDArray[np.int64]:
    """Order n ≥ 0 documents so that each is relevant and unlike those before it.

    No copy of a document follows it directly while there are others, if `diversity` is 1.

    Args:
        kernel: K, (n, n) fidelities, symmetric with a unit diagonal.
        log_p: (n,) logs of the probabilities that documents are relevant, at most 0; -inf is allowed.
        diversity: From 0, the order of `log_p`, to 1, that of differences alone. Ties go to the more relevant, then to
            the earlier document.

    Returns:
        The (n,) positions, first to last.

    Raises:
        ValueError: The diversity is not in [0, 1], a log is NaN or above 0, or shapes differ.
    """
    count = len(log_p)
    if not 0 <= diversity <= 1:
        raise ValueError(f"a diversity lies in [0, 1]; got {diversity}")
    if kernel.shape != (count, count):
        raise ValueError(f"{count} documents need a kernel of ({count}, {count}) fidelities, got {kernel.shape}")
    if not (log_p <= 0).all():
        raise ValueError("logs of probabilities are at most 0, and none is NaN")
    by_relevance = np.argsort(-log_p, kind="stable")
    if diversity == 0:
        return by_relevance
    kernel = kernel[np.ix_(by_relevance, by_relevance)]
    quality = 2 * (1 - diversity) * np.maximum(log_p[by_relevance], _LEAST_LOG_P)
    left, chosen = np.ones(count, dtype=bool), list[int]()
    while left.any():
        for best in _round(kernel, quality, diversity, left, chosen[-1:]):
            left[best] = False
            chosen.append(best)
    return by_relevance[chosen]


def _round(
    kernel: NDArray[np.float64],
    quality: NDArray[np.float64],
    diversity: float,
    left: NDArray[np.bool_],
    last: list[int],
) -> Iterator[int]:
    """Yield at most `_ROUND` documents, at least one, until nothing is left of the others' states beside them.

    left: (n,) those to choose from; the caller takes out what it got. last: the place before, beside which they must
    differ.
    """
    factor, remains = np.empty((_ROUND + 1, len(left))), np.ones(len(left))  # of the Cholesky factor: (m, n) rows
    rows = 0
    for best in last:
        factor[0], rows = kernel[best], 1
        remains -= factor[0] ** 2
    for place in range(_ROUND):
        if not left.any() or (place and remains[left].max() <= _LEAST):
            return
        gain = np.where(left, quality + diversity * np.log(np.maximum(remains, _LEAST)), -math.inf)
        best = int(gain.argmax())
        yield best
        if remains[best] > _LEAST:
            factor[rows] = kernel[best] - factor[:rows, best] @ factor[:rows]
            factor[rows] /= math.sqrt(remains[best])
            remains -= factor[rows] ** 2
            rows += 1


def near_duplicates(kernel: NDArray[np.float64], order: NDArray[np.int64]) -> float:
    """Return the share of n documents that are nearly equal to one before them, in [0, 1); 0 of none.

    kernel: (n, n) fidelities. order: (n,) positions.
    """
    ordered = np.tril(kernel[np.ix_(order, order)], -1)
    return float(np.mean(ordered.max(axis=1) > _NEARLY_EQUAL)) if len(order) else 0.0
