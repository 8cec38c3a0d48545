"""Quantum-logic negation: q NOT x as projection on the orthogonal complement of x.

Widdows 2003, "Orthogonal negation in vector spaces for modelling word-meanings and document retrieval",
ACL 2003, DOI 10.3115/1075096.1075114.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InvalidVector
from quantum.vectors import directions

# The smallest norm of an excluded unit vector's residual orthogonal to the query; less is rounding error.
_PARALLEL = 1e-6


def excluded_shares(query: NDArray[Any], excluded: NDArray[Any], documents: NDArray[Any]) -> NDArray[np.float64]:
    """Return ||P d||**2 for each document d: the probability of measuring it in what is excluded.

    P projects on the span of the excluded vectors' components orthogonal to the query. So several exclusions mean
    NOT (a OR b), and the query itself has no share of what it excludes.

    Args:
        query: (D,). All vectors are scaled to unit norm.
        excluded: (k, D), k >= 1.
        documents: (n, D).

    Returns:
        (n,) float64 in [0, 1].

    Raises:
        InvalidVector: A vector is zero, not finite or of a wrong shape, or an excluded vector is parallel to the query
            (residual below 1e-6): it would exclude everything that the query matches.
    """
    q = _unit(np.asarray(query)[np.newaxis], "query")[0]
    x, d = _unit(np.asarray(excluded), "excluded"), _unit(np.asarray(documents), "document")
    if not x.shape[0] or not q.size == x.shape[1] == d.shape[1]:
        raise InvalidVector(
            f"all widths must be equal, with at least one excluded vector: {q.shape}, {x.shape}, {d.shape}"
        )
    residual = x - np.outer(x @ q, q)  # (k, D)
    parallel = np.flatnonzero(np.linalg.norm(residual, axis=1) < _PARALLEL)
    if parallel.size:
        raise InvalidVector(f"excluded vector {parallel[0]} is parallel to the query: exclude something narrower")
    # SVD and not QR: with linearly dependent exclusions, QR returns an arbitrary extra direction.
    _, singular, basis = np.linalg.svd(residual, full_matrices=False)
    basis = basis[singular > _PARALLEL * singular[0]]  # (rank, D), orthonormal rows
    shares: NDArray[np.float64] = np.minimum(np.sum((d @ basis.T) ** 2, axis=1), 1)
    return shares


def _unit(rows: NDArray[Any], name: str) -> NDArray[np.float64]:
    try:
        return directions(rows, np.float64).astype(np.float64, copy=False)
    except InvalidVector as error:
        raise InvalidVector(f"{name} vectors: {error}") from error
