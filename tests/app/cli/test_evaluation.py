import os
from dataclasses import replace

import numpy as np
import pytest

from app.cli.evaluation import BM25, SearchOptions, evaluate, judged_queries, open_dataset, own_documents
from app.cli.tables import evaluated
from app.ranking.methods import METHODS
from app.ranking.reranker import Reranker
from retrieval.errors import DataError
from retrieval.evaluation.beir import BeirDataset, Query
from retrieval.evaluation.metrics import ndcg
from retrieval.text.passages import Passage
from retrieval.text.splitters import Chunking

DOCUMENTS = {"a": "owl at dusk", "b": "market prices", "c": "owl song by the river", "d": "river stone", "e": ""}
QUERIES = {"q1": "owl song", "q2": "stone river", "q3": "nothing relevant here"}
QRELS = {"q1": {"c": 2, "a": 1}, "q2": {"d": 1}, "q3": {"a": 0}}


def quiet(step: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def dataset() -> BeirDataset:
    return BeirDataset("birds", list(DOCUMENTS), list(DOCUMENTS.values()), list(QUERIES), list(QUERIES.values()), QRELS)


@pytest.fixture
def collection(dataset, reranker, tmp_path):
    return open_dataset(dataset, reranker.encoder, tmp_path, quiet)


def test_the_dataset_is_encoded_once_for_its_content(dataset, reranker, tmp_path):
    reports = []
    for _ in range(2):
        open_dataset(dataset, reranker.encoder, tmp_path, lambda *report: reports.append(report))
    assert [done for _, done, _ in reports] == [0, len(DOCUMENTS)]
    changed = BeirDataset("birds", ["a"], ["another text"], [], [], {})
    open_dataset(changed, reranker.encoder, tmp_path, quiet)
    assert len(list(tmp_path.iterdir())) == 2


def test_figures_are_those_of_reranking_by_hand(dataset, collection, reranker: Reranker):
    result = evaluate(reranker, dataset, collection, judged_queries(dataset), METHODS, quiet, SearchOptions(4))
    assert (result.dataset, result.encoder, result.queries, result.candidates) == ("birds", "numpy-f32", 2, 4)
    assert set(result.methods) == {*METHODS, BM25}
    for method in METHODS:
        run = {}
        for query_id in ("q1", "q2"):
            positions, ranking = reranker.search(QUERIES[query_id], collection, candidates=4, method=method)
            run[query_id] = [list(DOCUMENTS)[positions[i]] for i in ranking.order]
        np.testing.assert_allclose(result.methods[method].by_query, list(ndcg(run, QRELS).values()))
    assert set(result.paired) == {"bm25 vs classical", "quantum vs classical", "hybrid vs classical"}
    assert 0 < result.paired["hybrid vs classical"].p <= 1


def test_json_has_the_promised_keys(dataset, collection, reranker):
    written = evaluate(
        reranker, dataset, collection, judged_queries(dataset), ["classical", "hybrid"], quiet, SearchOptions(3)
    ).as_json()
    assert set(written) == {"dataset", "queries", "candidates", "methods", "paired"}
    assert set(written["methods"]["hybrid"]) == {"ndcg@10", "mrr@10", "recall@3", "ms_per_query"}
    assert set(written["paired"]["hybrid vs classical"]) == {"delta", "p"}


def test_without_the_baseline_nothing_is_compared(dataset, collection, reranker):
    assert evaluate(reranker, dataset, collection, judged_queries(dataset), ["quantum"], quiet).paired == {}


def test_exclusions_replace_the_queries(dataset, collection, reranker):
    exclusions = [Query("q1", "owl", ("dusk",))]
    result = evaluate(reranker, dataset, collection, judged_queries(dataset, exclusions), ["classical"], quiet)
    assert result.queries == 1
    positions, ranking = reranker.search("owl", collection, method="classical", exclude=("dusk",))
    run = {"q1": [list(DOCUMENTS)[positions[i]] for i in ranking.order]}
    np.testing.assert_allclose(result.methods["classical"].by_query, [ndcg(run, {"q1": QRELS["q1"]})["q1"]])


def test_an_encode_limit_reaches_the_reranker(dataset, collection, reranker):
    encoded = []

    class Recording(Reranker):
        def search(self, *args, **kwargs):
            positions, ranking = super().search(*args, **kwargs)
            encoded.append(ranking.encoded)
            return positions, ranking

    evaluate(
        Recording(reranker.encoder),
        dataset,
        collection,
        judged_queries(dataset),
        ["classical"],
        quiet,
        SearchOptions(encode_limit=2),
    )
    assert encoded == [2, 2]


def test_no_judged_query_is_an_error(dataset):
    assert judged_queries(dataset) == [Query("q1", "owl song", ()), Query("q2", "stone river", ())]
    with pytest.raises(DataError, match="none of the 1 queries"):
        judged_queries(dataset, [Query("q3", "x", ("y",))])


ARGUMENTS = {
    "a": "school uniforms make pupils equal",
    "b": "school uniforms make no pupils equal",
    "c": "zoos protect rare animals",
    "d": "zoos cage rare animals",
}


@pytest.fixture
def arguments():
    """A dataset like ArguAna: each query is a document, and its counter-argument is the relevant one."""
    qrels = {"a": {"b": 1}, "c": {"d": 1, "c": 0}}
    texts = list(ARGUMENTS.values())
    return BeirDataset("arguments", list(ARGUMENTS), texts, list(qrels), [ARGUMENTS[i] for i in qrels], qrels)


@pytest.mark.parametrize("candidates", [1, 2, 100])
def test_a_query_does_not_find_itself_and_another_takes_its_place(arguments, reranker, tmp_path, candidates):
    collection = open_dataset(arguments, reranker.encoder, tmp_path, quiet)
    queries = judged_queries(arguments)
    left_out = evaluate(reranker, arguments, collection, queries, METHODS, quiet, SearchOptions(candidates))
    assert {name: (scores.ndcg, scores.recall) for name, scores in left_out.methods.items()} == dict.fromkeys(
        [*METHODS, BM25], (1.0, 1.0)
    )
    kept = evaluate(
        reranker, arguments, collection, queries, METHODS, quiet, SearchOptions(candidates, keep_identical_ids=True)
    )
    assert kept.methods["classical"].mrr == (0.0 if candidates == 1 else 0.5)


def test_a_document_of_a_querys_id_that_is_judged_relevant_is_another_one(arguments):
    assert own_documents(arguments) == {"a": 0, "c": 2}
    arguments.qrels["c"]["c"] = 1
    assert own_documents(arguments) == {"a": 0}


def test_long_documents_count_as_their_best_chunks(real_reranker, tmp_path):
    """Only what is beyond the 256 tokens that the model reads at once tells the documents apart."""
    filler = "The report is about the accounts of the year and the plans for the next one. " * 30
    ends = {
        "owl": "Owls hunt mice at night.",
        "tea": "Green tea is grown on the hills of Uji.",
        "ship": "The ferry to the island leaves at noon.",
        "star": "A comet was seen by telescope in June.",
    }
    queries = {"q1": "which bird hunts in the dark", "q2": "when does the boat go"}
    qrels = {"q1": {"owl": 1}, "q2": {"ship": 1}}
    corpus = [Passage(name, "Report", filler + text) for name, text in ends.items()]
    texts = [passage.content for passage in corpus]
    reports = BeirDataset("long", list(ends), texts, list(queries), list(queries.values()), qrels, (), corpus)
    mrr = {}
    for by in ("none", "sentence"):
        collection = open_dataset(reports, real_reranker.encoder, tmp_path, quiet, Chunking(by))
        assert collection.owners(np.arange(len(collection))).max() == 3
        judged = judged_queries(reports)
        result = evaluate(real_reranker, reports, collection, judged, METHODS, quiet, SearchOptions(3))
        mrr[by] = [result.methods[method].mrr for method in METHODS]
    assert mrr["sentence"] == [1.0, 1.0, 1.0]
    assert max(mrr["none"]) < 1


@pytest.mark.parametrize("name", ["x" * 250, os.fsdecode(b"caf\xe9"), "\x1b[31m[/x]", "..", "日本"])
def test_a_dataset_may_be_called_anything(dataset, reranker, tmp_path, name):
    for _ in range(2):
        assert len(open_dataset(replace(dataset, name=name), reranker.encoder, tmp_path / "kept", quiet)) == 5
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_the_table_has_a_row_a_method(dataset, collection, reranker):
    result = evaluate(reranker, dataset, collection, judged_queries(dataset), METHODS, quiet)
    assert evaluated(result).row_count == 4
