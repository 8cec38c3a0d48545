"""The exact backend: statevectors in NumPy, as the service computes them."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from quantum.estimates import Estimates, exact
from quantum.feature_maps import FeatureMap


class ExactBackend:
    """Computes every probability in float64; see `Backend`."""

    name = "exact"
    shots = None
    is_remote = False

    def calibration_shots(self, feature_map: FeatureMap, width: int) -> int:  # noqa: ARG002 - of `Backend`
        """None: nothing is read out."""
        return 0

    def estimate(self, feature_map: FeatureMap, q: NDArray[Any], d: NDArray[Any]) -> Estimates:
        """Return the fidelities of all pairs; see `Backend.estimate`."""
        return exact(feature_map.register_fidelities(q, d))
