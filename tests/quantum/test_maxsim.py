"""Document scores from token fidelities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum import maxsim as module
from quantum.errors import InvalidVector, QuantumError
from quantum.feature_maps import feature_map
from quantum.maxsim import score_documents

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=7)


def offsets_of(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def unit_rows(seed: int, m: int, width: int = 10) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(m, width))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def naive(values: np.ndarray, lengths: list[int]) -> list[float]:
    """Reference: three loops over documents, query tokens and document tokens of fidelities (q, T)."""
    scores, start = [], 0
    for length in lengths:
        total = 0.0
        for i in range(values.shape[0]):
            best = 0.0
            for j in range(start, start + length):
                best = max(best, values[i, j])
            total += best
        scores.append(total / values.shape[0])
        start += length
    return scores


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.sampled_from(["angle", "entangled"]), st.integers(1, 12))
def test_score_documents_is_the_naive_loop_whatever_the_block(lengths: list[int], name: str, block: int) -> None:
    fm = feature_map(name, 2)
    query, tokens = unit_rows(1, 3), unit_rows(2, sum(lengths))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TOKENS_PER_BLOCK", block)
        scores = score_documents(fm, query, tokens, offsets_of(lengths))
    np.testing.assert_allclose(scores, naive(fm.fidelity(query, tokens), lengths), rtol=1e-12)


def test_a_document_that_holds_the_query_scores_one_and_none_scores_more() -> None:
    query = unit_rows(3, 4)
    tokens = np.concatenate([unit_rows(4, 5), query[::-1], unit_rows(5, 2)])
    scores = score_documents(feature_map(), query, tokens, offsets_of([5, 4, 2]))
    np.testing.assert_allclose(scores[1], 1, atol=1e-12)
    assert scores.max() <= 1
    assert scores.argmax() == 1


def test_more_tokens_never_lower_a_score() -> None:
    query, tokens = unit_rows(6, 3), unit_rows(7, 9)
    few = score_documents(feature_map(), query, tokens[:5], offsets_of([5]))
    many = score_documents(feature_map(), query, tokens, offsets_of([9]))
    assert many[0] >= few[0]


def test_a_document_scores_the_same_wherever_it_stands() -> None:
    query, first, second = unit_rows(8, 3), unit_rows(9, 4), unit_rows(10, 6)
    one = score_documents(feature_map(), query, np.concatenate([first, second]), offsets_of([4, 6]))
    other = score_documents(feature_map(), query, np.concatenate([second, first]), offsets_of([6, 4]))
    np.testing.assert_allclose(one, other[::-1], rtol=1e-12)


def test_one_token_each_is_the_pooled_fidelity() -> None:
    query, documents = unit_rows(11, 1), unit_rows(12, 6)
    scores = score_documents(feature_map(), query, documents, np.arange(7))
    np.testing.assert_allclose(scores, feature_map().fidelity(query, documents)[0], rtol=1e-12)


def test_float32_tokens_and_unsigned_offsets_are_fine() -> None:
    query, tokens = unit_rows(22, 2), unit_rows(23, 3)
    narrow = query.astype(np.float32), tokens.astype(np.float32)
    scores = score_documents(feature_map(), *narrow, np.array([0, 2, 3], dtype=np.uint32))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, score_documents(feature_map(), query, tokens, np.array([0, 2, 3])), rtol=1e-5)


def test_no_documents_give_no_scores() -> None:
    assert score_documents(feature_map(), unit_rows(0, 2), np.empty((0, 10)), np.array([0])).shape == (0,)


@pytest.mark.parametrize("lengths", [[0, 3], [2, 0, 1], [3, 0]])
def test_a_document_without_tokens_is_named(lengths: list[int]) -> None:
    empty = lengths.index(0)
    with pytest.raises(QuantumError, match=f"document {empty} has no tokens"):
        score_documents(feature_map(), unit_rows(0, 2), unit_rows(1, 3), offsets_of(lengths))


@pytest.mark.parametrize("offsets", [[0, 2], [1, 3], [0, 4], [3]])
def test_offsets_must_cover_the_tokens(offsets: list[int]) -> None:
    with pytest.raises(QuantumError, match="offsets must run from 0 to 3 tokens"):
        score_documents(feature_map(), unit_rows(0, 2), unit_rows(1, 3), np.array(offsets))


@pytest.mark.parametrize("offsets", [np.array([0.0, 3.0]), np.array([[0, 3]]), np.array([], dtype=np.int64)])
def test_offsets_must_be_a_row_of_integers(offsets: np.ndarray) -> None:
    with pytest.raises(QuantumError, match="integers"):
        score_documents(feature_map(), unit_rows(0, 2), unit_rows(1, 3), offsets)


def test_a_query_without_tokens_is_refused() -> None:
    with pytest.raises(QuantumError, match="at least one query token"):
        score_documents(feature_map(), np.empty((0, 10)), unit_rows(1, 3), np.array([0, 3]))


@pytest.mark.parametrize("dtype", [np.float64, np.int8])
def test_a_token_without_a_state_is_refused(dtype: type) -> None:
    tokens = (100 * unit_rows(1, 3)).astype(dtype)
    tokens[2] = 0
    with pytest.raises(InvalidVector, match="row 2"):
        score_documents(feature_map(), unit_rows(0, 2), tokens, np.array([0, 3]))


def test_a_token_of_another_block_is_named_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOKENS_PER_BLOCK", 2)
    tokens = unit_rows(1, 6)
    tokens[5, 3] = np.nan
    with pytest.raises(InvalidVector, match="row 5"):
        score_documents(feature_map(), unit_rows(0, 2), tokens, np.array([0, 2, 4, 6]))


@pytest.mark.parametrize("name", ["angle", "entangled"])
def test_only_directions_are_scored(name: str) -> None:
    query, tokens = unit_rows(13, 3), unit_rows(14, 9)
    expected = score_documents(feature_map(name), query, tokens, offsets_of([4, 5]))
    long = score_documents(feature_map(name), 7 * query, tokens * np.arange(1, 10)[:, np.newaxis], offsets_of([4, 5]))
    np.testing.assert_allclose(long, expected, rtol=1e-12)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 5), st.sampled_from([2, 3, 384]), st.sampled_from(["angle", "entangled"]))
def test_int8_tokens_score_as_the_simulation_of_their_directions(
    lengths: list[int], q: int, width: int, name: str
) -> None:
    rng = np.random.default_rng(sum(lengths))
    fm = feature_map(name)
    query, tokens = (rng.integers(1, 128, (m, width)).astype(np.int8) for m in (q, sum(lengths)))
    tokens[0] = -tokens[0]
    scores = score_documents(fm, query, tokens, offsets_of(lengths))
    unit = [x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (query, tokens)]
    np.testing.assert_allclose(scores, naive(fm.fidelity(*unit), lengths), rtol=1e-4)


@pytest.mark.parametrize("bandwidth", [np.pi / 2 - 1e-3, np.pi / 2, np.pi / 2 + 1e-3, 3 * np.pi / 4, np.pi, 6])
def test_opposite_tokens_near_half_a_turn_and_beyond(bandwidth: float) -> None:
    """They differ by 2 in one feature: the angle is 2 h. At pi the states are orthogonal, at 2 pi equal."""
    query, tokens = np.array([[5, 0]], dtype=np.int8), np.array([[-9, 0]], dtype=np.int8)
    score = score_documents(feature_map("angle", 2, bandwidth), query, tokens, np.array([0, 1]))
    np.testing.assert_allclose(score, np.cos(bandwidth) ** 2, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("repeats", [1, 50, 5000])
def test_a_document_of_one_repeated_token_scores_like_that_token(repeats: int) -> None:
    query, token = unit_rows(15, 20, 384), unit_rows(16, 1, 384)
    other = unit_rows(17, 30, 384)
    tokens = np.concatenate([other, np.repeat(token, repeats, axis=0)]).astype(np.float32)
    scores = score_documents(feature_map(), query.astype(np.float32), tokens, offsets_of([30, repeats]))
    np.testing.assert_allclose(scores[1], feature_map().fidelity(query, token).mean(), rtol=1e-4)
    np.testing.assert_allclose(scores[0], feature_map().fidelity(query, other).max(axis=1).mean(), rtol=1e-4)


def test_only_product_maps_take_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*arguments: object) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr(module, "best_log_fidelity", closed)
    score_documents(feature_map("entangled"), unit_rows(18, 2), unit_rows(19, 3), np.array([0, 3]))
    with pytest.raises(AssertionError):
        score_documents(feature_map("angle"), unit_rows(18, 2), unit_rows(19, 3), np.array([0, 3]))


def test_nothing_is_written_to_the_tokens() -> None:
    query, tokens = unit_rows(20, 2), unit_rows(21, 3)
    before = query.copy(), tokens.copy()
    score_documents(feature_map(), query, tokens, np.array([0, 3]))
    np.testing.assert_array_equal(query, before[0])
    np.testing.assert_array_equal(tokens, before[1])


def test_widths_must_agree_and_tokens_be_real_rows() -> None:
    with pytest.raises(InvalidVector, match="same width"):
        score_documents(feature_map(), unit_rows(0, 2, 8), unit_rows(0, 3, 9), np.array([0, 3]))
    with pytest.raises(InvalidVector, match="expected rows"):
        score_documents(feature_map(), unit_rows(0, 2), unit_rows(0, 3).astype(complex), np.array([0, 3]))


@pytest.mark.parametrize("name", ["angle", "entangled"])
def test_bytes_and_floats_may_meet_in_either_role(name: str) -> None:
    fm, chance = feature_map(name), np.random.default_rng(5)
    whole = chance.integers(-127, 128, size=(6, 16), dtype=np.int8)
    query, tokens, offsets = whole[:2], whole[2:], np.array([0, 1, 4])
    expected = score_documents(fm, query, tokens, offsets)
    for q, d in ((query.astype(np.float32), tokens), (query, tokens.astype(np.float32))):
        np.testing.assert_allclose(score_documents(fm, q, d, offsets), expected, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_rows_may_lie_in_memory_in_any_way(dtype: type) -> None:
    fm, whole = feature_map(), np.random.default_rng(5).integers(-127, 128, size=(6, 16)).astype(dtype)
    query, tokens, offsets = whole[:2], whole[2:], np.array([0, 1, 4])
    expected = score_documents(fm, query, tokens, offsets)
    ways = (np.asfortranarray, lambda x: x.repeat(2, axis=1)[:, ::2], lambda x: x.repeat(2, axis=0)[::2])
    for way in (*ways, lambda x: x[::-1].copy()[::-1], lambda x: x[:, ::-1].copy()[:, ::-1]):
        for q, d in ((way(query), tokens), (query, way(tokens))):
            np.testing.assert_array_equal(score_documents(fm, q, d, offsets), expected)
