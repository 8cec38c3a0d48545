"""Any SamplerV2 of Qiskit: simulators, fake devices and real ones."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives import BaseSamplerV2

from quantum.backends.bulk import estimated, run_in_bulk
from quantum.backends.mitigation import ReadoutMitigation, calibrated
from quantum.backends.protocol import check_shots
from quantum.backends.routing import Routed, route
from quantum.circuits import bulk_circuit
from quantum.errors import QuantumError
from quantum.estimates import Estimates
from quantum.feature_maps import FeatureMap

_MOST_CALIBRATION_SHOTS = 100_000  # as many as devices take at once
_SHOTS_AT_ONCE = 2**22  # of one run: each takes a byte of its result


class SamplerBackend:
    """Sends one parametrised circuit with an array of angles to a SamplerV2; see `Backend`."""

    def __init__(
        self,
        sampler: BaseSamplerV2,
        shots: int,
        device: Any = None,
        *,
        mitigate: bool = False,
        allow_deep: bool = False,
        is_remote: bool = False,
    ) -> None:
        """Make a backend.

        Args:
            sampler: Qiskit's StatevectorSampler, a SamplerV2 of Aer or qiskit-ibm-runtime, …; its seed is its own.
            shots: Of each circuit.
            device: The Qiskit backend that it runs on, for which circuits are compiled; None: into {ry, rz, cx}.
            mitigate: Whether readout errors are measured by two more circuits and taken out. All registers share
                what was measured, so its error adds up: it gets as many shots as all registers of a pair together, and
                no standard error has it.
            allow_deep: Whether circuits may be deeper than 15 after routing.
            is_remote: Whether another machine runs the circuits.

        Raises:
            QuantumError: Shots are out of range.
        """
        self.shots = check_shots(shots, required=True)
        self._shots = int(shots)
        self.is_remote = is_remote
        self._sampler, self._device, self._mitigate, self._allow_deep = sampler, device, mitigate, allow_deep
        self._routed = lru_cache(maxsize=16)(self._route)

    @property
    def name(self) -> str:
        """Such as "sampler, fake_manila"."""
        return f"sampler, {self._device.name if self._device else type(self._sampler).__name__}"

    def routed(self, feature_map: FeatureMap) -> Routed:
        """The circuit as it is run."""
        return self._routed(feature_map)

    def calibration_shots(self, feature_map: FeatureMap, width: int) -> int:
        """Those of both circuits of `calibrated`; see `Backend`."""
        return 2 * self._calibration_shots(feature_map.register_count(width)) if self._mitigate else 0

    def estimate(self, feature_map: FeatureMap, q: NDArray[Any], d: NDArray[Any]) -> Estimates:
        """Return the fidelities of all pairs; see `Backend.estimate`."""
        routed = self._routed(feature_map)
        circuit, n = routed.measured(), feature_map.n_qubits
        order = [routed.parameters.index(parameter) for parameter in circuit.parameters]

        def run(angles: NDArray[np.float64]) -> NDArray[np.int64]:
            return self._counts(circuit, angles[:, order], n, self._shots)

        mitigate = None
        if self._mitigate:
            shots = self._calibration_shots(feature_map.register_count(np.shape(q)[-1]))
            mitigate = ReadoutMitigation(self._confusions(routed, n, shots))
        at_once = max(1, _SHOTS_AT_ONCE // self._shots)
        return estimated(run_in_bulk(feature_map, q, d, run, at_once), self.shots, mitigate)

    def _calibration_shots(self, registers: int) -> int:
        """Of one of both circuits: as many as all registers of a pair get together."""
        return max(self._shots, min(_MOST_CALIBRATION_SHOTS, self._shots * registers))

    def _counts(
        self, circuit: QuantumCircuit, angles: NDArray[np.float64], n_qubits: int, shots: int
    ) -> NDArray[np.int64]:
        """The (m, 2**n) counts of the outcomes for (m, parameters) angles."""
        (result,) = self._sampler.run([(circuit, angles)], shots=shots).result()
        outcomes = result.data.meas.array[..., 0]  # (m, shots): up to eight qubits are one byte
        if outcomes.shape[-1] != shots:
            raise QuantumError(f"the sampler gave {outcomes.shape[-1]} shots of {shots}")
        circuits = len(angles)
        numbered = outcomes.reshape(circuits, -1) + 2**n_qubits * np.arange(circuits)[:, np.newaxis]
        counts: NDArray[np.int64] = np.bincount(numbered.ravel(), minlength=circuits * 2**n_qubits)
        return counts.reshape(circuits, -1)

    def _confusions(self, routed: Routed, n_qubits: int, shots: int) -> NDArray[np.float64]:
        """The readout errors of the qubits that the circuit lies on, measured."""

        def run(prepared: QuantumCircuit) -> NDArray[np.int64]:
            placed = QuantumCircuit(routed.circuit.num_qubits)
            placed.compose(prepared, routed.qubits, inplace=True)
            ready = Routed(placed, (), routed.qubits).measured()
            return self._counts(ready, np.zeros((1, 0)), n_qubits, shots).ravel()

        return calibrated(run, n_qubits)

    def _route(self, feature_map: FeatureMap) -> Routed:
        return route(bulk_circuit(feature_map), self._device, allow_deep=self._allow_deep)
