"""Qiskit Aer: statevectors or density matrices, with shots or without, ideal or with a model of noise."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.backends.bulk import estimated, run_in_bulk
from quantum.backends.mitigation import ReadoutMitigation
from quantum.backends.noise import Noise, confusions_of, joint
from quantum.backends.protocol import check_shots
from quantum.backends.routing import Routed, route
from quantum.circuits import bulk_circuit
from quantum.errors import QuantumError
from quantum.estimates import Estimates
from quantum.feature_maps import FeatureMap

_AT_ONCE = 4096  # circuits in one run: Aer keeps all results of one


class AerBackend:
    """Runs the circuits in Aer. Needs the extra `aer`; see `Backend`."""

    is_remote = False

    def __init__(
        self,
        shots: int | None = None,
        noise: Noise | None = None,
        device: Any = None,
        *,
        seed: int | None = None,
        mitigate: bool = False,
        allow_deep: bool = False,
    ) -> None:
        """Make a backend.

        Args:
            shots: Of each circuit; None: exact probabilities, under the noise if there is some.
            noise: The noise of every qubit; the circuits are compiled to {ry, rz, cx}.
            device: A Qiskit backend, such as a fake one of qiskit-ibm-runtime, whose noise is taken; the circuits are
                compiled for it. Not together with `noise`.
            seed: Of the shots; the same seed gives the same ones. None: another one each time.
            mitigate: Whether readout errors are taken out of the counts, by the matrices of the model.
            allow_deep: Whether circuits may be deeper than 15 after routing for the device.

        Raises:
            QuantumError: Aer is not installed, shots are out of range, noise and a device are given, or there is
                nothing to mitigate.
        """
        if noise and device:
            raise QuantumError("a device brings its own noise: give either noise or a device")
        if mitigate and not (shots and (noise or device)):
            raise QuantumError("readout mitigation needs shots, and noise or a device")
        self.shots, self._noise, self._device = check_shots(shots), noise, device
        self._seed, self._mitigate, self._allow_deep = seed, mitigate, allow_deep
        self._simulator = _simulator(noise, device)
        self._model = self._simulator.options.noise_model
        self._prepared = lru_cache(maxsize=16)(self._prepare)

    @property
    def name(self) -> str:
        """Such as "aer, fake_manila"."""
        return "aer" + (f", {self._device.name}" if self._device else ", noisy" if self._noise else "")

    def routed(self, feature_map: FeatureMap) -> Routed:
        """The circuit as it is run: compiled for the device, or for {ry, rz, cx}."""
        return self._prepared(feature_map)[0]

    def calibration_shots(self, feature_map: FeatureMap, width: int) -> int:  # noqa: ARG002 - of `Backend`
        """None: readout errors are taken from the model."""
        return 0

    def estimate(self, feature_map: FeatureMap, q: NDArray[Any], d: NDArray[Any]) -> Estimates:
        """Return the fidelities of all pairs; see `Backend.estimate`."""
        mitigate = ReadoutMitigation(self._prepared(feature_map)[2]) if self._mitigate else None
        return estimated(self.outcomes(feature_map, q, d), self.shots, mitigate)

    def outcomes(self, feature_map: FeatureMap, q: NDArray[Any], d: NDArray[Any]) -> NDArray[Any]:
        """Return what is read of the registers of all pairs of q (a, D) and d (b, D).

        (a, b, R, 2**n) probabilities under the noise, or counts where there are shots. Raises as `estimate`.
        """
        routed, circuit, confusions = self._prepared(feature_map)
        seeds = np.random.default_rng(self._seed)
        n = feature_map.n_qubits

        def run(angles: NDArray[np.float64]) -> NDArray[Any]:
            binds = {parameter: angles[:, at].tolist() for at, parameter in enumerate(routed.parameters)}
            job = self._simulator.run(
                [circuit],
                parameter_binds=[binds],
                shots=self.shots or 1,
                seed_simulator=int(seeds.integers(2**31)),
                runtime_parameter_bind_enable=True,
            )
            result = job.result()
            if not result.success:
                raise QuantumError(f"Aer failed: {result.status}")
            if self.shots is None:
                probabilities = np.stack([np.asarray(result.data(at)["probabilities"]) for at in range(len(angles))])
                return np.asarray(probabilities @ joint(confusions).T)
            return _counts(result, len(angles), 2**n)

        return run_in_bulk(feature_map, q, d, run, _AT_ONCE)

    def _prepare(self, feature_map: FeatureMap) -> tuple[Routed, Any, NDArray[np.float64]]:
        """The routed circuit, the same with what is saved or measured, and the readout errors of its qubits."""
        circuit = bulk_circuit(feature_map)
        routed = route(circuit, self._device, allow_deep=self._allow_deep)
        ready = routed.measured() if self.shots else routed.circuit.copy()
        if self.shots is None:
            ready.save_probabilities(list(routed.qubits))
        confusions = (
            confusions_of(self._model, routed.qubits) if self._model else np.stack([np.eye(2)] * len(routed.qubits))
        )
        return routed, ready, confusions


def _simulator(noise: Noise | None, device: Any) -> Any:
    try:
        from qiskit_aer import AerSimulator
        from qiskit_aer.noise import NoiseModel
    except ImportError as error:
        raise QuantumError("the backend aer needs Qiskit Aer: pip install 'quantum-rerank[aer]'") from error
    model = NoiseModel.from_backend(device) if device else noise.model() if noise else None
    # One thread: circuits of four qubits are too small to share, and threads that wait for each other cost most.
    return AerSimulator(method="density_matrix" if model else "statevector", noise_model=model, max_parallel_threads=1)


def _counts(result: Any, circuits: int, outcomes: int) -> NDArray[np.int64]:
    counts = np.zeros((circuits, outcomes), dtype=np.int64)
    for at in range(circuits):
        for outcome, count in result.data(at)["counts"].items():
            counts[at, int(outcome, 16)] = count
    return counts
