"""Readout mitigation: the probability of 0...0 as it would be read without readout errors.

The matrix A of all qubits' readout errors is a tensor product. The first row w of its inverse gives an unbiased
estimate, the mean over shots of w of their outcomes, and its variance (Bravyi et al. 2021,
DOI 10.1103/PhysRevA.103.042605). M3 restricts A to the outcomes that were seen, as many qubits need it (Nation et al.
2021, DOI 10.1103/PRXQuantum.2.040326); with few shots that is biased, and our four qubits do not need it. It is here to
be compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from quantum.backends.noise import joint
from quantum.errors import QuantumError


class ReadoutMitigation:
    """Takes readout errors out of counts."""

    def __init__(self, confusions: NDArray[np.float64], *, by_m3: bool = False) -> None:
        """Take the readout errors of n qubits.

        confusions: (n, 2, 2) probabilities to read the row where the column is prepared. by_m3: whether values are
        M3's, which needs the extra `devices`. Raises QuantumError without mthree, or for readings that say nothing.
        """
        if np.abs(np.linalg.det(confusions)).min() < 1e-3:
            raise QuantumError("a qubit is read as 0 and 1 with equal probabilities: its readout cannot be corrected")
        self._qubits = len(confusions)
        self._weights = joint(np.linalg.inv(confusions))[0]
        self._m3: Any = _mthree().M3Mitigation(None) if by_m3 else None
        if self._m3:
            self._m3.cals_from_matrices(list(confusions))

    def __call__(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the (m,) probabilities of 0...0 and their variances, of (m, 2**n) counts of m circuits."""
        shots = counts.sum(axis=1)
        mean = counts @ self._weights / shots
        # Half a shot as far from the others as weights are, so that no count claims certainty.
        spread = counts @ self._weights**2 / shots - mean**2 + 0.5 / shots * np.ptp(self._weights) ** 2
        return self._by_m3(counts) if self._m3 else mean, spread / np.maximum(shots - 1, 1)

    def _by_m3(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        names = [f"{outcome:0{self._qubits}b}" for outcome in range(counts.shape[1])]
        seen = [{names[at]: int(row[at]) for at in np.flatnonzero(row)} for row in counts]
        with threadpool_limits(1):  # threads cost more than such small systems
            corrected = self._m3.apply_correction(seen, range(self._qubits), method="direct")
        return np.array([float(each.get(names[0], 0.0)) for each in corrected])


def calibrated(run: Callable[[Any], NDArray[np.int64]], qubits: int) -> NDArray[np.float64]:
    """Measure the readout errors of n qubits from two circuits, which prepare 0...0 and 1...1.

    run: from a circuit of n qubits to the (2**n,) counts of its outcomes. Returns (n, 2, 2) for `ReadoutMitigation`.
    """
    from qiskit import QuantumCircuit

    confusions = np.empty((qubits, 2, 2))
    basis = np.arange(2**qubits)
    for prepared in (0, 1):
        circuit = QuantumCircuit(qubits)
        if prepared:
            circuit.x(range(qubits))
        counts = run(circuit)
        for qubit in range(qubits):
            one = counts[(basis >> qubit & 1) == 1].sum() / counts.sum()
            confusions[qubit, :, prepared] = 1 - one, one
    return confusions


def _mthree() -> Any:
    try:
        import mthree
    except ImportError as error:
        raise QuantumError("M3 needs mthree: pip install 'quantum-rerank[devices]'") from error
    return mthree
