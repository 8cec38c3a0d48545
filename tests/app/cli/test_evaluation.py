import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from app.cli.evaluation import BM25, Case, judged_queries, open_dataset, own_documents, rank, run_of, sampled
from app.cli.results import Evaluation, compared, scored
from app.cli.tables import evaluated
from app.ranking.methods import METHODS
from app.ranking.reranker import Reranker
from retrieval.errors import DataError
from retrieval.evaluation.beir import BeirDataset, Query
from retrieval.evaluation.metrics import ndcg
from retrieval.evaluation.significance import holm
from retrieval.evaluation.trec_runs import write_run
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


def evaluate(reranker, dataset, collection, queries, methods, k=100, *, keep_identical_ids=False, runs=None, **options):
    """The evaluation of one case by one reranker."""
    search = partial(reranker.search, candidates=k, grouped=True, **options)
    case = Case(dataset, queries, "by hand")
    ranked = rank(search, case, collection, methods, quiet, keep_identical_ids=keep_identical_ids)
    rows = scored(ranked | (runs or {}), {query.id: dataset.qrels[query.id] for query in queries}, k)
    texts = {query.id: query.text for query in queries}
    (result,) = compared([Evaluation(dataset.name, "by hand", "m", "f32", "both", k, texts, rows, "classical")])
    return result


def test_the_dataset_is_encoded_once_for_its_content(dataset, reranker, tmp_path):
    reports = []
    for _ in range(2):
        open_dataset(dataset, reranker.encoder, tmp_path, lambda *report: reports.append(report))
    assert [done for _, done, _ in reports] == [0, len(DOCUMENTS)]
    changed = BeirDataset("birds", ["a"], ["another text"], [], [], {})
    open_dataset(changed, reranker.encoder, tmp_path, quiet)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_corpus_whose_titles_move_is_another_one(dataset, reranker, tmp_path):
    """Title and text joined are the same; what is split into chunks is not."""
    corpora = [[Passage("a", "Owls at", "dusk")], [Passage("a", "Owls", "at dusk")]]
    assert len({corpus[0].content for corpus in corpora}) == 1
    for corpus in corpora:
        moved = replace(dataset, document_ids=["a"], documents=["Owls at dusk"], corpus=corpus)
        place = open_dataset(moved, reranker.encoder, tmp_path, quiet, Chunking("sentence"))
        assert place.passages(np.array([0]))[0].title == corpus[0].title


def test_a_corpus_is_encoded_for_each_language(dataset, reranker, tmp_path):
    places = [open_dataset(dataset, reranker.encoder, tmp_path, quiet, language=each) for each in ("de", "none")]
    assert [place.language for place in places] == ["de", "none"]


def test_figures_are_those_of_reranking_by_hand(dataset, collection, reranker: Reranker):
    result = evaluate(reranker, dataset, collection, judged_queries(dataset), METHODS, 4)
    assert set(result.methods) == {*METHODS, BM25}
    for method in METHODS:
        run = {}
        for query_id in ("q1", "q2"):
            positions, ranking = reranker.search(QUERIES[query_id], collection, candidates=4, method=method)
            run[query_id] = [list(DOCUMENTS)[positions[i]] for i in ranking.order]
        np.testing.assert_allclose(result.methods[method].by_query["ndcg@10"], list(ndcg(run, QRELS).values()))
        assert result.methods[method].ceiling == 1.0
    assert [(each.one, each.other) for each in result.paired] == [
        ("bm25", "classical"),
        ("quantum", "classical"),
        ("hybrid", "classical"),
    ]
    hybrid = result.versus("hybrid")
    assert 0 < hybrid.p <= hybrid.p_holm <= 1
    assert hybrid.better + hybrid.worse <= 2


def test_json_has_the_promised_keys(dataset, collection, reranker):
    result = evaluate(reranker, dataset, collection, judged_queries(dataset), ["classical", "hybrid"], 3)
    written = result.as_json()
    assert {"dataset", "queries", "candidates", "methods", "paired", "ndcg@10_by_query"} <= set(written)
    assert (written["dataset"], written["queries"], written["candidates"]) == ("birds", 2, 3)
    metrics = {"ndcg@10", "mrr@10", "recall@3", "map@3", "unjudged@10", "ceiling_ndcg@10"}
    times = {"ms_per_query", "rerank_ms_p50", "rerank_ms_p95"}
    assert set(written["methods"]["hybrid"]) == metrics | times
    assert set(result.as_json(times=False)["methods"]["hybrid"]) == metrics
    assert set(written["paired"]["hybrid vs classical"]) == {"delta", "p", "p_holm", "better", "worse"}
    by_query = written["ndcg@10_by_query"]
    assert list(by_query) == ["q1", "q2"]
    mean = np.mean([each["hybrid"] for each in by_query.values()])
    assert written["methods"]["hybrid"]["ndcg@10"] == pytest.approx(mean)


def test_without_the_baseline_nothing_is_compared(dataset, collection, reranker):
    assert evaluate(reranker, dataset, collection, judged_queries(dataset), ["quantum"]).paired == []


def test_one_query_gives_no_p(dataset, collection, reranker):
    result = evaluate(reranker, dataset, collection, judged_queries(dataset)[:1], METHODS)
    assert {(each.p, each.p_holm) for each in result.paired} == {(None, None)}
    evaluated(result)


def test_p_values_are_corrected_over_all_collections(dataset, collection, reranker):
    one = evaluate(reranker, dataset, collection, judged_queries(dataset), METHODS)
    both = compared([one, one])
    expected = holm([each.p for each in one.paired] * 2)
    assert [each.p_holm for result in both for each in result.paired] == expected


def test_a_configuration_is_compared_with_the_same_method(dataset, collection, reranker):
    result = evaluate(reranker, dataset, collection, judged_queries(dataset), ["classical", "hybrid"])
    rows = {**result.methods, "hybrid@words": result.methods["classical"]}
    (again,) = compared([replace(result, methods=rows)])
    assert again.versus("hybrid@words", "hybrid").delta == pytest.approx(-again.versus("hybrid").delta)
    assert again.versus("hybrid@words").delta == 0.0


def test_a_configuration_as_the_baseline_is_tested_once(dataset, collection, reranker):
    """Two tests of the same pair would be corrected for as two."""
    result = evaluate(reranker, dataset, collection, judged_queries(dataset), ["classical", "hybrid"])
    rows = {**result.methods, "hybrid@words": result.methods["classical"]}
    (again,) = compared([replace(result, methods=rows, baseline="hybrid@words")])
    pairs = [frozenset((each.one, each.other)) for each in again.paired]
    assert len(set(pairs)) == len(pairs) == 3
    assert again.versus("hybrid") is not None


def test_a_run_made_elsewhere_is_scored_beside_ours(dataset, collection, reranker, tmp_path):
    """What we wrote scores as it did, and a document of the query's id is left out of it too."""
    queries = judged_queries(dataset)
    ours = evaluate(reranker, dataset, collection, queries, METHODS)
    file = tmp_path / "elsewhere.run"
    write_run(file, ours.methods["hybrid"].ranked.run, "x")
    again = evaluate(reranker, dataset, collection, queries, METHODS, runs={"x": run_of(file, dataset, queries, False)})
    for metric, values in ours.methods["hybrid"].by_query.items():
        np.testing.assert_array_equal(again.methods["x"].by_query[metric], values)
    assert again.versus("x").delta == again.versus("hybrid").delta
    named = BeirDataset("x", ["q1", "c"], ["owl", "song"], ["q1"], ["owl song"], {"q1": {"c": 1}})
    file.write_text("q1 Q0 q1 1 2 x\nq1 Q0 c 2 1 x\n")
    assert run_of(file, named, queries[:1], False).run == {"q1": [("c", 1.0)]}
    assert len(run_of(file, named, queries[:1], True).run["q1"]) == 2


def test_a_sample_is_the_same_for_a_seed_and_in_order():
    queries = [Query(str(at), "text", ()) for at in range(30)]
    some = sampled(queries, 10, 0)
    assert some == sampled(queries, 10, 0) != sampled(queries, 10, 1)
    assert some == sorted(some, key=lambda query: int(query.id))
    assert sampled(queries, None, 0) == sampled(queries, 30, 0) == queries


def test_exclusions_replace_the_queries(dataset, collection, reranker):
    exclusions = [Query("q1", "owl", ("dusk",))]
    result = evaluate(reranker, dataset, collection, judged_queries(dataset, exclusions), ["classical"])
    assert list(result.queries) == ["q1"]
    positions, ranking = reranker.search("owl", collection, method="classical", exclude=("dusk",))
    run = {"q1": [list(DOCUMENTS)[positions[i]] for i in ranking.order]}
    expected = [ndcg(run, {"q1": QRELS["q1"]})["q1"]]
    np.testing.assert_allclose(result.methods["classical"].by_query["ndcg@10"], expected)


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
    left_out = evaluate(reranker, arguments, collection, queries, METHODS, candidates)
    recall = f"recall@{candidates}"
    assert {name: (scores.ndcg, scores.mean(recall)) for name, scores in left_out.methods.items()} == dict.fromkeys(
        [*METHODS, BM25], (1.0, 1.0)
    )
    kept = evaluate(reranker, arguments, collection, queries, METHODS, candidates, keep_identical_ids=True)
    assert kept.methods["classical"].mean("mrr@10") == (0.0 if candidates == 1 else 0.5)


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
        result = evaluate(real_reranker, reports, collection, judged, METHODS, 3)
        mrr[by] = [result.methods[method].mean("mrr@10") for method in METHODS]
    assert mrr["sentence"] == [1.0, 1.0, 1.0]
    assert max(mrr["none"]) < 1


@pytest.mark.parametrize("name", ["x" * 250, os.fsdecode(b"caf\xe9"), "\x1b[31m[/x]", "..", "日本"])
def test_a_dataset_may_be_called_anything(dataset, reranker, tmp_path, name):
    for _ in range(2):
        assert len(open_dataset(replace(dataset, name=name), reranker.encoder, tmp_path / "kept", quiet)) == 5
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_the_table_has_a_row_a_method(dataset, collection, reranker):
    result = evaluate(reranker, dataset, collection, judged_queries(dataset), METHODS)
    assert evaluated(result).row_count == 4
