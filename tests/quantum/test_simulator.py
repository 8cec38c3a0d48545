"""Properties of the batched simulation; test_circuits compares it with Qiskit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantum.errors import QuantumError
from quantum.simulator import apply_cx, apply_ry, fidelity, log_register_fidelity, overlap, product_state

ANGLES = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 3)), elements=st.floats(-20, 20))


def random_states(seed: int, *shape: int) -> np.ndarray:
    """Complex states of norm 1, (2**n, ...)."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    return state / np.linalg.norm(state, axis=0)


@settings(deadline=None)
@given(ANGLES)
def test_product_state_has_norm_one_and_keeps_the_batch(angles: np.ndarray) -> None:
    state = product_state(angles)
    assert state.shape == (2 ** angles.shape[0], angles.shape[1])
    np.testing.assert_allclose(np.sum(state**2, axis=0), 1, atol=1e-14)


@settings(deadline=None)
@given(ANGLES)
def test_product_state_is_one_rotation_per_qubit(angles: np.ndarray) -> None:
    n, batch = angles.shape
    state = np.zeros((2**n, batch))
    state[0] = 1
    for qubit in range(n):
        state = apply_ry(state, qubit, angles[qubit])
    np.testing.assert_allclose(product_state(angles), state, atol=1e-15)


def test_product_state_is_little_endian() -> None:
    # Only qubit 1 of three is flipped: basis index 0b010.
    state = product_state(np.array([0, np.pi, 0]))
    np.testing.assert_allclose(state, np.eye(8)[2], atol=1e-16)


def test_ry_is_the_textbook_matrix() -> None:
    cos, sin = np.cos(0.35), np.sin(0.35)
    np.testing.assert_allclose(apply_ry(np.eye(2), 0, 0.7), [[cos, -sin], [sin, cos]], atol=1e-16)


@settings(deadline=None)
@given(st.integers(0, 2), st.floats(-9, 9), st.floats(-9, 9))
def test_rotations_of_one_qubit_add(qubit: int, first: float, second: float) -> None:
    state = random_states(1, 8, 5)
    twice = apply_ry(apply_ry(state, qubit, first), qubit, second)
    np.testing.assert_allclose(twice, apply_ry(state, qubit, first + second), atol=1e-14)


def test_ry_turns_each_batch_entry_by_its_own_angle() -> None:
    state, angles = random_states(2, 8, 4, 3), np.linspace(-3, 3, 12).reshape(4, 3)
    batch = apply_ry(state, 1, angles)
    for i in range(4):
        for j in range(3):
            np.testing.assert_allclose(batch[:, i, j], apply_ry(state[:, i, j], 1, angles[i, j]), atol=1e-15)


def test_cx_truth_table() -> None:
    # control 0, target 2: 0b001 <-> 0b101 and 0b011 <-> 0b111; all other amplitudes are unchanged.
    columns = np.argmax(apply_cx(np.eye(8), 0, 2), axis=0)
    assert columns.tolist() == [0, 5, 2, 7, 4, 1, 6, 3]


@pytest.mark.parametrize(("control", "target"), [(0, 1), (1, 0), (0, 2), (2, 1)])
def test_cx_is_its_own_inverse(control: int, target: int) -> None:
    state = random_states(3, 8, 2)
    np.testing.assert_array_equal(apply_cx(apply_cx(state, control, target), control, target), state)


@pytest.mark.parametrize("qubit", [-1, 2, 9])
def test_gates_refuse_a_qubit_the_state_has_not_got(qubit: int) -> None:
    state = random_states(4, 4, 2)
    with pytest.raises(QuantumError, match=f"qubit {qubit} is out of range: the state has 2"):
        apply_ry(state, qubit, 0.1)
    with pytest.raises(QuantumError, match=f"qubit {qubit}"):
        apply_cx(state, 0, qubit)


def test_cx_refuses_one_qubit_twice() -> None:
    with pytest.raises(QuantumError, match="two different qubits"):
        apply_cx(random_states(4, 4, 2), 1, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_follows_the_input(dtype: type) -> None:
    angles = np.full((3, 2), 0.4, dtype=dtype)
    state = product_state(angles)
    turned = apply_cx(apply_ry(state, 1, angles[0]), 0, 2)
    states = turned[:, np.newaxis, :]
    assert {a.dtype for a in (state, turned, fidelity(state, turned), log_register_fidelity(states, states))} == {
        np.dtype(dtype)
    }


def test_no_function_writes_to_its_input() -> None:
    state = random_states(5, 8, 2)
    before = state.copy()
    apply_ry(state, 0, 1.0), apply_cx(state, 0, 1), fidelity(state, state)
    np.testing.assert_array_equal(state, before)


def test_overlap_conjugates_the_first() -> None:
    a, b = random_states(6, 4, 3), random_states(7, 4, 3)
    expected = [np.vdot(a[:, i], b[:, i]) for i in range(3)]
    np.testing.assert_allclose(overlap(a, b), expected, atol=1e-15)
    np.testing.assert_allclose(overlap(b, a), np.conj(expected), atol=1e-15)


@settings(deadline=None)
@given(st.floats(-10, 10), st.integers(0, 100))
def test_fidelity_is_symmetric_bounded_and_blind_to_a_global_phase(phase: float, seed: int) -> None:
    a, b = random_states(seed, 16, 3), random_states(seed + 1, 16, 3)
    value = fidelity(a, b)
    assert ((value >= 0) & (value <= 1)).all()
    np.testing.assert_allclose(fidelity(b, a), value, atol=1e-15)
    np.testing.assert_allclose(fidelity(np.exp(1j * phase) * a, b), value, atol=1e-14)
    np.testing.assert_allclose(np.abs(overlap(np.exp(1j * phase) * a, b)), np.abs(overlap(a, b)), atol=1e-14)
    np.testing.assert_allclose(fidelity(a, a), 1, atol=1e-14)


@pytest.mark.parametrize("registers", [1, 4, 5, 9])
def test_log_register_fidelity_is_the_product_over_registers(registers: int) -> None:
    a, b = random_states(8, 8, registers, 3), random_states(9, 8, registers, 4)
    expected = np.prod(fidelity(a[..., :, np.newaxis], b[..., np.newaxis, :]), axis=0)
    np.testing.assert_allclose(np.exp(log_register_fidelity(a, b)), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_orthogonal_registers_give_a_finite_floor(dtype: type) -> None:
    registers = 96
    zero = np.zeros((2, registers, 1), dtype=dtype)
    one = zero.copy()
    zero[0], one[1] = 1, 1
    floor = 2 * registers * np.log(np.finfo(dtype).eps)
    np.testing.assert_allclose(log_register_fidelity(zero, one), floor, rtol=1e-5)
    np.testing.assert_array_equal(log_register_fidelity(zero, zero), 0)
