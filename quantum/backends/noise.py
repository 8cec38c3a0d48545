"""Models of noise: readout errors, depolarising gates and thermal relaxation, or those of a device.

All are Qiskit Aer's. One qubit relaxes with time constants T1 and T2 during each gate; a depolarising gate replaces the
state of its qubits by the maximally mixed one with a probability; a readout is wrong with a probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.errors import QuantumError
from quantum.gates import BASIS_GATES

_ONE_QUBIT = tuple(name for name in BASIS_GATES if name == "ry")  # RZ is a change of phase: it takes no time


@dataclass(frozen=True)
class Noise:
    """Noise of every qubit alike; the defaults are none. Nielsen and Chuang 2010, chapter 8, defines the channels."""

    readout: float = 0.0  # probability that a 0 is read as 1, or a 1 as 0
    depolarizing: float = 0.0  # probability for a gate on one qubit, ten times that for CX
    t1_us: float = float("inf")  # relaxation
    t2_us: float | None = None  # dephasing, at most 2 T1; absent: as T1
    gate_ns: float = 50.0  # a gate on one qubit; CX takes six times as long

    def __post_init__(self) -> None:
        """Raise QuantumError for what is no channel."""
        if not 0 <= self.readout <= 0.5 or not 0 <= self.depolarizing <= 0.1:
            raise QuantumError("readout errors lie in [0, 0.5], depolarizing probabilities in [0, 0.1]")
        if not self.t1_us > 0 or not 0 < self._t2_us <= 2 * self.t1_us or not 0 < self.gate_ns < 1e6:
            raise QuantumError("T1 must be above 0 and T2 at most 2 T1, a gate takes more than 0 and less than 1e6 ns")

    @property
    def _t2_us(self) -> float:
        return self.t1_us if self.t2_us is None else self.t2_us

    def model(self) -> Any:
        """Return it as a NoiseModel of Aer, for gates of {ry, rz, cx}."""
        from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error, thermal_relaxation_error

        model = NoiseModel(basis_gates=list(BASIS_GATES))
        for names, qubits, probability, ns in (
            (_ONE_QUBIT, 1, self.depolarizing, self.gate_ns),
            (("cx",), 2, 10 * self.depolarizing, 6 * self.gate_ns),
        ):
            error = depolarizing_error(probability, qubits)
            if np.isfinite(self._t2_us):  # where T1 is finite, T2 is
                one = thermal_relaxation_error(1e3 * self.t1_us, 1e3 * self._t2_us, ns)
                error = error.compose(one if qubits == 1 else one.expand(one))
            model.add_all_qubit_quantum_error(error, list(names))
        if self.readout:
            model.add_all_qubit_readout_error(ReadoutError(self._matrix.T))
        return model

    def confusions(self, qubits: int) -> NDArray[np.float64]:
        """Return (qubits, 2, 2) probabilities to read the row where the column is prepared."""
        return np.stack([self._matrix] * qubits)

    @property
    def _matrix(self) -> NDArray[np.float64]:
        return np.array([[1 - self.readout, self.readout], [self.readout, 1 - self.readout]])


def confusions_of(model: Any, qubits: Sequence[int]) -> NDArray[np.float64]:
    """Return the (n, 2, 2) readout errors of n qubits of a NoiseModel, as `Noise.confusions`."""
    found = {}
    for error in model.to_dict()["errors"]:
        if error["type"] == "roerror":
            for (qubit,) in error.get("gate_qubits", [(qubit,) for qubit in qubits]):
                found[qubit] = np.array(error["probabilities"]).T
    return np.stack([found.get(qubit, np.eye(2)) for qubit in qubits])


def joint(matrices: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the (2**n, 2**n) tensor product of (n, 2, 2) matrices; bit i of a basis index is qubit i."""
    whole = np.ones((1, 1))
    for matrix in matrices:  # the next qubit is the highest bit so far
        whole = np.kron(matrix, whole)
    return whole
