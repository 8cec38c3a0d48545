"""Token rows of two bits an entry: what is kept, and that it is kept for good."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from retrieval.encoder.states import quantise, unit_rows
from retrieval.index.token_rows import pack, row_bytes, scales_of, unpack

ROWS = arrays(np.int8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40), elements=st.integers(-127, 127))


@settings(deadline=None)
@given(ROWS)
def test_what_was_unpacked_is_packed_as_it_was(rows):
    """So segments are merged as often as it takes, and lose nothing more."""
    packed, dimension = pack(rows), rows.shape[1]
    assert packed.shape == (len(rows), row_bytes(dimension))
    np.testing.assert_array_equal(pack(unpack(packed, dimension)), packed)


@settings(deadline=None)
@given(ROWS)
def test_signs_and_sizes_are_kept(rows):
    unpacked, magnitudes = unpack(pack(rows), rows.shape[1]), np.abs(rows.astype(int))
    np.testing.assert_array_equal(unpacked > 0, rows > 0)
    np.testing.assert_array_equal(np.abs(unpacked) == 126, magnitudes > magnitudes.mean(axis=1, keepdims=True))
    assert set(np.abs(unpacked).ravel().tolist()) <= {36, 126}


@settings(deadline=None)
@given(ROWS)
def test_the_scales_are_those_of_the_rows(rows):
    packed, dimension = pack(rows), rows.shape[1]
    lengths = np.linalg.norm(unpack(packed, dimension).astype(float), axis=1)
    np.testing.assert_allclose(scales_of(packed, dimension), 1 / lengths, rtol=1e-6)


def test_directions_stay_near():
    rows = quantise(np.random.default_rng(0).standard_normal((100, 384)).astype(np.float32))
    cosines = np.vecdot(unit_rows(rows), unit_rows(unpack(pack(rows), 384)))
    assert cosines.min() > 0.9
