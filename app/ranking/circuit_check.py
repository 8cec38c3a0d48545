"""Whether a feature map may be served: its circuit is small enough, and its kernel tells texts apart."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from quantum.diagnostics import check_spread
from quantum.feature_maps import FeatureMap

if TYPE_CHECKING:
    from quantum.circuits import CircuitSize


@cache
def check_circuit(feature_map: FeatureMap) -> CircuitSize:
    """The size of the map's real compute-uncompute circuit; CircuitTooLarge if that is more than is allowed."""
    from quantum.circuits import check_limits  # not before: to import Qiskit takes half a second

    return check_limits(feature_map)


def check_map(feature_map: FeatureMap, width: int) -> None:
    """Refuse a map that must not be served for vectors of `width` features: CircuitTooLarge or Saturated."""
    check_circuit(feature_map)
    check_spread(feature_map, width)
