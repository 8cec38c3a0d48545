"""`--json` prints one JSON document, in which programs find what people see; the shell completes names."""

import json
import sys
from pathlib import Path

import pytest

from app.cli.collection_access import names
from app.cli.main import main

PROGRAM = Path(sys.executable).parent / "qrerank"


@pytest.fixture
def told(qrerank, tmp_path):
    """A function that runs a command with `--json` and returns what it printed; a collection `birds` is there."""
    (tmp_path / "birds.txt").write_text("owls hunt at night\nlarks sing at dawn\n")
    passages = {"owl": "owls hunt at night", "lark": "larks sing at dawn", "goose": "geese fly in autumn"}
    lines = [json.dumps({"_id": name, "text": text}) for name, text in passages.items()]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines[:2]))
    (tmp_path / "more.jsonl").write_text(lines[2])

    def run(*words, status=0):
        ended, printed, said = qrerank(*words, "--json")
        assert ended == status, said
        assert printed.isascii()
        return json.loads(printed)

    assert run("index", "build", "birds", "corpus.jsonl")["whole"]
    return run


def test_rankings_have_the_fields_of_the_service(told):
    for words in (("rerank", "owls", "birds.txt"), ("search", "owls", "--collection", "birds")):
        best = told(*words, "--top-n", "1")["results"]
        assert [row["document"]["text"] for row in best] == ["owls hunt at night"]
        assert 0 < best[0]["relevance_score"] < 1
        assert {"classical", "quantum"} <= set(best[0]["scores"])
        assert ("id" in best[0]["document"]) == (words[0] == "search")


def test_a_search_tells_which_part_of_which_document_it_found(told, tmp_path):
    text = "Larks sing at dawn, and geese fly in autumn. " * 9 + "Owls hunt at night."
    (tmp_path / "long.jsonl").write_text(json.dumps({"_id": "birds", "text": text}))
    told("index", "build", "parts", "long.jsonl", "--chunks", "sentence", "--chunk-size", "32")
    found = told("search", "owls", "--collection", "parts")["results"][0]["document"]
    assert found["id"] == "birds"
    assert found["text"] == text[found["chunk"]["start"] : found["chunk"]["end"]] != text


def test_collections_are_told_as_numbers(told):
    assert told("index", "add", "birds", "more.jsonl") == {"collection": "birds", "changed": 1, "documents": 3}
    (listed,) = told("index", "list")["data"]
    assert (listed["name"], listed["documents"], listed["failed"], listed["aliases"]) == ("birds", 3, 0, [])
    stats = told("index", "stats", "birds")
    assert (stats["documents"], stats["waiting"], stats["encoding"], stats["whole"]) == (3, 0, None, True)
    assert told("index", "verify", "birds") == {"name": "birds", "whole": True, "faults": []}
    assert told("index", "alias", "air", "birds")["collection"] == "birds"
    assert told("index", "alias", "air", "--delete")["collection"] is None
    assert told("index", "compact", "birds")["bytes"] > 0
    assert told("index", "jobs", "birds")["data"] == []
    assert told("index", "encode", "birds", "--cancel") == {"collection": "birds", "cancelled": False}
    assert told("index", "encode", "birds", "--model", "hash")["model"] == "hash"
    assert told("index", "delete", "birds", "owl", "none")["deleted"] == 1
    assert told("index", "delete", "birds", "--all") == {"object": "collection.deleted", "name": "birds"}


def test_models_are_told(told):
    assert told("prepare")["models"] == [{"model": "hash", "arithmetic": "numpy-f32", "kind": "encoder"}]


def test_an_evaluation_is_printed_in_place_of_the_tables(qrerank, tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "owls"}\n{"_id": "b", "text": "larks"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "owls"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("q\td\tscore\n1\ta\t1\n")
    status, printed, _ = qrerank("evaluate", tmp_path, "--json", "-", "--no-times")
    assert status == 0
    assert json.loads(printed)["methods"]["hybrid"]["ndcg@10"] == 1
    assert not (tmp_path / "-").exists()


def test_the_shell_is_offered_collections_and_aliases_that_begin_so(told, monkeypatch):
    told("index", "alias", "bees", "birds")
    assert [names(""), names("bi"), names("x")] == [["bees", "birds"], ["birds"], []]
    monkeypatch.setenv("QRERANK_LIMITS__DOCUMENTS", "0")
    assert names("") == []


@pytest.mark.soak
@pytest.mark.parametrize(
    ("words", "offered"),
    [("qrerank index st", ["stats"]), ("qrerank do", ["doctor"]), ("qrerank index stats bi", ["birds"])],
)
def test_the_shell_completes_commands_and_collections(tmp_path, monkeypatch, capsys, words, offered):
    (tmp_path / "collections" / "birds").mkdir(parents=True)
    completing = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "_QRERANK_COMPLETE": "complete_bash",
        "QRERANK_DATA_DIR": str(tmp_path),
    }
    for name, value in completing.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["qrerank"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.split() == offered
