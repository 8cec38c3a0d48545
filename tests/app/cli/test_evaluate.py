"""`qrerank evaluate`: errors before any work, and notes on the results."""

import json
import os
import shutil
import sys

import pytest

from app.cli import main as cli

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
def evaluate(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QRERANK_MODEL", "hash")
    monkeypatch.setenv("QRERANK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*words, **variables):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["qrerank", "evaluate", *map(str, words)])
            for name, value in variables.items():
                patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                cli.main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


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
    ],
)
def test_invalid_arguments_are_rejected_before_any_work(evaluate, beir, words, status, message):
    write_lines(beir.parent / "unjudged.jsonl", [{"_id": "b", "text": "prices", "exclude": ["river"]}])
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
    assert stderr.splitlines()[-2:] == [
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
