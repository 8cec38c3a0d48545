"""Whether a feature map's circuit is small enough, asked of Qiskit once for each map."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from quantum.feature_maps import FeatureMap

if TYPE_CHECKING:
    from quantum.circuits import CircuitSize


@cache
def check_circuit(feature_map: FeatureMap) -> CircuitSize:
    """The size of the map's real compute-uncompute circuit; CircuitTooLarge if that is more than is allowed."""
    from quantum.circuits import check_limits  # not before: to import Qiskit takes half a second

    return check_limits(feature_map)
