"""Document scores from token fidelities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum import late_interaction as module
from quantum.errors import InvalidVector, QuantumError
from quantum.feature_maps import feature_map
from quantum.late_interaction import late_interaction, score_documents

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=7)


def offsets_of(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def unit_rows(seed: int, m: int, width: int = 10) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(m, width))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def naive(values: np.ndarray, lengths: list[int]) -> list[float]:
    """Three loops over fidelities (q, T): documents, query tokens, document tokens."""
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


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_late_interaction_is_the_naive_triple_loop(lengths: list[int], q: int, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(1e-9, 1, size=(q, sum(lengths)))
    scores = late_interaction(np.log(values), offsets_of(lengths))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, naive(values, lengths), rtol=1e-12)


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


def test_float32_logs_and_unsigned_offsets_are_fine() -> None:
    log_f = np.log(np.array([[0.5, 0.25, 0.125]], dtype=np.float32))
    scores = late_interaction(log_f, np.array([0, 2, 3], dtype=np.uint32))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, [0.5, 0.125], rtol=1e-6)


def test_no_documents_give_no_scores() -> None:
    assert score_documents(feature_map(), unit_rows(0, 2), np.empty((0, 10)), np.array([0])).shape == (0,)
    assert late_interaction(np.empty((2, 0)), np.array([0])).shape == (0,)


@pytest.mark.parametrize("lengths", [[0, 3], [2, 0, 1], [3, 0]])
def test_a_document_without_tokens_is_named(lengths: list[int]) -> None:
    empty = lengths.index(0)
    with pytest.raises(QuantumError, match=f"document {empty} has no tokens"):
        score_documents(feature_map(), unit_rows(0, 2), unit_rows(1, 3), offsets_of(lengths))
    with pytest.raises(QuantumError, match=f"document {empty} has no tokens"):
        late_interaction(np.zeros((2, 3)), offsets_of(lengths))


@pytest.mark.parametrize("offsets", [[0, 2], [1, 3], [0, 4], [3]])
def test_offsets_must_cover_the_tokens(offsets: list[int]) -> None:
    with pytest.raises(QuantumError, match="offsets must run from 0 to 3 tokens"):
        late_interaction(np.zeros((2, 3)), np.array(offsets))


@pytest.mark.parametrize("offsets", [np.array([0.0, 3.0]), np.array([[0, 3]]), np.array([], dtype=np.int64)])
def test_offsets_must_be_a_row_of_integers(offsets: np.ndarray) -> None:
    with pytest.raises(QuantumError, match="integers"):
        late_interaction(np.zeros((2, 3)), offsets)


@pytest.mark.parametrize("log_f", [np.zeros((0, 3)), np.zeros(3)])
def test_there_must_be_a_query_token(log_f: np.ndarray) -> None:
    with pytest.raises(QuantumError, match="at least one query token"):
        late_interaction(log_f, np.array([0, 3]))


def test_a_query_without_tokens_is_refused() -> None:
    with pytest.raises(QuantumError, match="at least one query token"):
        score_documents(feature_map(), np.empty((0, 10)), unit_rows(1, 3), np.array([0, 3]))


def test_a_token_without_a_state_is_refused() -> None:
    tokens = unit_rows(1, 3)
    tokens[2] = 0
    with pytest.raises(InvalidVector, match="row 2"):
        score_documents(feature_map(), unit_rows(0, 2), tokens, np.array([0, 3]))
