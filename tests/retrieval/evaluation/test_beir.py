"""Reading test collections: valid data, and the error for each kind of malformed line."""

import os
from pathlib import Path

import pytest

from retrieval.errors import DataError
from retrieval.evaluation.beir import BeirDataset, Query, load, load_exclusions, read_documents, read_passages
from retrieval.store.rows import Document
from retrieval.text.passages import Passage

CORPUS = """{"_id": "d1", "title": "Owls", "text": "hunt mice"}

{"_id": "d2", "title": "", "text": "finches\\u2028sing"}
{"_id": 3, "text": "", "title": null, "metadata": {}}
"""
QUERIES = """{"_id": "q2", "text": "who sings"}
{"_id": "q1", "text": "who hunts"}
{"_id": "q3", "text": "who was never judged"}
"""
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\tgone\t1\nq2\td2\t1\nq2\t3\t0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "birds" / "qrels").mkdir(parents=True)
    (tmp_path / "birds" / "corpus.jsonl").write_text(CORPUS, encoding="utf-8")
    (tmp_path / "birds" / "queries.jsonl").write_text(QUERIES, encoding="utf-8")
    (tmp_path / "birds" / "qrels" / "test.tsv").write_text(QRELS, encoding="utf-8")
    return tmp_path / "birds"


def test_loads_what_is_judged_in_the_order_of_the_queries(folder: Path) -> None:
    data = load(folder)
    assert data == BeirDataset(
        "birds",
        ["d1", "d2", "3"],
        ["Owls hunt mice", "finches\u2028sing", ""],
        ["q2", "q1"],
        ["who sings", "who hunts"],
        {"q2": {"d2": 1, "3": 0}, "q1": {"d1": 2, "gone": 1}},
        ("1 of 3 relevant documents are not in corpus.jsonl, and count as not found",),
        [Passage("d1", "Owls", "hunt mice"), Passage("d2", "", "finches\u2028sing"), Passage("3", "", "")],
    )
    assert list(data.qrels) == data.query_ids


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", b'{"_id": "a", "text": "b"}\n{"_id": "b"', r"corpus.jsonl:2: not JSON"),
        ("corpus.jsonl", b'["a"]', "corpus.jsonl:1: each line must be one JSON object"),
        ("corpus.jsonl", b'{"_id": "a"}', r'corpus.jsonl:1: there is no "text" among its fields \(_id\)'),
        ("corpus.jsonl", b'{"_id": "a", "text": 7}', 'corpus.jsonl:1: "text"'),
        ("corpus.jsonl", b'{"_id": "a", "text": "", "title": []}', 'corpus.jsonl:1: "title"'),
        ("corpus.jsonl", b'{"_id": true, "text": ""}', 'corpus.jsonl:1: "_id"'),
        ("corpus.jsonl", b'{"_id": "", "text": ""}', 'corpus.jsonl:1: "_id"'),
        ("corpus.jsonl", b'{"_id": null, "text": ""}', 'corpus.jsonl:1: "_id"'),
        ("corpus.jsonl", b'{"_id": "d1", "text": ""}\n{"id": "d2", "text": ""}', 'corpus.jsonl:2: there is no "_id"'),
        ("corpus.jsonl", '{"_id": "a"}'.encode("utf-16"), "corpus.jsonl:1: not UTF-8 at byte 0"),
        ("corpus.jsonl", b'{"_id": "a", "text": "\xff"}', "corpus.jsonl:1: not UTF-8 at byte 22"),
        ("corpus.jsonl", b'{"_id": "a", "text": "\\ud800"}', "corpus.jsonl:1: not JSON"),
        ("corpus.jsonl", b'{"_id": "1", "text": ""}\n\n{"_id": 1, "text": ""}', "corpus.jsonl:3: id '1' occurs twice"),
        ("queries.jsonl", b'{"_id": "q1", "text": " "}', 'queries.jsonl:1: "text" must be a non-blank string'),
        ("queries.jsonl", b'{"text": "who"}', 'queries.jsonl:1: there is no "_id"'),
        ("queries.jsonl", b'{"_id": "q1", "text": "who"}\n' * 2, "queries.jsonl:2: id 'q1' occurs twice"),
        ("qrels/test.tsv", b"q1\td1\trelevant\nq1\td2\t1", "test.tsv:1: expected query-id"),
    ],
)
def test_bad_lines_are_named(folder: Path, file: str, content: bytes, message: str) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(folder)


@pytest.mark.parametrize("file", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_missing_files_are_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(DataError, match=f"{file}: (cannot be read|there is no such file)"):
        load(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("qrels/test.tsv", "", "test.tsv: there is no judgement"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", "test.tsv: there is no judgement"),
        ("qrels/test.tsv", "q1\td1\t0\nq2\td2\t-1\n", "test.tsv: no document is relevant"),
        ("qrels/test.tsv", "q3\td1\t0\nq9\td1\t1\n", "test.tsv: no document is relevant"),
        ("qrels/test.tsv", "q8\td1\t1\nq9\td1\t1\n", "none of the 2 judged queries is in queries.jsonl, as 'q8'"),
        (
            "qrels/test.tsv",
            "q1\tdoc1\t1\nq1\td1\t0\n",
            "none of the 1 relevant documents is in corpus.jsonl, as 'doc1'",
        ),
        ("corpus.jsonl", '{"_id": "D1", "text": "a"}', "none of the 3 relevant documents is in corpus.jsonl"),
        ("corpus.jsonl", "", "none of the 3 relevant documents"),
        ("queries.jsonl", "\n", "none of the 2 judged queries"),
    ],
)
def test_judgements_that_tell_no_ranking_from_another_are_refused(folder, file, content, message) -> None:
    (folder / file).write_text(content)
    with pytest.raises(DataError, match=message):
        load(folder)


def test_judged_queries_that_are_nowhere_are_left_out_and_counted(folder: Path) -> None:
    (folder / "qrels" / "test.tsv").write_text(QRELS + "q7\td1\t1\nq8\td1\t1\n")
    data = load(folder)
    assert list(data.qrels) == data.query_ids == ["q2", "q1"]
    assert data.notes[0] == "2 of 4 judged queries are not in queries.jsonl, and are left out"


def test_another_split_is_read_and_a_missing_one_is_answered_with_those_there_are(folder: Path) -> None:
    (folder / "qrels" / "dev.tsv").write_text("q3\td1\t1\n")
    assert load(folder, "dev").qrels == {"q3": {"d1": 1}}
    with pytest.raises(
        DataError, match=r"qrels/train.tsv: there is no such file; the splits that it has are dev, test"
    ):
        load(folder, "train")


def test_exclusions(tmp_path: Path) -> None:
    path = tmp_path / "without.jsonl"
    path.write_text(
        '{"_id": "1", "text": "birds", "exclude": ["owls", "wrens"]}\n{"_id": "2", "text": "b", "exclude": []}'
    )
    assert load_exclusions(path) == [Query("1", "birds", ("owls", "wrens")), Query("2", "b", ())]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"_id": "1", "text": "birds"}', '"exclude" must be a list'),
        ('{"_id": "1", "text": "birds", "exclude": "owls"}', '"exclude" must be a list'),
        ('{"_id": "1", "text": "birds", "exclude": [" "]}', "none of them blank"),
        ('{"_id": "1", "text": "birds", "exclude": ["owls", "\u200b"]}', "none of them blank"),
        ('{"_id": "1", "text": "", "exclude": ["owls"]}', '"text"'),
        ('{"_id": "0", "text": "birds", "exclude": ["owls"]}', "'0' occurs twice"),
    ],
)
def test_bad_exclusions_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "without.jsonl"
    path.write_text('{"_id": "0", "text": "birds", "exclude": ["owls"]}\n' + line)
    with pytest.raises(DataError, match=f"without.jsonl:2: .*{message}"):
        load_exclusions(path)


def test_passages_from_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "birds.jsonl"
    path.write_text('\n{"text": "a"}\n{"_id": "x", "title": "T", "text": "b"}\n')
    assert list(read_passages(path)) == [Passage("2", "", "a"), Passage("x", "T", "b")]
    path.write_text(
        '{"text": "a", "metadata": {"b": [1]}}\n{"_id": "x", "title": "T", "text": "b", "metadata": null}\n'
    )
    assert list(read_documents(path, set())) == [Document("1", "a", metadata={"b": [1]}), Document("x", "b", "T")]
    path.write_text('{"_id": null, "id": "owl", "text": "a"}\n{"id": null, "text": "b"}')  # as the service exports them
    assert [document.id for document in read_documents(path, set())] == ["owl", "2"]
    for metadata, message in (('{"a\\u0000": 1}', r"U\+0000"), ('{"a": ' + "[" * 200 + "]" * 200 + "}", "200 levels")):
        path.write_text(f'{{"text": "a", "metadata": {metadata}}}')
        with pytest.raises(DataError, match=f"birds.jsonl:1: metadata .*{message}"):
            list(read_documents(path, set()))
    path.write_text('{"text": "a", "metadata": []}')
    with pytest.raises(DataError, match=r"birds.jsonl:1: metadata is no object"):
        list(read_documents(path, set()))
    path.write_text('{"_id": "2", "text": "a"}\n{"text": "b"}')
    with pytest.raises(DataError, match=r"birds.jsonl:2: id '2' occurs twice"):
        list(read_passages(path))


@pytest.mark.parametrize("name", ["birds.txt", "birds.md", "BIRDS.TXT"])
def test_passages_from_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\ufeff" + "owl " * 100 + "\n\n" + "wren " * 100, encoding="utf-8")
    passages = list(read_passages(tmp_path / name))
    assert [(p.id, p.title, len(p.text.split())) for p in passages] == [(f"{name}-1", "", 100), (f"{name}-2", "", 100)]


def test_a_file_whose_name_is_not_utf8_gives_ids_that_are(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("owls hunt")
    assert [passage.id for passage in read_passages(path)] == ["caf\\udce9.txt-1"]


def test_a_folder_gives_its_texts_under_ids_that_tell_files_of_one_name_apart(tmp_path: Path) -> None:
    for name in ("guide.md", "post/guide.md", "post/LIST.TXT", "post/logo.png", ".git/guide.md", "post/.hidden.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = [(passage.id, passage.text) for passage in read_documents(tmp_path, set())]
    assert found == [(f"{name}-1", name) for name in ("guide.md", "post/LIST.TXT", "post/guide.md")]
    (tmp_path / "post" / "images").mkdir()
    with pytest.raises(DataError, match=r"there is no .txt or .md file in this folder; `index` reads a .jsonl file"):
        read_documents(tmp_path / "post" / "images", set())


def test_unreadable_passages(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.txt: not UTF-8 at byte 2"):
        list(read_passages(tmp_path / "latin.txt"))
    with pytest.raises(DataError, match="convert this one"):
        read_passages(tmp_path / "birds.pdf")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_passages(tmp_path / "none.txt"))


def test_an_empty_exclusion_file_is_an_error_and_not_an_evaluation_of_everything(tmp_path: Path) -> None:
    path = tmp_path / "exclude.jsonl"
    path.write_text("\n")
    with pytest.raises(DataError, match="no queries"):
        load_exclusions(path)
