"""What every backend does, and what a piece of work will cost on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quantum.errors import QuantumError
from quantum.estimates import Estimates
from quantum.feature_maps import FeatureMap

MOST_SHOTS = 2**20
_DEVICE_SECONDS = 250e-6  # between two shots on a superconducting device, mostly for qubits to relax


class Backend(Protocol):
    """Gives the fidelities of registers. Implementations have no state that a call changes, except random ones."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def shots(self) -> int | None:
        """Of each circuit; None: probabilities are computed and not sampled."""

    @property
    def is_remote(self) -> bool:
        """Whether another machine runs the circuits."""

    def calibration_shots(self, feature_map: FeatureMap, width: int) -> int:
        """The shots that each call of `estimate` takes to measure readout errors. width: features of a row."""

    def estimate(self, feature_map: FeatureMap, q: NDArray[Any], d: NDArray[Any]) -> Estimates:
        """Return the fidelities of all pairs of q (a, D) and d (b, D), finite non-zero rows of any norm.

        Rows are encoded as they are: callers pass unit rows.

        Raises:
            InvalidVector: A row is zero or not finite, or the widths differ.
            CircuitTooLarge: The circuit is larger than is allowed.
        """


@dataclass(frozen=True)
class Cost:
    """What a comparison takes."""

    circuits: int
    shots: int  # of all circuits; 0: none are sampled
    seconds: float  # about, with the calibration; of another machine without its queue
    is_remote: bool = False
    calibration: int = 0  # shots that measure readout errors, beside those of the circuits

    def __str__(self) -> str:
        """For people, such as "9600 circuits of 1024 shots, about 12 s"."""
        each = f" of {_counted(self.shots // self.circuits, 'shot')}" if self.shots else ""
        more = f" and {_counted(self.calibration, 'shot')} of calibration" if self.calibration else ""
        seconds = f"{self.seconds:.0f} s" if self.seconds >= 10 else f"{self.seconds:.2g} s"
        needed = f"{self.seconds / 60:.0f} min" if self.seconds >= 120 else seconds
        where = " on the device, without its queue" if self.is_remote else ""
        return f"{_counted(self.circuits, 'circuit')}{each}{more}, about {needed}{where}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def cost_of(backend: Backend, feature_map: FeatureMap, pairs: int, width: int) -> Cost:
    """Estimate what `pairs` comparisons of rows of `width` features take; one of them is run to know it.

    On another machine nothing is run: a shot takes 250 microseconds there, the usual time between two of them.
    """
    registers = feature_map.register_count(width)
    circuits, each = pairs * registers, registers * (backend.shots or 0)
    shots, calibration = pairs * each, backend.calibration_shots(feature_map, width)
    if backend.is_remote:
        seconds = (shots + calibration) * _DEVICE_SECONDS
        return Cost(circuits, shots, seconds, is_remote=True, calibration=calibration)
    row = np.linspace(-1, 1, width + 1)[np.newaxis, 1:] / width**0.5
    backend.estimate(feature_map, row, row[:, ::-1])  # the first run prepares the circuit
    begun = time.perf_counter()
    backend.estimate(feature_map, row, row[:, ::-1])
    runs = (shots + calibration) / (each + calibration) if each else pairs
    return Cost(circuits, shots, runs * (time.perf_counter() - begun), calibration=calibration)


def check_shots(shots: int | None, *, required: bool = False) -> int | None:
    """Return a number of shots; QuantumError if it is out of range, or absent where it is required."""
    if shots is None and not required:
        return None
    if shots is None or not 1 <= shots <= MOST_SHOTS or shots % 1:
        raise QuantumError(f"shots must be a whole number from 1 to {MOST_SHOTS}; got {shots}")
    return int(shots)
