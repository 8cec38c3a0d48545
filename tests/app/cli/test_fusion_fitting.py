"""Fitting fusion: the grid computes what the service does, and takes only what holds on other queries."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from app.cli.fusion_fitting import (
    CONFIGURED,
    FITTED,
    best_choice,
    by_fusion,
    fit_fusion,
    fit_rankers,
    grid,
    ndcg_of_choices,
)
from app.cli.judged_lists import ROWS, JudgedLists
from app.ranking.hybrid import Fusion
from retrieval.errors import DataError

CANDIDATES = 12


def silent(*_: object) -> None:
    pass


def lists(name: str, queries: int, seed: int, informative: int) -> JudgedLists:
    """Judged lists in which one ranker tells the two relevant documents from the others, and the rest is noise."""
    chance = np.random.default_rng(seed)
    scores = chance.standard_normal((queries, len(ROWS), CANDIDATES))
    grades = np.zeros((queries, CANDIDATES))
    for row in grades:
        row[chance.choice(CANDIDATES, 2, replace=False)] = 1
    scores[:, informative] += 2.5 * grades
    rows = chance.standard_normal((queries, CANDIDATES, 4))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    gram = (rows @ rows.transpose(0, 2, 1)) ** 2
    ideal = np.full(queries, 1 + 1 / np.log2(3))
    return JudgedLists(
        name,
        scores,
        gram.astype(np.float32),
        grades,
        np.tile(np.arange(grades.shape[1]), (queries, 1)),
        ideal,
        np.linspace(0, 1, queries),
        np.arange(queries) != 1,
    )


def test_the_grid_gives_what_the_service_would():
    found, fusion = lists("a", 6, 0, 1), Fusion()
    choices = grid(fusion)
    assert len(set(choices)) == len(choices) > 400
    some = [0, *range(1, len(choices), 37)]
    values = ndcg_of_choices(found, choices, fusion, silent)
    for at in some:
        choice = choices[at]
        if choice.bandwidth == 1:
            tried = replace(fusion, text=choice.weights, ridge=choice.ridge)
            np.testing.assert_allclose(values[:, at], found.ndcg(partial(by_fusion, fusion=tried)))


def test_a_choice_must_be_better_by_a_standard_error():
    values, weights = np.array([[0.5, 0.6, 0.9], [0.5, 0.6, 0.3], [0.5, 0.6, 0.6]]), np.full(3, 1 / 3)
    assert best_choice(values[:, :2], weights) == 1
    assert best_choice(values[:, [0, 2]], weights) == 0  # 0.1 ± 0.14
    assert best_choice(values[:, [1, 0]], weights) == 0


def test_a_group_is_not_judged_if_the_others_have_candidates_of_one_kind():
    """One query tells relevant documents from others; where it is left out, nothing can be fitted."""
    found = lists("a", 5, 0, 1)
    found.grades[[0, 1, 2, 4]] = 0
    fitted = fit_fusion([found], Fusion(), silent)
    assert set(fitted.held_out) == {f"a, {number} of 5" for number in (1, 2, 3, 5)}
    found.grades[:] = 0
    with pytest.raises(DataError, match="no query has candidates of both kinds"):
        fit_fusion([found], Fusion(), silent)


def test_one_query_is_too_few():
    with pytest.raises(DataError, match="one query is too few"):
        fit_fusion([lists("a", 1, 0, 1)], Fusion(), silent)


def test_what_holds_on_other_collections_is_kept():
    """BM25 alone tells relevant documents: the fit finds it, and stacking, too."""
    found = fit_fusion([lists("a", 30, 1, 2), lists("b", 30, 2, 2)], Fusion(), silent)
    assert found.kept
    assert found.p < 0.05
    assert found.choice.weights.lexical > found.choice.weights.classical
    assert found.fitted.coefficients[2] > 5 * abs(found.fitted.coefficients[0])
    assert set(found.held_out) == {"a", "b"}
    for row in found.held_out.values():
        assert set(row) == {CONFIGURED, FITTED, "bayesian", "stacking"}
        assert row[FITTED].mean() > row[CONFIGURED].mean()
        assert row["stacking"].mean() > row[CONFIGURED].mean()


def test_noise_leaves_the_configuration():
    """One collection is judged on fifths; scores that say nothing change nothing."""
    noise = replace(lists("a", 20, 3, 2), scores=np.random.default_rng(4).standard_normal((20, len(ROWS), CANDIDATES)))
    found = fit_fusion([noise], Fusion(), silent)
    assert not found.kept
    assert (found.choice.weights, found.choice.ridge, found.choice.bandwidth) == (Fusion().text, Fusion().ridge, 1.0)
    assert list(found.held_out) == [f"a, {number} of 5" for number in range(1, 6)]


def test_nothing_to_tell_apart_is_said():
    same = lists("a", 4, 5, 0)
    with pytest.raises(DataError, match="nothing to fit on"):
        fit_rankers([replace(same, grades=np.zeros_like(same.grades))])
