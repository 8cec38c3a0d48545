"""Estimates from shots: the error budget against simulated counts, and the ranks that it settles."""

import numpy as np
import pytest

from quantum.errors import QuantumError
from quantum.estimates import counted, exact, rank_intervals
from quantum.feature_maps import feature_map
from quantum.simulator import log_register_fidelity

SHOTS, TIMES = 200, 4000


def goodmans_error(registers: np.ndarray, shots: int) -> float:
    """The standard error of the product of frequencies relative to the product of (R,) probabilities."""
    return float(np.prod(1 + (1 - registers) / (shots * registers)) - 1) ** 0.5


@pytest.fixture(scope="module")
def registers() -> np.ndarray:
    """(R,) register fidelities of two related vectors at the default map."""
    x = np.random.default_rng(0).normal(size=(2, 384))
    x[1] += x[0]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return feature_map().register_fidelities(x[:1], x[1:])[0, 0]


@pytest.fixture(scope="module")
def sampled(registers: np.ndarray) -> np.ndarray:
    """(TIMES, 1, R) counts of 0...0."""
    return np.random.default_rng(1).binomial(SHOTS, registers, size=(TIMES, 1, registers.size))


def test_the_product_of_frequencies_is_unbiased_with_goodmans_variance(registers, sampled) -> None:
    fidelity, found = registers.prod(), counted(sampled, SHOTS).fidelity[:, 0]
    expected = goodmans_error(registers, SHOTS) * fidelity
    assert abs(found.mean() - fidelity) < 5 * expected / TIMES**0.5
    assert found.std() == pytest.approx(expected, rel=0.06)  # five standard errors of a deviation of 4000


def test_standard_errors_are_those_of_repeated_experiments(registers, sampled) -> None:
    estimates = counted(sampled, SHOTS)
    for values, errors in (
        (estimates.fidelity, estimates.standard_error),
        (estimates.log_fidelity, estimates.log_standard_error),
    ):
        assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.08)


def test_noise_depends_on_the_fidelity_and_hardly_on_the_number_of_registers() -> None:
    """The law of docs/quantum.md: the relative error of F is about sqrt(-log F / N) for any R."""
    for log_f in (0.5, 2.0, 4.0):
        for count in (24, 96, 384):
            error = goodmans_error(np.full(count, np.exp(-log_f / count)), 1024)
            assert error == pytest.approx((log_f / 1024) ** 0.5, rel=0.1)


@pytest.mark.parametrize("hits", [0, SHOTS])
def test_no_count_claims_certainty(hits: int) -> None:
    estimates = counted(np.full((1, 1, 3), hits), SHOTS)
    assert np.isfinite(estimates.log_fidelity).all()
    assert (estimates.log_standard_error > 0).all()
    assert estimates.fidelity == hits / SHOTS


def test_exact_logs_are_those_of_the_simulator() -> None:
    fm = feature_map("angle", 2, np.pi)
    q, d = np.array([[1.0, 0.0, 0.3]]), np.array([[2.0, 0.0, 0.1]])  # the first register is orthogonal
    expected = log_register_fidelity(fm.register_states(q), fm.register_states(d))
    estimates = exact(fm.register_fidelities(q, d))
    np.testing.assert_allclose(estimates.log_fidelity, expected, rtol=1e-12)
    assert (estimates.log_standard_error == 0).all()


def test_exact_values_have_settled_ranks_and_ties_share_them() -> None:
    ranks = rank_intervals(np.array([0.3, 0.9, 0.3, 0.1]), np.zeros(4))
    assert ranks.tolist() == [[2, 3], [1, 1], [2, 3], [4, 4]]


def test_values_within_their_errors_are_not_settled() -> None:
    ranks = rank_intervals(np.array([0.0, -0.1, -5.0]), np.full(3, 0.1))
    assert ranks.tolist() == [[1, 2], [1, 2], [3, 3]]


def test_all_intervals_hold_at_once_with_the_confidence() -> None:
    rng, truth = np.random.default_rng(2), np.linspace(0, 3, 8)[::-1]
    held = 0
    for _ in range(400):
        ranks = rank_intervals(truth + 0.2 * rng.normal(size=8), np.full(8, 0.2))
        held += bool(((ranks[:, 0] <= np.arange(1, 9)) & (np.arange(1, 9) <= ranks[:, 1])).all())
    assert held >= 0.95 * 400


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_a_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(QuantumError, match="confidence"):
        rank_intervals(np.zeros(2), np.zeros(2), confidence)


def test_one_value_is_settled_and_none_has_no_ranks() -> None:
    assert rank_intervals(np.zeros(1), np.ones(1)).tolist() == [[1, 1]]
    assert rank_intervals(np.zeros(0), np.zeros(0)).shape == (0, 2)
