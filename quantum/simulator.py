"""Batched statevector simulation.

A state is an array (2**n, ...batch): the amplitude axis comes first, so that a gate on one qubit is a few
contiguous operations over the whole batch. The qubit order is Qiskit's: bit i of the basis index is qubit i.
Every function returns a new array with its input's dtype.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantum.errors import QuantumError

Real: TypeAlias = NDArray[np.floating[Any]]
Amplitudes: TypeAlias = NDArray[np.inexact[Any]]
Scalar = TypeVar("Scalar", bound=np.inexact[Any])

# Registers multiplied together before one logarithm is taken: the logarithm costs as much as the contraction.
# Each factor is at least its dtype's epsilon, so four of them stay far from underflow (1.2e-7**4 = 2e-28).
_REGISTERS_PER_LOG = 4


def product_state(angles: Real) -> Real:
    """Apply RY(angles[i]) to qubit i of |0...0>, for a batch.

    angles: (n, ...) radians, n >= 1. Returns (2**n, ...), real and of norm 1.
    """
    half = angles / 2
    cos, sin = np.cos(half), np.sin(half)  # (n, ...)
    n = angles.shape[0]
    state = np.empty((2**n, *angles.shape[1:]), dtype=half.dtype)
    state[0] = 1
    for qubit in range(n):
        # `qubit` is the highest bit so far: the upper half of the state is a scaled copy of the lower half.
        size = 2**qubit
        np.multiply(state[:size], sin[qubit], out=state[size : 2 * size])
        state[:size] *= cos[qubit]
    return state


def apply_ry(state: NDArray[Scalar], qubit: int, angle: Real | float) -> NDArray[Scalar]:
    """Apply RY(angle), [[cos, -sin], [sin, cos]] of angle/2, to one qubit.

    Args:
        state: (2**n, ...).
        qubit: The qubit, from 0 to n - 1; QuantumError for any other.
        angle: Radians, broadcast against the batch axes.

    Returns:
        The new state, with the shape and dtype of `state`.
    """
    _check_qubits(state, qubit)
    half = np.asarray(angle) / 2
    cos, sin = np.cos(half), np.sin(half)
    low = 2**qubit
    split = state.reshape(
        state.shape[0] // (2 * low), 2, low, *state.shape[1:]
    )  # (higher bits, this qubit, lower bits, ...)
    zero, one = split[:, 0], split[:, 1]
    out = np.empty_like(split)
    np.subtract(cos * zero, sin * one, out=out[:, 0], casting="same_kind")
    np.add(sin * zero, cos * one, out=out[:, 1], casting="same_kind")
    return out.reshape(state.shape)


def apply_cx(state: NDArray[Scalar], control: int, target: int) -> NDArray[Scalar]:
    """Apply CX, which flips `target` where `control` is 1: a permutation of the amplitudes.

    Args:
        state: (2**n, ...).
        control: A qubit, from 0 to n - 1.
        target: Another qubit; QuantumError if they are equal or out of range.
    """
    _check_qubits(state, control, target)
    if control == target:
        raise QuantumError(f"CX needs two different qubits, got {control} twice")
    basis = np.arange(state.shape[0])
    flipped: NDArray[Scalar] = state[basis ^ ((basis >> control & 1) << target)]
    return flipped


def apply_phases(state: Amplitudes, terms: Sequence[tuple[int, ...]], angles: Real) -> NDArray[np.complexfloating[Any]]:
    """Apply exp(-i angle Z_S / 2) for each set S of qubits: RZ for one qubit, RZZ for two. Diagonal, so in any order.

    Args:
        state: (2**n, ...).
        terms: The t sets S; QuantumError for a qubit out of range.
        angles: (t, ...) radians, of the state's batch axes.

    Returns:
        The new state, complex of the precision of `state`.
    """
    _check_qubits(state, *(qubit for qubits in terms for qubit in qubits))
    basis = np.arange(state.shape[0])
    # The eigenvalue of Z_S in a basis state: +1 if an even number of the qubits in S are 1.
    odd = [np.bitwise_count(basis & sum(1 << qubit for qubit in qubits)) & 1 for qubits in terms]  # unsigned
    half = np.tensordot(0.5 - np.stack(odd, axis=1).astype(angles.dtype), angles, axes=1)  # (2**n, ...)
    phases = np.empty(half.shape, dtype=np.result_type(half, np.complex64))
    np.cos(half, out=phases.real)
    np.negative(np.sin(half), out=phases.imag)
    phases *= state
    return phases


def overlap(a: Amplitudes, b: Amplitudes) -> Amplitudes:
    """Return <a|b> for pairs of states in two batches, (2**n, ...) each, broadcast; `a` is conjugated."""
    product: Amplitudes = np.asarray((a.conj() * b).sum(axis=0))
    return product


def fidelity(a: Amplitudes, b: Amplitudes) -> Real:
    """Return |<a|b>|**2 in [0, 1] for pairs of states in two batches, (2**n, ...) each, broadcast."""
    probability: Real = np.minimum(np.abs(overlap(a, b)) ** 2, 1)
    return probability


def register_fidelities(a: Amplitudes, b: Amplitudes) -> Real:
    """Return |<a_r|b_r>|**2 in [0, 1] of each register r for all pairs: (m, k, R).

    a: (2**n, R, m), b: (2**n, R, k).
    """
    left, right = _matrices(a, b)
    probability: Real = np.minimum(np.abs(left @ right) ** 2, 1)  # (R, m, k)
    return np.moveaxis(probability, 0, -1)


def log_register_fidelity(a: Amplitudes, b: Amplitudes) -> Real:
    """Return the log of the product over registers of |<a_r|b_r>|**2, for all pairs.

    a: (2**n, R, m), b: (2**n, R, k), of one real or complex dtype. Returns (m, k) in that dtype's real type.
    An overlap below the dtype's epsilon is rounding error and is replaced by epsilon. So an orthogonal register gives
    2 log(epsilon) (-31.9 in float32, -72.1 in float64) instead of log(0). The result is at most 0.
    """
    left, right = _matrices(a, b)
    real: np.dtype[np.floating[Any]] = a.real.dtype
    epsilon = np.finfo(real).eps
    total = np.zeros((a.shape[2], b.shape[2]), dtype=real)
    for start in range(0, a.shape[1], _REGISTERS_PER_LOG):
        group = slice(start, start + _REGISTERS_PER_LOG)
        overlaps = np.abs(left[group] @ right[group])  # (<= 4, m, k)
        np.maximum(overlaps, epsilon, out=overlaps)
        product = np.multiply.reduce(overlaps, axis=0)
        total += np.log(product, out=product)
    total *= 2
    return np.minimum(total, 0, out=total)


def _matrices(a: Amplitudes, b: Amplitudes) -> tuple[Amplitudes, Amplitudes]:
    """The (R, m, 2**n) and (R, 2**n, k) matrices whose products are the overlaps of each register; views when real."""
    left, right = a.conj().transpose(1, 2, 0), b.transpose(1, 0, 2)
    if np.iscomplexobj(left) or np.iscomplexobj(right):  # BLAS is up to a hundred times slower on such views
        left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    return left, right


def _check_qubits(state: Amplitudes, *qubits: int) -> None:
    size = state.shape[0].bit_length() - 1
    for qubit in qubits:
        if not 0 <= qubit < size:
            raise QuantumError(f"qubit {qubit} is out of range: the state has {size} qubits, counted from 0")
