"""Calibrated scores: the parameter file, and the projection of evidence onto an order."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ranking import calibration
from app.ranking.calibration import FEATURES, Calibration, fallback, probability, project
from app.ranking.parameter_file import ParameterFileError

ROW = {"cosine": 8.0, "log_fidelity": 0.5, "coverage": 2.0, "query_length": 0.25, "intercept": -4.0}


def parameters(**change) -> Calibration:
    rows = {name: {key: ROW[key] for key in (*names, "intercept")} for name, names in FEATURES.items()}
    return Calibration(**{"model": "m", "digest": "d", "coefficients": rows, "provenance": {"made": "today"}} | change)


def test_what_is_written_is_read(tmp_path):
    parameters().write(tmp_path / "c.json")
    assert Calibration.read(tmp_path / "c.json") == parameters()


def test_the_default_models_parameters_are_complete_and_rise_with_the_evidence():
    found = fallback()
    assert found.model == "all-MiniLM-L6-v2"
    assert calibration.FILE.stat().st_size < 10_000
    assert {"made", "version", "queries", "held_out"} <= set(found.provenance)
    for evidence, names in FEATURES.items():
        assert all(found.coefficients[evidence][name] > 0 for name in names if name != "query_length")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["coefficients"]["hybrid"].update(cosine=9), "the checksum of .* is wrong"),
        (lambda content: content.update(checksum="0" * 64), "the checksum of .* is wrong"),
        (lambda content: content["coefficients"]["hybrid"].update(cosine=float("nan")), "not a number of at most"),
        (lambda content: content["coefficients"]["hybrid"].update(cosine=float("inf")), "not a number of at most"),
        (lambda content: content["coefficients"]["hybrid"].update(cosine=10**400), "not a number of at most"),
        (lambda content: content["coefficients"]["hybrid"].update(cosine="8"), "not a number of at most"),
        (lambda content: content["coefficients"]["hybrid"].update(cosine=True), "not a number of at most"),
        (lambda content: content["coefficients"]["hybrid"].pop("cosine"), "hybrid needs coefficients for cosine"),
        (lambda content: content["coefficients"]["hybrid"].update(magic=1), "hybrid needs coefficients for cosine"),
        (lambda content: content["coefficients"].pop("lexical"), "no calibration file"),
        (lambda content: content.update(format=2), "format 2, not 1"),
        (lambda content: content.pop("checksum"), "no calibration file"),
        (lambda content: content.update(extra=1), "no calibration file"),
    ],
)
def test_a_file_that_was_changed_is_refused(tmp_path, change, message):
    path = tmp_path / "c.json"
    parameters().write(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ParameterFileError, match=message):
        Calibration.read(path)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 1}', "\xff"])
def test_what_is_no_file_of_parameters_is_refused(tmp_path, text):
    (tmp_path / "c.json").write_text(text, encoding="latin-1")
    with pytest.raises(ParameterFileError, match="qrerank fit --calibration"):
        Calibration.read(tmp_path / "c.json")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ParameterFileError, match=r"none\.json cannot be read: No such file"):
        Calibration.read(tmp_path / "none.json")


def test_log_odds_are_a_weighted_sum():
    features = {"cosine": np.array([0.5, 0.25]), "log_fidelity": np.array([-2.0, -4.0]), "coverage": np.ones(2)}
    found = parameters().log_odds("hybrid", features | {"query_length": 2.0})
    np.testing.assert_allclose(found, [8 * 0.5 - 1 + 2 + 0.5 - 4, 8 * 0.25 - 2 + 2 + 0.5 - 4])
    np.testing.assert_allclose(parameters().log_odds("lexical", {"coverage": 1.0, "query_length": 0.0}), [-2])


def test_log_odds_stay_finite():
    features = {"cosine": np.array([1e9, -1e9]), "log_fidelity": 0.0, "coverage": 0.0, "query_length": 0.0}
    np.testing.assert_array_equal(parameters().log_odds("hybrid", features), [12, -12])


LISTS = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(-12, 12), min_size=n, max_size=n), st.lists(st.integers(-20, 20), min_size=n, max_size=n)
    )
)


@given(LISTS)
def test_projected_scores_have_the_order_of_the_fused_ones(lists):
    log_odds, fused = np.array(lists[0]), np.array(lists[1]) / 10
    scores = probability(project(log_odds, fused))
    assert ((scores > 0) & (scores < 1)).all()
    order = np.argsort(-fused, kind="stable")
    assert (np.diff(scores[order]) <= 1e-15).all()
    for value in set(fused.tolist()):
        assert np.ptp(scores[fused == value]) < 1e-12


@given(LISTS)
def test_different_fused_scores_stay_different(lists):
    log_odds, fused = np.array(lists[0]), np.array(lists[1]) / 10
    projected = project(log_odds, fused)
    order = np.argsort(-fused, kind="stable")
    assert (np.diff(projected[order])[np.diff(fused[order]) < 0] < 0).all()


@given(LISTS)
def test_without_patience_all_of_it_is_isotonic_regression(lists):
    from scipy.optimize import isotonic_regression  # see tests/retrieval/evaluation/test_significance.py

    log_odds, fused = np.array(lists[0]), np.arange(len(lists[0]), 0, -1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "_PATIENCE", 1e99)
        expected = isotonic_regression(log_odds, increasing=False).x
        np.testing.assert_allclose(project(log_odds, fused), expected, atol=1e-9)


@given(st.floats(-12, 12))
def test_a_lone_document_keeps_its_evidence(log_odds):
    np.testing.assert_allclose(project(np.array([log_odds]), np.array([0.0])), [log_odds], atol=1e-12)


def test_evidence_that_agrees_with_the_order_is_hardly_changed():
    fused = np.linspace(1, -1, 20)
    np.testing.assert_allclose(project(fused * 1.2 - 2, fused), fused * 1.2 - 2, atol=0.35)
