"""Stages after fusion, which read how alike the n candidates are to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.fusion.normalization import finite, ranking, zscore


def smooth(gram: NDArray[Any], scores: NDArray[Any], ridge: float) -> NDArray[np.float64]:
    """Smooth scores over similar documents with kernel ridge regression: K (K + ridge·I)⁻¹ s.

    Relevant documents cluster (Diaz 2005, "Regularizing ad hoc retrieval scores", DOI 10.1145/1099554.1099722). In the
    eigenbasis of K each component of s is scaled by κ/(κ + ridge), κ being its eigenvalue: scores on which similar
    documents agree are kept, deviations from similar documents are damped.

    Args:
        gram: K, (n, n), symmetric and positive semidefinite.
        scores: s, (n,), or (n, k) for k of them.
        ridge: Above 0; near 0 it leaves s unchanged if K has full rank.

    Returns:
        float64 of their shape.

    Raises:
        ValueError: Shapes differ, ridge ≤ 0, or a number is not finite.
    """
    kernel, signal = _of_one_size(gram, scores, most_axes=2)
    if not (np.isfinite(ridge) and ridge > 0):
        raise ValueError(f"the ridge must be positive and finite, got {ridge}")
    smoothed: NDArray[np.float64] = kernel @ np.linalg.solve(kernel + ridge * np.eye(len(signal)), signal)
    return smoothed


def feedback(gram: NDArray[Any], scores: NDArray[Any], top: int, share: float) -> NDArray[np.float64]:
    """Add to z-scores how near documents are to the best ones: pseudo-relevance feedback.

    The mean similarity to the `top` best is that to their centroid (Rocchio 1971, "Relevance feedback in information
    retrieval"; with dense vectors Li et al. 2021, arXiv:2108.11044). A document's similarity to itself counts, too.

    Args:
        gram: K, (n, n), how similar documents are.
        scores: s, (n,).
        top: How many of the best are taken for relevant, at least 1.
        share: Of the similarity's z-score in the result, 0 to 1.

    Returns:
        (n,) float64.

    Raises:
        ValueError: Shapes differ, top < 1, a share out of range, or a number is not finite.
    """
    similar, signal = _of_one_size(gram, scores)
    if top < 1 or not 0 <= share <= 1:
        raise ValueError(f"feedback needs at least 1 document and a share in [0, 1], got {top} and {share}")
    best = ranking(signal)[:top]
    return (1 - share) * zscore(signal) + share * zscore(similar[:, best].mean(axis=1) if len(best) else signal)


def _of_one_size(
    gram: NDArray[Any], scores: NDArray[Any], most_axes: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kernel, signal = finite(gram), finite(scores)
    if not 1 <= signal.ndim <= most_axes or kernel.shape != (len(signal), len(signal)):
        raise ValueError(f"a stage needs an (n, n) Gram matrix and (n,) scores, got {kernel.shape}, {signal.shape}")
    return kernel, signal
