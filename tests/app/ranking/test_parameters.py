"""Files of fitted parameters: what is written is read, and what cannot be used is refused with its reason."""

import json

import pytest

from app.ranking.calibration import fallback
from app.ranking.hybrid import Fusion, Weights
from app.ranking.parameter_file import ParameterFileError
from app.ranking.parameters import Parameters
from quantum.feature_maps import feature_map
from retrieval.fusion.algorithms import Fitted

PARAMETERS = Parameters(
    {"map": "angle", "qubits": 4, "bandwidth": 2.0},
    Weights(1.0, 1.0, 0.5, 0.3),
    3.0,
    Fitted((8.0, 9.0, 0.2), (-4.0, -2.0, -1.0), (0.5, 1.0, 0.7)),
    fallback(),
)


def test_what_is_written_is_read(tmp_path):
    PARAMETERS.write(tmp_path / "p.json")
    assert Parameters.read(tmp_path / "p.json") == PARAMETERS
    assert (PARAMETERS.model, PARAMETERS.digest) == (fallback().model, fallback().digest)


def test_they_take_the_place_of_what_is_configured():
    fusion = PARAMETERS.of_fusion(Fusion(algorithm="stacking", feedback=0.1))
    assert (fusion.text, fusion.ridge, fusion.fitted) == (PARAMETERS.weights, 3.0, PARAMETERS.fitted)
    assert (fusion.algorithm, fusion.feedback, fusion.code) == ("stacking", 0.1, Fusion().code)
    assert PARAMETERS.of_circuit(feature_map()).bandwidth == 2
    with pytest.raises(ParameterFileError, match=r"fitted with the circuit \('angle', 4\), not \('angle', 3\)"):
        PARAMETERS.of_circuit(feature_map("angle", 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(ridge=2), "the checksum of .* is wrong"),
        (lambda content: content.update(format=2), "format 2, not 1; make one with `qrerank fit`"),
        (lambda content: content.update(ridge=float("nan")), "nan is not a number of at most"),
        (lambda content: content["slopes"].update(quantum=float("inf")), "inf is not a number"),
        (lambda content: content.update(ridge=10**400), "00 is not a number of at most"),
        (lambda content: content.update(ridge=1e101), "1e\\+101 is not a number of at most"),
        (lambda content: content["weights"].update(lexical=-(10**400)), "00 is not a number of at most"),
        (lambda content: content["coefficients"].update(quantum="1"), "'1' is not a number"),
        (lambda content: content["coefficients"].pop("lexical"), "it lacks 'lexical'"),
        (lambda content: content.pop("circuit"), "it lacks 'circuit'"),
        (lambda content: content["circuit"].pop("map"), "it lacks 'map'"),
        (lambda content: content["circuit"].update(qubits="4"), "its qubits a whole number"),
        (lambda content: content["calibration"].update(model=["x"]), "the model and its digest must be texts"),
        (
            lambda content: content["calibration"]["coefficients"]["hybrid"].update(cosine=1.7e308),
            "a coefficient of hybrid is not a number of at most",
        ),
        (lambda content: content["weights"].update(lexical=-1), "weights must be at least 0"),
        (lambda content: content["weights"].update(smoothed=1.1), "a share of smoothing at most 1"),
        (lambda content: content["weights"].update(classical=0, quantum=0, lexical=0), "not all 0"),
        (lambda content: content.update(ridge=0), "the ridge must be above 0"),
        (lambda content: content["circuit"].update(bandwidth=17), "at most 16"),
        (lambda content: content["calibration"]["coefficients"]["hybrid"].pop("cosine"), "hybrid needs coefficients"),
    ],
)
def test_a_file_that_was_changed_is_refused(tmp_path, change, message):
    path = tmp_path / "p.json"
    PARAMETERS.write(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ParameterFileError, match=message):
        Parameters.read(path)


def test_a_file_that_is_nested_without_end_is_refused(tmp_path):
    (tmp_path / "p.json").write_text("[" * 100_000)
    with pytest.raises(ParameterFileError, match="no file of parameters: maximum recursion depth"):
        Parameters.read(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"model": "caf\xe9"}', r"not UTF-8 at byte 14; make one"),
        (b"[]", "it holds no object"),
        (b"null", "it holds no object"),
        (b"{}", "it lacks 'checksum'"),
        (b"{", "Expecting property name"),
    ],
)
def test_what_is_no_file_of_parameters_says_why_and_is_not_repeated(tmp_path, content, message):
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(ParameterFileError, match=message) as refused:
        Parameters.read(tmp_path / "p.json")
    assert "caf" not in str(refused.value)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "p.json"
    PARAMETERS.write(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Parameters.read(path) == PARAMETERS


def test_a_calibration_is_told_from_parameters(tmp_path):
    fallback().write(tmp_path / "c.json")
    with pytest.raises(ParameterFileError, match="no file of parameters: it lacks 'circuit'"):
        Parameters.read(tmp_path / "c.json")
