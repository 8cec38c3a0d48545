"""`qrerank fit`: judged queries in, a parameter file out."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from app.cli.evaluation import judged_queries, open_dataset
from app.cli.fit import served_factors
from app.cli.fitting import (
    OTHERS,
    Case,
    Example,
    Judged,
    calibration_error,
    cases,
    fit,
    logistic,
    rates,
    reliability,
)
from app.cli.judged_lists import BANDWIDTHS
from app.engine.loader import open_reranker
from app.ranking.calibration import FEATURES, Calibration, fallback, probability
from app.ranking.hybrid import Weights
from app.ranking.parameter_file import ParameterFileError
from app.ranking.parameters import Parameters
from app.settings import Settings
from quantum.diagnostics import check_spread
from quantum.errors import Saturated
from quantum.feature_maps import feature_map
from retrieval.errors import DataError
from retrieval.evaluation.beir import BeirDataset, Query, load
from retrieval.text.passages import Passage
from tests.app.ranking.test_parameters import PARAMETERS
from tests.conftest import serving

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
    assert run("fit", "page", "--output", "one", "--plot", "one")[0] == 2
    dusk = (tmp_path / "dusk").rename(tmp_path / "$x^$").name  # no formula to matplotlib
    status, said, errors = run("fit", "page", dusk, "--calibration", "--plot", "plot.png")
    assert status == 0, errors
    assert "10 queries are few" in errors
    assert "wrote calibration.json; serve with QRERANK_CALIBRATION=calibration.json" in said
    found = Calibration.read(tmp_path / "calibration.json")
    assert (found.model, found.provenance["queries"]) == ("hash", {"page": 5, dusk: 5})
    held_out = found.provenance["held_out"]
    assert set(held_out) == {"page", dusk}
    assert set(held_out["page"]) == {"queries", "relevant", "same", "other", "lost", "error"}
    assert "mean" in said
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    again = run("fit", "page", dusk, "--calibration", "--output", "again.json")
    assert again[0] == 0
    assert Calibration.read(tmp_path / "again.json").coefficients == found.coefficients


def test_all_is_fitted_and_served(tmp_path, run):
    """The scores of the first run are found by the second, which says and writes the same."""
    status, said, errors = run("fit", "page", "dusk")
    assert status == 0, errors
    assert "10 queries are few" in errors
    assert "weights, smoothing and bandwidth stay as configured" in errors
    assert "wrote parameters.json; serve with qrerank serve --parameters parameters.json" in said
    assert all(word in said for word in ("configured", "fitted", "bayesian", "stacking"))
    found = Parameters.read(tmp_path / "parameters.json")
    assert found.weights == Weights()
    assert set(found.calibration.provenance["fusion"]["ndcg@10"]) == {"page", "dusk"}
    assert len(list((tmp_path / "cache" / "quantum-rerank" / "judged").glob("*.npz"))) == 2
    assert run("fit", "page", "dusk", "--output", "again.json")[0] == 0
    assert (tmp_path / "again.json").read_text() == (tmp_path / "parameters.json").read_text()
    with serving(Settings(data_dir=tmp_path / "data", model="hash", parameters=tmp_path / "parameters.json")) as client:
        assert client.get("/info").json()["parameters"] == "parameters.json"
        meta = client.post("/rerank", json={"query": "owl", "documents": ["an owl", "a lamp"]}).json()["meta"]
        assert meta["calibrated"]


def test_weights_are_judged_as_the_weighted_sum_uses_them(tmp_path, run):
    assert run("fit", "page")[0] == 0
    plain = Parameters.read(tmp_path / "parameters.json")
    for name, value in {"ALGORITHM": "borda", "WEIGHTING": "equal", "FEEDBACK": "0.5"}.items():
        status, _, errors = run("fit", "page", **{f"QRERANK_FUSION__{name}": value})
        assert status == 0
        assert f"QRERANK_FUSION__{name}" in errors
        found = Parameters.read(tmp_path / "parameters.json")
        assert found.calibration.provenance["fusion"] == plain.calibration.provenance["fusion"]


def test_no_bandwidth_is_chosen_that_cannot_be_served():
    assert served_factors(feature_map(), 64) == [1.0, *BANDWIDTHS]
    assert max(served_factors(replace(feature_map(), bandwidth=10.0), 64)) == 2**0.5, "20 is more than a setting takes"
    assert served_factors(replace(feature_map(), bandwidth=0.15), 64) == [1.0, 2**0.5, 2.0]
    with pytest.raises(Saturated):
        check_spread(replace(feature_map(), bandwidth=0.15 * 0.5**0.5), 64)


def test_what_changes_the_lists_makes_new_ones(tmp_path, run):
    folder = tmp_path / "cache" / "quantum-rerank" / "judged"
    for number, variables in enumerate(
        ({}, {"QRERANK_FIRST_STAGE__LEXICAL": "2"}, {"QRERANK_LANGUAGE": "none"}, {"QRERANK_MIN_SCORE": "0.5"}), 1
    ):
        assert run("fit", "page", **variables)[0] == 0
        assert len(list(folder.glob("*.npz"))) == min(number, 3)


def test_a_query_that_finds_no_document_is_left_out(tmp_path, run):
    """By words alone nothing is found for a word that is nowhere."""
    with (tmp_path / "page" / "queries.jsonl").open("a") as lines:
        lines.write('\n{"_id": "zeppelin", "text": "zeppelin"}')
    with (tmp_path / "page" / "qrels" / "test.tsv").open("a") as lines:
        lines.write("zeppelin\t0\t1\n")
    for extra in ([], ["--calibration"]):
        status, _, errors = run("fit", "page", "dusk", *extra, QRERANK_FIRST_STAGE__DENSE="0")
        assert status == 0, errors
    (tmp_path / "page" / "queries.jsonl").write_text('{"_id": "zeppelin", "text": "zeppelin"}')
    status, _, errors = run("fit", "page", "dusk", QRERANK_FIRST_STAGE__DENSE="0")
    assert status == 1
    assert "page: none of the 1 queries finds a document" in errors


def test_the_progress_ends_where_the_work_does(run):
    status, _, errors = run("fit", "page", "dusk")
    assert status == 0
    assert "2/2" in next(line for line in errors.splitlines() if line.startswith("left out"))


def test_a_half_on_which_nothing_can_be_fitted_is_not_judged(tmp_path, run):
    """All documents are relevant to every other query, so nothing can be fitted on these."""
    judged = [f"{topic}\t{at}\t1" for topic in TOPICS[::2] for at in range(40)]
    judged += [f"{topic}\t{at}\t1" for topic in TOPICS[1::2] for at in range(3)]
    (tmp_path / "page" / "qrels" / "test.tsv").write_text("\n".join(judged) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.cli.fit.chosen", lambda dataset, queries, most: queries)  # noqa: ARG005 - in their order
        status, _, errors = run("fit", "page", "--calibration")
    assert status == 0, errors


def test_parameters_of_another_model_are_refused(tmp_path):
    other = replace(fallback(), model="other", digest="0" * 64)
    replace(PARAMETERS, calibration=other).write(tmp_path / "p.json")
    with pytest.raises(ParameterFileError, match=r"p\.json was fitted with 'other', which is not served"):
        open_reranker(Settings(model="hash", data_dir=tmp_path, parameters=tmp_path / "p.json"), lambda *_: None)


def test_one_collection_is_judged_on_its_other_half(tmp_path, run):
    status, said, errors = run("fit", "page", "--calibration")
    assert status == 0, errors
    assert "wrote calibration.json" in said
    assert set(Calibration.read(tmp_path / "calibration.json").provenance["held_out"]) == {"page, other half"}


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["page", "--output", "none/p.json"], 2, "No such file or directory"),
        (["none", "--calibration"], 2, "none"),
        (["page", "--calibration", "--output", "none/c.json"], 2, "No such file or directory"),
        (["page", "--calibration", "--queries", "0"], 2, "--queries"),
        (["page", "--queries", "1"], 1, "one query is too few"),
        (["page", "page"], 2, "two collections have the same name"),
        (["page", "dusk/../page", "--calibration"], 2, "two collections have the same name"),
        (["page", "unjudged"], 1, "unjudged/qrels/test.tsv: there is no such file"),
    ],
)
def test_what_cannot_be_fitted_is_said_before_any_work(tmp_path, run, words, status, message):
    (tmp_path / "unjudged").mkdir()
    found, _, errors = run("fit", *words, QRERANK_MODEL="no-such-model")
    assert found == status
    assert message in errors


def test_long_documents_are_fitted_as_they_are_served(tmp_path, run):
    """Split, each document's best passage counts, once; what is irrelevant is of other documents."""
    long = tmp_path / "page"
    lines = [json.loads(line) for line in (long / "corpus.jsonl").read_text().splitlines()]
    texts = [line | {"text": f"{'Words of no use here. ' * 40}{line['text']}."} for line in lines]
    (long / "corpus.jsonl").write_text("\n".join(map(json.dumps, texts)))
    sizes = ("--chunks", "sentence", "--chunk-size", "64")
    assert run("fit", "page", *sizes)[0] == 0
    kept = next((tmp_path / "cache" / "quantum-rerank" / "judged").glob("*.npz"))
    with np.load(kept) as arrays:
        owners, grades = arrays["owners"], arrays["grades"]
    assert any(np.bincount(row[row >= 0]).max() > 1 for row in owners), "several passages of a document are candidates"
    for row, of in zip(owners, grades, strict=True):
        assert all(len({*of[row == document].tolist()}) == 1 for document in {*row[row >= 0].tolist()})
    ndcg = Parameters.read(tmp_path / "parameters.json").calibration.provenance["fusion"]["ndcg@10"]
    evaluated = run("evaluate", "page", *sizes, "--methods", "hybrid", "--json", "-")[1]
    of_hybrid = json.loads(evaluated)["methods"]["hybrid"]["ndcg@10"]
    assert np.mean([row["configured"] for row in ndcg.values()]) == pytest.approx(of_hybrid, abs=1e-6)


def test_damaged_scores_are_computed_again(tmp_path, run):
    assert run("fit", "page")[0] == 0
    first = (tmp_path / "parameters.json").read_text()
    kept = next((tmp_path / "cache" / "quantum-rerank" / "judged").glob("*.npz"))
    for content in (b"", b"PK\x03\x04 and no more", b"random bytes", kept.read_bytes()[:-40]):
        kept.write_bytes(content)
        status, _, errors = run("fit", "page")
        assert status == 0
        assert f"{kept} is damaged, and is made again" in errors.replace("\n", " ")
        assert (tmp_path / "parameters.json").read_text() == first
    assert "damaged" not in run("fit", "page")[2]


def test_where_the_model_reads_no_query_it_is_said(tmp_path, run, monkeypatch):
    monkeypatch.setattr("app.ranking.reranker.is_read", lambda *_: False)
    status, _, errors = run("fit", "page", "dusk")
    assert status == 1
    assert "words alone rank them" in errors
    assert run("fit", "page", "dusk", "--calibration")[0] == 0


def test_of_a_single_collection_nothing_is_said_of_another(tmp_path, run):
    _, said, _ = run("fit", "page", "--calibration")
    assert "By the other half" in said
    held_out = Calibration.read(tmp_path / "calibration.json").provenance["held_out"]
    assert [each["other"] for each in held_out.values()] == [None]


def test_passages_of_a_single_collection_that_count_as_others_are_not_relevant(tmp_path, run):
    dataset = load(tmp_path / "page")
    reranker = open_reranker(Settings(model="hash", data_dir=tmp_path), lambda *_: None)
    place = open_dataset(dataset, reranker.encoder, tmp_path / "cache", lambda *_: None)
    judged = Judged(dataset, place, judged_queries(dataset))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.cli.fitting.CANDIDATES", 5)  # so that relevant documents are left that were not retrieved
        found = cases(reranker, [judged], lambda *_: None)
    for each in found:
        assert len(each.others) == OTHERS
        assert not any(dataset.qrels[each.query.id].get(dataset.document_ids[at], 0) for at in each.others.tolist())


@pytest.mark.parametrize("label", [True, False])
def test_nothing_can_be_fitted_on_documents_of_one_kind(label):
    with pytest.raises(DataError, match="no query has candidates of both kinds"):
        logistic(["cosine"], np.array([[0.1], [0.2]]), np.array([label, label]), np.ones(2))


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
    bins = reliability(calibration, found)
    assert (np.diff(bins[:, 0]) > 0).all()
    assert calibration_error(bins) < 0.1
    high, low = (dict.fromkeys(FEATURES["hybrid"], np.array([level])) | {"query_length": 2.0} for level in (0.8, 0.1))
    assert probability(calibration.log_odds("hybrid", high)) > 0.9
    assert probability(calibration.log_odds("hybrid", low)) < 0.1


class Words:
    """In place of a reranker: scores each passage by a table."""

    def __init__(self, table: dict[int, float]) -> None:
        self.table, self.lists = table, []

    def rank_passages(self, query, collection, positions):  # noqa: ARG002
        self.lists.append(positions.tolist())
        return SimpleNamespace(scores=np.array([self.table[at] for at in positions.tolist()]))


class Texts:
    """In place of a segment: eight passages, each a document."""

    def __len__(self) -> int:
        return 8

    def passages(self, positions):
        return [Passage(str(at), "", "") for at in positions.tolist()]


def case(relevant: list[int], same: list[int], others: list[int]) -> Case:
    dataset = BeirDataset("d", [str(at) for at in range(8)], [""] * 8, ["q"], ["?"], {"q": {"0": 1.0}})
    own, other = (Judged(dataset, Texts(), []) for _ in range(2))
    at = [np.array(each, dtype=np.int64) for each in ([0, 1, 2], relevant, [], same, others)]
    return Case(own, other, Query("q", "?", ()), *at)


def test_rates_are_shares_of_the_queries():
    """The bounds count as reached; a query without a group does not count for it."""
    reranker = Words({0: 0.5, 1: 0.2, 2: 0.1, 3: 0.3, 4: 0.31, 5: 0.3})
    result = rates(reranker, [case([0], [3], [5]), case([1, 0], [3, 4], [1]), case([], [], [4])])
    assert (result.queries, result.relevant, result.same, result.other) == (3, 0.5, 0.5, 2 / 3)
    assert result.lost == 0
    assert [0] in reranker.lists  # the best relevant one alone


def test_what_is_lost_by_splitting_is_a_difference_of_ndcg():
    class Alone(Words):
        """Turns the order around in a list of less than three."""

        def rank_passages(self, query, collection, positions):
            found = super().rank_passages(query, collection, positions)
            return found if len(positions) > 2 else SimpleNamespace(scores=-found.scores)

    result = rates(Alone({0: 0.9, 1: 0.5, 2: 0.1, 3: 0.1}), [case([], [], [3])])
    assert result.lost == pytest.approx(1 - 1 / 2)  # from rank 1 to rank 3: 1 / log2(4)
