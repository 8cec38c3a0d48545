"""How hybrid fuses: its default to the byte, other algorithms and weightings, and what looks like a program."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from app.ranking.hybrid import Fusion, Weighting, Weights, code_share
from retrieval.fusion.algorithms import ALGORITHMS
from retrieval.fusion.normalization import ranking, zscore
from retrieval.text.passages import traits_of

CHANCE = np.random.default_rng(0)
SCORES = CHANCE.standard_normal((3, 20))
VECTORS = CHANCE.standard_normal((20, 5))
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
GRAM = (VECTORS @ VECTORS.T) ** 2


@pytest.mark.parametrize("code", [0.0, 0.3, 1.0])
def test_the_default_is_the_formula_of_the_docs_to_the_byte(code):
    weights = Weights().towards(Fusion().code, code)
    parts = [weights.classical * zscore(SCORES[0]), weights.quantum * zscore(SCORES[1])]
    fused = np.sum([*parts, weights.lexical * zscore(SCORES[2])], axis=0) / sum(weights.values()[:3])
    if weights.smoothed:
        smoothed = GRAM @ np.linalg.solve(GRAM + np.eye(20), fused)
        fused = weights.smoothed * smoothed + (1 - weights.smoothed) * fused
    assert Fusion().fuse(SCORES, code, lambda: GRAM).tobytes() == fused.tobytes()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("weighting", get_args(Weighting))
def test_every_fusion_gives_finite_scores_of_about_one_scale(algorithm, weighting):
    fusion = Fusion(algorithm=algorithm, weighting=weighting, feedback=0.2)
    fused = fusion.fuse(SCORES, 0.2, lambda: GRAM)
    assert np.isfinite(fused).all()
    assert 0.1 < fused.std() < 1.5
    agreed = fusion.fuse(np.stack([SCORES[0]] * 3), 0.0, lambda: np.eye(20))
    assert ranking(agreed)[0] == ranking(SCORES[0])[0]
    for documents in (1, 3):  # single and equal ones
        assert not fusion.fuse(np.ones((3, documents)), 0.0, lambda n=documents: np.ones((n, n))).any()


def test_similarities_are_computed_only_where_they_are_needed():
    plain = replace(Fusion(), text=Weights(smoothed=0.0))
    plain.fuse(SCORES, 0.0, lambda: pytest.fail("not needed"))
    with pytest.raises(pytest.fail.Exception):
        Fusion().fuse(SCORES, 0.0, lambda: pytest.fail("needed"))


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"non-finite score at \[1, 1\]"):
        Fusion().fuse(np.array([[1, 2.0], [1, np.nan], [1, 1]]), 0.0, lambda: np.eye(2))


def test_an_unknown_weighting_is_no_other_one():
    with pytest.raises(ValueError, match="unknown weighting 'fix'; choose one of type, fixed"):
        Fusion(weighting="fix")


def test_weights_lie_between_those_of_text_and_of_code():
    text, code = Fusion().text, Fusion().code
    assert text.towards(code, 0) == text
    assert text.towards(code, 1) == code
    assert Weights(1, 2, 3, 0).towards(Weights(3, 2, 1, 1), 0.5) == Weights(2, 2, 2, 0.5)


def code_of(texts: list[str]) -> float:
    traits = traits_of(texts)
    return code_share(traits["symbols"], traits["characters"])


PROGRAM = "def area(radius):\n    # of a circle (2d)\n    return math.pi * radius ** 2\n"


@pytest.mark.parametrize(
    ("texts", "share"),
    [
        ([], 0),
        (["", ""], 0),
        (["The nightingale sings after dusk (and before dawn), and many have heard it."] * 3, 0),
        (["夜の鳥、歌う。"], 0),
        # A table of contents turned the order of the others round.
        ([*["The nightingale sings after dusk, and many have heard it. " * 5] * 10, "Owls ........ 3\n" * 80], 0),
        ([PROGRAM] * 3, 1),
        (["for (int i = 0; i < n; i++) { sum += a[i]; }"], 1),
    ],
)
def test_programs_are_told_from_text(texts, share):
    assert code_of(texts) == share


def test_a_list_of_both_is_in_between():
    text = "The nightingale sings after dusk, and its song is heard by many birds at night."
    assert 0 < code_of([text, text, PROGRAM, PROGRAM]) < 1


def test_a_few_symbols_make_no_program_of_long_texts():
    assert code_of(["The nightingale sings after dusk, and its song is heard by many birds."] * 9 + ["***", "..."]) == 0
