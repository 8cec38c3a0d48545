"""What can go wrong with a fidelity kernel, as numbers: concentration, alignment with judgements, negative eigenvalues.

A kernel concentrates where all fidelities between different vectors are nearly equal: near 1 with a small bandwidth, or
where most of a vector is left out; near 0 with a large one (Thanasilp et al. 2022, arXiv:2208.11060; bandwidth:
Shaydulin and Wild 2021, arXiv:2111.05451).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.errors import QuantumError, Saturated
from quantum.feature_maps import FeatureMap
from quantum.kernel import gram

# The largest mean fidelity of unrelated unit vectors that is served. At 0.99 the fidelities of all pairs lie within
# about a hundredth, and 1024 shots of each register do not tell a cosine of 0.5 from one of 0.6.
MOST_MEAN_FIDELITY = 0.99
_REFERENCE = 32  # unit vectors

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Fidelities between different rows."""

    mean: float
    deviation: float

    @property
    def is_saturated(self) -> bool:
        """Whether all rows look alike."""
        return self.mean > MOST_MEAN_FIDELITY


def off_diagonal(kernel: Floats) -> Spread:
    """Measure an (n, n) kernel of n >= 2 different rows; QuantumError for fewer."""
    if len(kernel) < 2:
        raise QuantumError("a spread needs at least two rows")
    values = kernel[np.triu_indices(len(kernel), 1)]
    return Spread(float(values.mean()), float(values.std()))


def least_eigenvalue(kernel: Floats) -> float:
    """Return the least eigenvalue of an (n, n) symmetric kernel; below 0 by rounding or shot noise alone."""
    return float(np.linalg.eigvalsh(kernel)[0])


def alignment(kernel: Floats, relevant: NDArray[np.bool_]) -> float:
    """Return the centred alignment of a kernel with the ideal one of two classes, in [-1, 1]; NaN of one class alone.

    <K_c, y y^T> / (|K_c| |y y^T|) with K_c and y centred (Cortes et al. 2012, JMLR 13, 795-828, equation 2).

    Args:
        kernel: (n, n), symmetric.
        relevant: (n,) the class of each row.
    """
    y = relevant - relevant.mean()
    centred = kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, np.newaxis] + kernel.mean()
    norm = np.linalg.norm(centred) * (y @ y)
    return float(y @ centred @ y / norm) if norm > 0 else float("nan")


def shots_to_resolve(registers: Floats) -> float:
    """Return the shots of each register for which noise and differences between pairs are equal.

    That is where the variance of a difference of two estimates of log F, twice sum_r (1 - F_r)/(N F_r), equals the
    variance of log F over the pairs. Infinite where all pairs have the same fidelity.

    registers: (n, n, R) exact fidelities above 0 of n >= 3 different rows with each other.
    """
    pairs = registers[np.triu_indices(len(registers), 1)]  # (pairs, R)
    noise = 2 * ((1 - pairs) / pairs).sum(axis=-1).mean()
    return float(noise / spread) if (spread := np.log(pairs).sum(axis=-1).var()) > 0 else float("inf")


def first_registers(feature_map: FeatureMap, x: NDArray[Any], registers: int) -> NDArray[Any]:
    """Return the features of the first registers alone, as one who has few qubits would cut a vector."""
    return np.asarray(x)[:, : registers * feature_map.features_per_register]


@cache
def reference_spread(feature_map: FeatureMap, width: int) -> Spread:
    """The fidelities between 32 random unit vectors, always the same ones, of `width` >= 1 features."""
    x = np.random.default_rng(64).normal(size=(_REFERENCE, width))
    return off_diagonal(gram(feature_map, x / np.linalg.norm(x, axis=1, keepdims=True)))


def check_spread(feature_map: FeatureMap, width: int) -> Spread:
    """Refuse a map whose kernel saturates: Saturated, with what to do. width: features of a vector."""
    spread = reference_spread(feature_map, width)
    if spread.is_saturated:
        raise Saturated(
            f"the map {feature_map.name!r} saturates: with the bandwidth {feature_map.bandwidth:g}, unrelated vectors "
            f"have a mean fidelity of {spread.mean:.4f} ± {spread.deviation:.4f}, so that all texts look alike and no "
            f"reasonable number of shots tells them apart; at most {MOST_MEAN_FIDELITY} is served. Choose a larger "
            f"bandwidth; the default is {8**0.5:.2f}"
        )
    return spread
