"""Diagnostics of kernels: concentration and its theory, shots, alignment, eigenvalues, and the refusal."""

import numpy as np
import pytest

from quantum.diagnostics import (
    MOST_MEAN_FIDELITY,
    alignment,
    check_spread,
    first_registers,
    least_eigenvalue,
    off_diagonal,
    reference_spread,
    shots_to_resolve,
)
from quantum.errors import QuantumError, Saturated
from quantum.estimates import counted
from quantum.feature_maps import MAPS, feature_map
from quantum.kernel import gram


def unit_rows(seed: int, m: int, width: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(m, width))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["angle", "amplitude"])
@pytest.mark.parametrize("bandwidth", [0.0633, 0.3, 1.0])
def test_unrelated_vectors_concentrate_as_the_gaussian_says(name, bandwidth):
    """Their cosines are about 0, so log F is about -h**2 / 2, however many registers there are."""
    for width in (48, 384):
        spread = reference_spread(feature_map(name, 4, bandwidth), width)
        assert spread.mean == pytest.approx(np.exp(-(bandwidth**2) / 2), rel=0.02)


@pytest.mark.parametrize("name", MAPS)
def test_the_mean_fidelity_of_0_998_is_refused_and_explained(name):
    """The configuration of the project that this idea comes from: everything looked alike."""
    saturating = feature_map(name, 4, 0.0633)
    with pytest.raises(Saturated, match=r"mean fidelity of 0\.998.*Choose a larger bandwidth; the default is 2\.83"):
        check_spread(saturating, 384)
    assert check_spread(feature_map(name), 384).mean < 0.03


def test_the_limit_lies_at_a_mean_of_0_99():
    at = (-2 * np.log(MOST_MEAN_FIDELITY)) ** 0.5  # of the angle map, see above
    with pytest.raises(Saturated):
        check_spread(feature_map(bandwidth=0.98 * at), 384)
    assert check_spread(feature_map(bandwidth=1.02 * at), 384).mean < MOST_MEAN_FIDELITY


def test_a_vector_cut_to_one_register_saturates():
    x = unit_rows(0, 40, 384)
    fm = feature_map("angle", 4, 0.6)
    assert off_diagonal(gram(fm, first_registers(fm, x, 1))).is_saturated
    assert not off_diagonal(gram(fm, first_registers(fm, x, 96))).is_saturated


def test_so_many_shots_make_noise_and_differences_equal():
    fm = feature_map()
    x = unit_rows(1, 24, 96)
    registers = fm.register_fidelities(x, x)
    shots = round(shots_to_resolve(registers))
    estimates = counted(np.random.default_rng(0).binomial(shots, np.minimum(registers, 1)), shots)
    pairs = np.triu_indices(24, 1)
    noise = (estimates.log_fidelity - np.log(registers).sum(axis=-1))[pairs].var()
    assert 2 * noise == pytest.approx(np.log(registers).sum(axis=-1)[pairs].var(), rel=0.35)
    assert shots_to_resolve(np.ones((3, 3, 2))) == float("inf")


def test_shots_grow_with_the_inverse_square_of_a_small_bandwidth():
    x = unit_rows(2, 20, 384)
    small, smaller = (shots_to_resolve(feature_map(bandwidth=h).register_fidelities(x, x)) for h in (0.2, 0.1))
    assert smaller / small == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("bandwidth", [0.05, 8**0.5, 6.0])
def test_kernels_are_positive_semidefinite(name, bandwidth):
    assert least_eigenvalue(gram(feature_map(name, 3, bandwidth), unit_rows(3, 40, 30))) > -1e-6 * 40


def test_alignment_of_the_ideal_kernel_is_one_and_of_its_opposite_minus_one():
    relevant = np.array([True, True, False, False, False])
    y = np.where(relevant, 1.0, -1.0)
    assert alignment(np.outer(y, y), relevant) == pytest.approx(1)
    assert alignment(-np.outer(y, y), relevant) == pytest.approx(-1)
    assert np.isnan(alignment(np.eye(3), np.ones(3, dtype=bool)))


def test_alignment_does_not_see_saturation():
    """Centring and scaling take it out: what a small bandwidth costs is shots, and alignment has none."""
    x = unit_rows(4, 30, 64)
    relevant = x[:, 0] > 0.1
    small, smaller = (alignment(gram(feature_map(bandwidth=h), x), relevant) for h in (0.2, 0.05))
    assert small == pytest.approx(smaller, rel=0.05)


def test_one_row_has_no_spread():
    with pytest.raises(QuantumError, match="two rows"):
        off_diagonal(np.eye(1))
