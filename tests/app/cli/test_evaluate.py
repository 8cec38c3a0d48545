"""`qrerank evaluate`: errors before any work, and notes on the results."""

import json
import os
import re
import shutil
from functools import partial
from pathlib import Path

import pytest

from app.cli.terminal import out

CORPUS = {"a": "an owl song at dusk", "b": "market prices", "c": "river stone"}
NOWHERE = {"QRERANK_MODEL": "no-such-model"}  # an error before this one comes before a model is opened


@pytest.fixture
def beir(tmp_path):
    folder = tmp_path / "birds"
    (folder / "qrels").mkdir(parents=True)
    write_lines(folder / "corpus.jsonl", [{"_id": i, "title": "", "text": text} for i, text in CORPUS.items()])
    write_lines(folder / "queries.jsonl", [{"_id": "1", "text": "owl song"}, {"_id": "b", "text": "market prices"}])
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n")
    return folder


def write_lines(path, records):
    path.write_text("\n".join(map(json.dumps, records)))


@pytest.fixture
def evaluate(qrerank, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))  # else it lists all fonts anew
    monkeypatch.setattr(out, "width", 200)
    return partial(qrerank, "evaluate")


def figures(evaluate, *words):
    status, _, said = evaluate(*words, "--json", "out.json")
    assert status == 0, said
    with open("out.json") as file:  # noqa: PTH123 - in the current folder
        return json.load(file), said


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--json", "none/out.json"], 2, "'--json': none/out.json: No such file or directory"),
        (["--json", "."], 2, "'--json': . is a folder"),
        (["--json", "birds/corpus.jsonl/x"], 2, "'--json': birds/corpus.jsonl/x: Not a directory"),
        (["--exclude-file", "none.jsonl"], 2, "'--exclude-file': none.jsonl: No such file or directory"),
        (["--exclude-file", "birds"], 2, "'--exclude-file': birds is a folder"),
        (["--exclude-file", "unjudged.jsonl"], 1, "none of the 1 queries has a relevant document"),
        (["--exclude-file", "birds/corpus.jsonl"], 1, '"exclude" must be a list'),
        (["--split", "dev"], 1, "birds/qrels/dev.tsv: there is no such file; the splits that it has are test"),
        (["--methods", "[/x]"], 2, "unknown: [/x]"),
        (
            ["--methods", "hybrid,hybrid+cross"],
            2,
            "hybrid+cross needs a cross-encoder: set QRERANK_CROSS_ENCODER__MODEL",
        ),
        (["--baseline", "[/x]"], 2, "there is no row '[/x]'; choose from classical,"),
        (["--config", "f32"], 2, "'f32' is not NAME:key=value"),
        (["--config", "a b:candidates=3"], 2, "is not NAME:key=value"),
        (["--config", "x:candidates"], 2, "x: 'candidates' is not key=value"),
        (["--config", "x:candidates=0"], 2, "x: candidates: Input should be greater than or equal to 1"),
        (["--config", "x:first_stage.words=1"], 2, "x: first_stage.words: Extra inputs are not permitted"),
        (["--config", "x:candidates=3", "--config", "x:candidates=4"], 2, "'x' is given twice"),
        (["--config", "x:min_score=0.5"], 2, "x: min_score changes no ranking here"),
        (["--config", "x:candidates=3", "--candidates", "4"], 2, "x: candidates has no effect beside --candidates"),
        (["--config", "x:chunking.by=token", "--chunks", "none"], 2, "chunking.by has no effect beside --chunks"),
        (["--config", "x:CHUNKING__SIZE=9", "--chunks", "token"], 2, "chunking.size has no effect beside --chunks"),
        (["--config", "x:chunking.size=9", "--chunk-size", "8"], 2, "chunking.size has no effect beside --chunk-size"),
        (["--config", "x:chunking.overlap=1", "--overlap", "0"], 2, "chunking.overlap has no effect beside --overlap"),
        (
            ["--config", "x:first_stage.dense=0", "--first-stage", "dense"],
            2,
            "first_stage.dense has no effect beside --first-stage",
        ),
        (["--run-in", "none.run"], 2, "'--run-in': none.run: No such file or directory"),
        (["--run-in", "unknown.run"], 1, "unknown.run:1: document 'z' is not in corpus.jsonl"),
        (["--run-in", "nan.run"], 1, "nan.run:1: the score 'nan' is not a finite number"),
        (["--run-in", "hybrid.run"], 2, "'hybrid' is the name of another row; rename hybrid.run"),
        (["--run-in", "hybrid@x.run"], 2, "'hybrid@x' has '@', as rows of --config do; rename hybrid@x.run"),
        (["--report", "-"], 2, "'--report': it goes into a file; give its path"),
        (["--json", "a", "--report", "./a"], 2, "--json and --report name the same file; give two"),
        (["--run-out", "/dev/null/runs"], 1, "Not a directory; check the path"),
        (["--plots", "/dev/null/plots"], 1, "Not a directory; check the path"),
        (["--known-item", "title"], 1, "no document has a title of its own"),
        (["--known-item", "title", "--exclude-file", "unjudged.jsonl"], 2, "give one of them"),
        (["--known-item", "title", "--split", "dev"], 2, "--split names judgements"),
    ],
)
def test_invalid_arguments_are_rejected_before_any_work(evaluate, beir, words, status, message):
    write_lines(beir.parent / "unjudged.jsonl", [{"_id": "b", "text": "prices", "exclude": ["river"]}])
    for name, score, document in (
        ("unknown", "1", "z"),
        ("nan", "nan", "a"),
        ("hybrid", "1", "a"),
        ("hybrid@x", "1", "a"),
    ):
        (beir.parent / f"{name}.run").write_text(f"1 Q0 {document} 1 {score} x")
    ended, printed, said = evaluate("birds", *words, **NOWHERE)
    assert (ended, printed) == (status, "")
    assert message in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", '{"text": "an owl"}', 'there is no "_id"'),
        ("corpus.jsonl", '{"_id": "A", "text": "an owl"}', "none of the 1 relevant documents is in corpus.jsonl"),
        ("qrels/test.tsv", "1\ta\tgood\n1\tb\t1", "expected query-id, corpus-id and a number"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", "there is no judgement"),
        ("qrels/test.tsv", "1\ta\t0\n", "no score is above 0"),
    ],
)
def test_a_set_that_cannot_be_evaluated_is_refused_before_any_work(evaluate, beir, file, content, message):
    (beir / file).write_text(content)
    ended, printed, said = evaluate("birds", **NOWHERE)
    assert (ended, printed) == (1, "")
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_file_that_cannot_be_written_is_named(evaluate, beir):
    status, _, said = evaluate("birds", "--json", "/dev/full")
    assert status == 1
    assert said.splitlines()[-1] == "/dev/full: No space left on device; make room, or give another path"


def test_a_cache_that_cannot_be_made_is_named(evaluate, beir):
    status, _, said = evaluate("birds", XDG_CACHE_HOME="/dev/null")
    assert status == 1
    assert "set XDG_CACHE_HOME to a folder" in said.splitlines()[-1]


def test_skipped_judgements_are_noted(evaluate, beir):
    (beir / "qrels" / "dev.tsv").write_text("1\ta\t1.0\n1\tgone\t0.5\n9\ta\t1\n")
    results, stderr = figures(evaluate, "birds", "--split", "dev")
    assert (results["queries"], results["dataset"]) == (1, "birds")
    assert results["methods"]["hybrid"]["recall@100"] == 0.5
    assert stderr.splitlines()[-3:-1] == [
        "1 of 2 judged queries are not in queries.jsonl, and are left out",
        "1 of 2 relevant documents are not in corpus.jsonl, and count as not found",
    ]


def test_a_query_finds_the_document_of_its_own_id_only_where_that_is_asked_for(evaluate, beir):
    (beir / "qrels" / "test.tsv").write_text("b\tc\t1\n")
    results, stderr = figures(evaluate, "birds", "--candidates", "2")
    assert results["methods"]["classical"]["recall@2"] == 1.0
    assert "1 of 1 queries share their id with a document, which is excluded from their results; --keep-ident" in stderr
    kept, stderr = figures(evaluate, "birds", "--candidates", "2", "--keep-identical-ids")
    assert kept["methods"]["classical"]["mrr@10"] < results["methods"]["classical"]["mrr@10"]
    assert "share their id" not in stderr


def test_it_is_said_where_nothing_is_compared(evaluate, beir):
    told = "no row classical, so nothing is compared with it; add it to --methods, or name another --baseline"
    results, said = figures(evaluate, "birds", "--methods", "hybrid", "--report", "a.html")
    assert told in said.splitlines()
    assert results["paired"] == {}
    assert "compared with classical" not in (beir.parent / "a.html").read_text()
    results, said = figures(evaluate, "birds", "--methods", "hybrid", "--baseline", "bm25")
    assert "nothing is compared" not in said
    assert [*results["paired"]] == ["hybrid vs bm25"]


def test_a_folder_may_be_called_anything(evaluate, beir):
    for name in ("[x]:smile:\x1b[31m", os.fsdecode(b"caf\xe9"), "x" * 250):
        beir = beir.rename(beir.parent / name)
        status, printed, _ = evaluate(name)
        assert status == 0
        assert "\x1b" not in printed
    assert "x" * 50 in printed


def test_several_collections_make_a_list_and_a_mean(evaluate, beir):
    shutil.copytree(beir, beir.parent / "more")
    results, _ = figures(evaluate, "birds", "more")
    assert [result["dataset"] for result in results] == ["birds", "more"]
    assert results[0]["methods"].keys() == results[1]["methods"].keys()
    _, printed, _ = evaluate("birds", "more")
    assert "Mean of 2 collections" in printed


def test_exclusions_are_of_one_collection(evaluate, beir):
    (beir / "e.jsonl").write_text('{"_id": "1", "text": "owl", "exclude": ["dusk"]}')
    status, _, said = evaluate("birds", "birds", "--exclude-file", "birds/e.jsonl", **NOWHERE)
    assert status == 2
    assert "give one folder" in said


@pytest.mark.parametrize(("stage", "found"), [("dense", 0.0), ("lexical", 1.0)])
def test_the_first_stage_is_a_choice(evaluate, beir, stage, found):
    """By cosine the nearest passage is the one full of a common word; by words it is the one with the rare word."""
    write_lines(beir / "queries.jsonl", [{"_id": "1", "text": "the owl"}])
    corpus = {"a": "an owl in a big old barn at dusk", "b": "the the the"}
    write_lines(beir / "corpus.jsonl", [{"_id": i, "text": text} for i, text in corpus.items()])
    results, _ = figures(evaluate, "birds", "--first-stage", stage, "--candidates", "1")
    assert results["methods"]["hybrid"]["recall@1"] == found


def test_both_rankings_are_fused_as_the_settings_say(evaluate, beir):
    write_lines(beir / "queries.jsonl", [{"_id": "1", "text": "the owl"}])
    corpus = {"a": "an owl in a big old barn at dusk", "b": "the the the"}
    write_lines(beir / "corpus.jsonl", [{"_id": i, "text": text} for i, text in corpus.items()])
    for weight, found in (("0.5", 0.0), ("2", 1.0)):
        status, _, said = evaluate(
            "birds", "--candidates", "1", "--json", "out.json", QRERANK_FIRST_STAGE__LEXICAL=weight
        )
        assert status == 0, said
        results = json.loads((beir.parent / "out.json").read_text())
        assert results["methods"]["hybrid"]["recall@1"] == found


def test_a_query_whose_words_are_nowhere_finds_nothing_by_words(evaluate, beir):
    write_lines(beir / "queries.jsonl", [{"_id": "1", "text": "zeppelin"}])
    results, _ = figures(evaluate, "birds", "--first-stage", "lexical")
    assert {scores["ndcg@10"] for scores in results["methods"].values()} == {0.0}


def test_a_damaged_cache_says_what_to_do(evaluate, beir):
    assert evaluate("birds")[0] == 0
    (folder,) = (beir.parent / "cache" / "quantum-rerank" / "evaluated").iterdir()
    (folder / "spec.json").write_text("{}")
    status, _, said = evaluate("birds")
    assert status == 1
    assert f"{folder} cannot be used" in said
    assert "delete it, and it is made again" in said


@pytest.fixture
def judged(beir):
    """The birds with two judged queries."""
    (beir / "qrels" / "test.tsv").write_text("1\ta\t1\nb\tb\t1\nb\tc\t0\n")
    return beir


def test_a_configuration_is_a_row_beside_the_settings(evaluate, judged):
    results, _ = figures(
        evaluate, "birds", "--config", "one:candidates=1,CIRCUIT__QUBITS=2", "--config", "x:language=en"
    )
    rows = [f"{method}{name}" for name in ("", "@one", "@x") for method in ("classical", "quantum", "hybrid")]
    assert sorted(results["methods"]) == sorted([*rows, "bm25"])
    assert results["methods"]["hybrid@x"]["ndcg@10"] == results["methods"]["hybrid"]["ndcg@10"]
    assert {"hybrid@one vs hybrid", "hybrid@one vs classical", "hybrid@x vs hybrid"} <= set(results["paired"])
    _, printed, _ = evaluate("birds", "--config", "one:candidates=1", "--baseline", "hybrid@one")
    assert "birds: configurations" in printed
    assert "vs hybrid@one" in printed


def test_a_configuration_may_have_another_language(evaluate, beir):
    """Without stems the query's word is nowhere; with those of German it is in one document."""
    write_lines(beir / "queries.jsonl", [{"_id": "1", "text": "Katze"}])
    write_lines(beir / "corpus.jsonl", [{"_id": "a", "text": "drei Katzen"}, {"_id": "b", "text": "ein Hund"}])
    words = ("birds", "--first-stage", "lexical", "--config", "de:language=de", "--json", "out.json")
    status, _, said = evaluate(*words, QRERANK_LANGUAGE="none")
    assert status == 0, said
    results = json.loads((beir.parent / "out.json").read_text())
    assert results["methods"]["hybrid"]["recall@100"] == 0.0
    assert results["methods"]["hybrid@de"]["recall@100"] == 1.0


def test_a_configuration_may_have_another_diversity(evaluate, beir):
    """The two relevant documents are copies: with diversity the second one falls."""
    texts = {"a": "an owl song at dusk", "b": "an owl song at dusk", "c": "a song", "d": "river stone at dusk"}
    write_lines(beir / "corpus.jsonl", [{"_id": i, "text": text} for i, text in texts.items()])
    (beir / "qrels" / "test.tsv").write_text("1\ta\t1\n1\tb\t1\n")
    results, _ = figures(evaluate, "birds", "--config", "x:diversity=0.9")
    assert results["methods"]["hybrid"]["ndcg@10"] == 1.0
    assert results["methods"]["hybrid@x"]["ndcg@10"] < 1.0


def test_chunks_that_cannot_be_made_are_refused_before_any_configuration_is_ranked(evaluate, beir):
    status, printed, said = evaluate("birds", "--config", "x:chunking.by=token,chunking.size=4,chunking.overlap=5")
    assert (status, printed) == (2, "")
    assert "the chunks cannot be made" in said.splitlines()[-1]
    assert not (beir.parent / "cache" / "quantum-rerank" / "evaluated").exists()


def test_exclusions_of_queries_without_judgements_are_noted(evaluate, beir):
    queries = [{"_id": i, "text": "owl", "exclude": ["river"]} for i in ("1", "b", "unknown")]
    write_lines(beir / "e.jsonl", queries)
    results, said = figures(evaluate, "birds", "--exclude-file", "birds/e.jsonl")
    assert results["queries"] == 1
    assert "2 of 3 queries in birds/e.jsonl have no relevant document, and are left out" in said.splitlines()


def test_exclusions_may_be_of_queries_that_are_judged_and_nowhere_else(evaluate, beir):
    (beir / "qrels" / "test.tsv").write_text("x1\tc\t1\n")
    write_lines(beir / "e.jsonl", [{"_id": "x1", "text": "stone", "exclude": ["owl"]}])
    results, said = figures(evaluate, "birds", "--exclude-file", "birds/e.jsonl")
    assert results["queries"] == 1
    assert results["methods"]["hybrid"]["ndcg@10"] == 1.0
    assert "left out" not in said


def test_the_query_is_named_whose_exclusion_is_itself(evaluate, beir):
    write_lines(beir / "e.jsonl", [{"_id": "1", "text": "owl", "exclude": ["owl"]}])
    status, _, said = evaluate("birds", "--exclude-file", "birds/e.jsonl")
    assert status == 1
    assert "birds, query '1': excluded vector 0 is parallel to the query" in said


def test_what_more_candidates_allow_is_counted_whole(evaluate, beir):
    """The relevant document is the third of three; the other configuration ranks two."""
    write_lines(
        beir / "corpus.jsonl", [{"_id": name, "text": f"owl {'song ' * at}"} for at, name in enumerate("zyx", 1)]
    )
    (beir / "qrels" / "test.tsv").write_text("1\tz\t1\n1\ty\t1\n1\tx\t1\n")
    results, _ = figures(evaluate, "birds", "--config", "wide:candidates=3", "--config", "x:language=en", "--seed", "1")
    assert results["candidates"] == 100
    results, _ = figures(evaluate, "birds", "--config", "one:candidates=1", "--config", "all:candidates=300")
    assert results["candidates"] == 300
    assert results["methods"]["hybrid@one"]["recall@300"] == pytest.approx(1 / 3)
    assert {results["methods"][name]["recall@300"] for name in ("hybrid", "hybrid@all", "bm25")} == {1.0}


def test_runs_go_out_and_come_in(evaluate, judged):
    ours, _ = figures(evaluate, "birds", "--run-out", "runs")
    assert sorted(path.name for path in (judged.parent / "runs").iterdir()) == [
        f"birds.{name}.run" for name in ("bm25", "classical", "hybrid", "quantum")
    ]
    back, _ = figures(evaluate, "birds", "--run-in", "runs/birds.hybrid.run", "--baseline", "birds.hybrid")
    theirs = back["methods"]["birds.hybrid"]
    assert theirs == {name: ours["methods"]["hybrid"][name] for name in theirs}
    assert back["paired"]["hybrid vs birds.hybrid"]["p"] == 1.0
    (judged.parent / "part.run").write_text("1 Q0 a 1 1 x\n")
    part, said = figures(evaluate, "birds", "--run-in", "part.run")
    assert part["methods"]["part"]["ndcg@10"] == 0.5
    assert "part ranks nothing for 1 of 2 queries, which score 0" in said


@pytest.mark.parametrize(("file", "name"), [("corpus", "b c"), ("queries", "q\u00a0"), ("queries", "q\u2028")])
def test_ids_that_no_run_can_hold_are_refused_before_any_work(evaluate, beir, file, name):
    with (beir / f"{file}.jsonl").open("a") as lines:
        lines.write("\n" + json.dumps({"_id": name, "text": "an owl"}))
    with (beir / "qrels" / "test.tsv").open("a") as lines:
        lines.write(f"{name}\ta\t1\n")
    ended, printed, said = evaluate("birds", "--run-out", "runs", **NOWHERE)
    assert (ended, printed) == (1, "")
    assert "has white space, which separates the columns of a TREC run" in said


def test_a_folder_without_judgements_is_evaluated_by_known_items(evaluate, beir):
    shutil.rmtree(beir / "qrels")
    (beir / "queries.jsonl").unlink()
    texts = {"a": "An owl sings at dusk. Its barn is old.", "b": "The prices have risen. Apples cost most.", "c": "x"}
    write_lines(beir / "corpus.jsonl", [{"_id": i, "text": text} for i, text in texts.items()])
    status, _, said = evaluate("birds", **NOWHERE)
    assert status == 1
    assert "--known-item title" in said
    results, said = figures(evaluate, "birds", "--known-item", "sentence")
    assert (results["queries"], results["judgements"]) == (2, "known items: sentence")
    assert "each query is the first sentence of a document" in said
    one, said = figures(evaluate, "birds", "--known-item", "sentence", "--queries", "1", "--seed", "3")
    assert one["queries"] == 1
    assert one["paired"]["hybrid vs classical"]["p"] is None
    assert "birds has one query: nothing can be said of chance, so there is no p" in said


def test_results_and_report_are_the_same_bytes_each_time_and_fetch_nothing(evaluate, judged):
    texts = {"1": "<script>the owl", "b": "$x^2$"}  # by cosine the nearest text is the one of a common word
    write_lines(judged / "queries.jsonl", [{"_id": i, "text": text} for i, text in texts.items()])
    corpus = {"a": "an owl in a big old barn at dusk", "b": "the the the", "c": "script"}
    write_lines(judged / "corpus.jsonl", [{"_id": i, "text": text} for i, text in corpus.items()])
    name = "café & <b>$"
    judged.rename(judged.parent / name)
    written = []
    for more in (["--plots", "plots"], []):
        words = ("--no-times", "--json", "a.json", "--report", "a.html", "--cache", "kept", *more)
        status, _, said = evaluate(name, *words)
        assert status == 0, said
        written.append([(judged.parent / file).read_bytes() for file in ("a.json", "a.html")])
    assert written[0] == written[1]
    assert len(list((judged.parent / "kept").iterdir())) == 1
    assert not (judged.parent / "cache" / "quantum-rerank" / "evaluated").exists()
    page = written[0][1].decode()
    outside = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!#)([^"')\s]+)""", page)
    assert [place for place in outside if not place.startswith("#")] == []
    assert "<script" not in page
    assert "&lt;script&gt;the owl" in page
    assert page.count("<svg") == 2
    assert "café &amp; &lt;b&gt;$" in page
    assert {path.name for path in (judged.parent / "plots").iterdir()} == {"overview.png", f"{name}.differences.png"}


def test_a_report_needs_matplotlib(evaluate, beir, monkeypatch):
    monkeypatch.setattr("app.cli.evaluate.find_spec", lambda _: None)
    status, _, said = evaluate("birds", "--report", "a.html", **NOWHERE)
    assert status == 2
    assert "pip install 'quantum-rerank[draw]'" in said
