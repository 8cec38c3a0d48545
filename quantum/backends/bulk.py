"""One circuit for all pairs of registers: their angles as arrays, and estimates from their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.circuits import bound_angles
from quantum.estimates import Estimates, counted, exact
from quantum.feature_maps import FeatureMap, same_width

# A run of circuits, from (m, parameters) angles to (m, 2**n) probabilities, or counts of the outcomes.
Run = Callable[[NDArray[np.float64]], NDArray[Any]]
# From (m, 2**n) counts to (m,) probabilities of 0...0 without readout errors, and their variances.
Mitigate = Callable[[NDArray[np.int64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


def run_in_bulk(feature_map: FeatureMap, q: NDArray[Any], d: NDArray[Any], run: Run, at_once: int) -> NDArray[Any]:
    """Run one circuit with arrays of angles, for all pairs of rows.

    Args:
        feature_map: The feature map.
        q: (a, D) the queries' rows.
        d: (b, D) the documents' rows.
        run: Runs `bulk_circuit`.
        at_once: The most circuits of one run.

    Returns:
        (a, b, R, 2**n) probabilities, or counts, of the outcomes of each register.
    """
    q, d = same_width(q, d)
    blocks = [run(angles) for angles in _blocks(feature_map, q, d, at_once)]
    outcomes = 2**feature_map.n_qubits
    found = np.concatenate(blocks) if blocks else np.zeros((0, outcomes), dtype=np.int64)
    return found.reshape(len(q), len(d), feature_map.register_count(q.shape[1]), outcomes)


def estimated(outcomes: NDArray[Any], shots: int | None, mitigate: Mitigate | None = None) -> Estimates:
    """Estimate fidelities from (a, b, R, 2**n) counts of outcomes, or probabilities where shots is None.

    mitigate: takes readout errors out of counts.
    """
    if shots is None:
        return exact(outcomes[..., 0])
    if mitigate is None or not outcomes.size:
        return counted(outcomes[..., 0], shots)
    values, variances = mitigate(outcomes.reshape(-1, outcomes.shape[-1]))
    return Estimates(values.reshape(outcomes.shape[:-1]), variances.reshape(outcomes.shape[:-1]), shots)


def _blocks(feature_map: FeatureMap, q: NDArray[Any], d: NDArray[Any], at_once: int) -> Iterator[NDArray[np.float64]]:
    """Yield the (m, parameters) angles of pairs in order: query, then document, then register."""
    query, document = (feature_map.angles(rows.astype(np.float64)) for rows in (q, d))  # (slots, R, a), (slots, R, b)
    documents = max(1, at_once // query.shape[1])
    for row in range(len(q)):
        for start in range(0, len(d), documents):
            some = document[..., start : start + documents].transpose(0, 2, 1)  # (slots, documents, R)
            angles = bound_angles(feature_map, query[:, np.newaxis, :, row], some)
            flat = angles.reshape(len(angles), -1).T
            for block in range(0, len(flat), at_once):
                yield flat[block : block + at_once]
