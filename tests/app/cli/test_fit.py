"""`qrerank fit --calibration`: judged queries in, a parameter file out."""

import json

import numpy as np
import pytest

from app.cli.fitting import Example, fit, rates
from app.ranking.calibration import FEATURES, Calibration, probability

TOPICS = ("owl", "market", "river", "lamp", "song")


def write_collection(folder, word: str) -> None:
    """Forty documents about five topics, and a query for each topic."""
    (folder / "qrels").mkdir(parents=True)
    documents = [f"{topic} {word} {number} is told of here, page {number}" for number in range(8) for topic in TOPICS]
    lines = [json.dumps({"_id": str(at), "title": "", "text": text}) for at, text in enumerate(documents)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    queries = [json.dumps({"_id": topic, "text": f"what is told of the {topic}"}) for topic in TOPICS]
    (folder / "queries.jsonl").write_text("\n".join(queries))
    judged = [f"{topic}\t{at}\t1" for at in range(40) for topic in TOPICS if documents[at].startswith(topic)]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(judged) + "\n")


@pytest.fixture
def run(tmp_path, qrerank):
    for word in ("page", "dusk"):
        write_collection(tmp_path / word, word)
    return qrerank


def test_parameters_are_fitted_and_judged_on_what_was_left_out(tmp_path, run):
    status, said, errors = run("fit", "page", "dusk", "--calibration", "--plot", "plot.png")
    assert status == 0, errors
    assert "10 queries are few" in errors
    assert "wrote calibration.json; serve with QRERANK_CALIBRATION=calibration.json" in said
    found = Calibration.read(tmp_path / "calibration.json")
    assert (found.model, found.provenance["queries"]) == ("hash", {"page": 5, "dusk": 5})
    assert set(found.provenance["held_out"]) == {"page", "dusk"}
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    again = run("fit", "page", "dusk", "--calibration", "--output", "again.json")
    assert again[0] == 0
    assert Calibration.read(tmp_path / "again.json").coefficients == found.coefficients


def test_one_collection_is_judged_on_its_other_half(tmp_path, run):
    status, said, errors = run("fit", "page", "--calibration")
    assert status == 0, errors
    assert "wrote calibration.json" in said
    assert set(Calibration.read(tmp_path / "calibration.json").provenance["held_out"]) == {"page, other half"}


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["page"], 2, "say what to fit: --calibration"),
        (["none", "--calibration"], 2, "none"),
        (["page", "--calibration", "--output", "none/c.json"], 2, "No such file or directory"),
        (["page", "--calibration", "--queries", "0"], 2, "--queries"),
    ],
)
def test_what_cannot_be_fitted_is_said_before_any_work(run, words, status, message):
    found, _, errors = run("fit", *words)
    assert found == status
    assert message in errors


def example(chance: np.random.Generator, name: str) -> Example:
    """Relevant documents have much of everything, others little."""

    def rows(count: int, level: float):
        found = level + 0.1 * chance.standard_normal((count, 4))
        found[:, 3] = 2.0
        return found

    return Example(name, rows(2, 0.8), rows(10, 0.5), rows(20, 0.2), rows(20, 0.1))


def test_a_fit_tells_relevant_documents_from_others():
    chance = np.random.default_rng(0)
    found = [example(chance, name) for name in ("a", "b") for _ in range(30)]
    coefficients = fit(found)
    assert {name: set(row) for name, row in coefficients.items()} == {
        name: {*names, "intercept"} for name, names in FEATURES.items()
    }
    calibration = Calibration("m", "d", coefficients)
    result = rates(calibration, found)
    assert (result.queries, result.relevant, result.same, result.other) == (60, 1.0, 1.0, 1.0)
    assert result.error < 0.1
    high, low = (dict.fromkeys(FEATURES["hybrid"], np.array([level])) | {"query_length": 2.0} for level in (0.8, 0.1))
    assert probability(calibration.log_odds("hybrid", high)) > 0.9
    assert probability(calibration.log_odds("hybrid", low)) < 0.1
