"""Fidelities as a backend gives them: exact, or estimated from shots, with standard errors and settled ranks.

The error budget, with F = prod_r F_r over R registers and N shots for each:

- The product of the R relative frequencies is an unbiased estimate of F, as registers are measured independently. Its
  relative variance is prod_r (1 + (1 - F_r) / (N F_r)) - 1 (Goodman 1960, DOI 10.2307/2281592).
- The variance of log F is sum_r (1 - F_r) / (N F_r) to first order in 1/N. With -log F = L spread over many registers
  that is close to L / N, however many there are.

docs/quantum.md derives both, and measures them.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from quantum.errors import QuantumError

_LEAST = float(np.finfo(np.float64).eps) ** 2  # of an exact register fidelity, as in `log_register_fidelity`

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimates:
    """The fidelities of R registers of a x b pairs."""

    registers: Floats  # (a, b, R); mitigated ones may leave [0, 1]
    variances: Floats  # (a, b, R); 0 where exact
    shots: int | None = None  # of each register; None: exact

    @property
    def fidelity(self) -> Floats:
        """(a, b) F, the product over registers; unbiased."""
        return np.asarray(np.clip(self.registers.prod(axis=-1), 0, 1))

    @property
    def standard_error(self) -> Floats:
        """(a, b) standard errors of `fidelity`."""
        relative = np.sqrt(np.expm1(np.log1p(self._relative_variances).sum(axis=-1)))
        return np.asarray(np.exp(self.log_fidelity) * relative)

    @property
    def log_fidelity(self) -> Floats:
        """(a, b) log F, at most 0 and always finite: a register without a hit counts as half a hit."""
        return np.asarray(np.minimum(np.log(self._bounded).sum(axis=-1), 0))

    @property
    def log_standard_error(self) -> Floats:
        """(a, b) standard errors of `log_fidelity`, to first order in 1/shots."""
        return np.asarray(np.sqrt(self._relative_variances.sum(axis=-1)))

    @property
    def _bounded(self) -> Floats:
        return np.maximum(self.registers, 0.5 / self.shots if self.shots else _LEAST)

    @property
    def _relative_variances(self) -> Floats:
        return np.asarray(self.variances / self._bounded**2)


def exact(registers: Floats) -> Estimates:
    """Make estimates of (a, b, R) fidelities without an error."""
    return Estimates(registers, np.zeros_like(registers))


def counted(zeros: NDArray[np.integer], shots: int) -> Estimates:
    """Make estimates of (a, b, R) numbers of shots that gave 0...0, out of `shots` for each register.

    The binomial variance p (1 - p)/(N - 1) is unbiased. p is kept half a hit away from 0, and half a miss of all
    registers together away from 1, so that no count claims certainty.
    """
    registers = zeros / shots
    p = np.clip(registers, 0.5 / shots, 1 - 0.5 / (shots * zeros.shape[-1]))
    return Estimates(registers, p * (1 - p) / max(shots - 1, 1), shots)


def rank_intervals(values: Floats, errors: Floats, confidence: float = 0.95) -> NDArray[np.int64]:
    """Return the ranks that each of n values may have, 1 being the largest value's: (n, 2) best and worst.

    Two values are told apart if their difference exceeds z standard errors, z being Bonferroni's for all n(n - 1)/2
    pairs: with at least `confidence`, all intervals hold at once (Al Mohamad et al. 2017, arXiv:1708.02729, count
    significant pairs likewise). A rank is settled where both ends are equal.

    Args:
        values: (n,) independent estimates, about normal, such as `log_fidelity`.
        errors: (n,) standard errors; 0 for exact values.
        confidence: In (0, 1).

    Raises:
        QuantumError: The confidence is not in (0, 1), or shapes differ.
    """
    if not 0 < confidence < 1 or values.shape != errors.shape or values.ndim != 1:
        raise QuantumError(f"rank intervals need (n,) values and errors, and a confidence in (0, 1); got {confidence}")
    n = len(values)
    z = NormalDist().inv_cdf(1 - (1 - confidence) / max(n * (n - 1), 2))
    lead = values[:, np.newaxis] - values  # (n, n)
    above = lead > z * np.hypot(errors[:, np.newaxis], errors)
    return np.stack([1 + above.sum(axis=0), n - above.sum(axis=1)], axis=1)
