"""The closed forms: the simulation is held to each of them, and they say what the kernels are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.closed_forms import closed_form
from quantum.errors import InvalidVector
from quantum.feature_maps import feature_map


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(["angle", "amplitude", "iqp"]),
    st.integers(2, 4),
    st.floats(0.1, 6),
    st.integers(1, 30),
    st.integers(0, 2**32 - 1),
)
def test_simulation_and_formula_agree(name: str, n: int, bandwidth: float, width: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(7, width)) / width**0.5
    fm = feature_map(name, n, bandwidth)
    formula = closed_form(fm, x[:3], x[3:])
    assert formula is not None
    np.testing.assert_allclose(fm.fidelity(x[:3], x[3:]), formula, atol=1e-13)


def test_entangled_has_none() -> None:
    assert closed_form(feature_map("entangled"), np.eye(2), np.eye(2)) is None


@pytest.mark.parametrize("name", ["angle", "amplitude", "iqp"])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_maps_agree_at_small_bandwidth(name: str, n: int) -> None:
    """Log F = -h**2 |q - d|**2 / 4 to first order: the bandwidths of these maps compare."""
    x = np.random.default_rng(n).normal(size=(9, 12))
    h = 1e-3
    log_f = np.log(closed_form(feature_map(name, n, h), x[:4], x[4:]))
    distance = ((x[:4, np.newaxis] - x[4:]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(-4 * log_f / h**2, distance, rtol=1e-2)


def test_the_bias_keeps_the_sign_of_the_inner_product() -> None:
    """Without a bias, opposite vectors would be equal states; with it they are the least alike."""
    x = np.array([[0.6, 0.0, 0.8]])
    fm = feature_map("amplitude", 2, 1.0)
    toward, across, against = (fm.fidelity(x, each)[0, 0] for each in (x, np.array([[0.0, 1.0, 0.0]]), -x))
    assert toward == pytest.approx(1)
    assert against < across < toward


def test_widths_must_agree() -> None:
    with pytest.raises(InvalidVector, match="got 2 and 3"):
        closed_form(feature_map(), np.eye(2), np.eye(3))
