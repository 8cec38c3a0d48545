"""Reading collections: what is kept, and what every kind of bad line is answered with."""

from pathlib import Path

import pytest

from retrieval.beir import BeirDataset, Exclusion, load, load_exclusions, read_passages
from retrieval.errors import DataError
from retrieval.passage import Passage

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
    )
    assert list(data.qrels) == data.query_ids


@pytest.mark.parametrize(
    "qrels",
    [
        QRELS.split("\n", 1)[1],
        QRELS.replace("\n", "\r\n"),
        "\ufeff" + QRELS,
        QRELS + "\nq1\td1\t2\n",
        QRELS.removesuffix("\n"),
    ],
    ids=["no header", "CRLF", "byte order mark", "said twice", "no last newline"],
)
def test_qrels_may_be_written_otherwise(folder: Path, qrels: str) -> None:
    expected = load(folder).qrels
    (folder / "qrels" / "test.tsv").write_bytes(qrels.encode())
    assert load(folder).qrels == expected


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", b'{"_id": "a", "text": "b"}\n{"_id": "b"', r"corpus.jsonl:2: not JSON"),
        ("corpus.jsonl", b'["a"]', "corpus.jsonl:1: each line must be one JSON object"),
        ("corpus.jsonl", b'{"_id": "a"}', 'corpus.jsonl:1: "text" must be a string'),
        ("corpus.jsonl", b'{"_id": "a", "text": 7}', 'corpus.jsonl:1: "text"'),
        ("corpus.jsonl", b'{"_id": "a", "text": "", "title": []}', 'corpus.jsonl:1: "title"'),
        ("corpus.jsonl", b'{"_id": true, "text": ""}', 'corpus.jsonl:1: "_id"'),
        ("corpus.jsonl", b'{"_id": "", "text": ""}', 'corpus.jsonl:1: "_id"'),
        ("corpus.jsonl", b'{"_id": "a", "text": "\xff"}', "corpus.jsonl:1: not JSON.*UTF-8"),
        ("corpus.jsonl", b'{"_id": "a", "text": "\\ud800"}', "corpus.jsonl:1: not JSON"),
        ("corpus.jsonl", b'{"_id": "1", "text": ""}\n\n{"_id": 1, "text": ""}', "corpus.jsonl:3: id '1' occurs twice"),
        ("queries.jsonl", b'{"_id": "q1", "text": " "}', 'queries.jsonl:1: "text" must be a non-blank string'),
        ("queries.jsonl", b'{"text": "who"}', 'queries.jsonl:1: "_id"'),
        ("queries.jsonl", b'{"_id": "q1", "text": "who"}\n' * 2, "queries.jsonl:2: id 'q1' occurs twice"),
        ("qrels/test.tsv", b"q1\td1\t1\nq9\td1\t1", "test.tsv:2: query 'q9' is not in queries.jsonl"),
        ("qrels/test.tsv", b"q1\td1\t1\nq1\td1\t2", "test.tsv:2: document 'd1' has another score"),
        ("qrels/test.tsv", b"q1 d1 1", "test.tsv:1: expected query-id, corpus-id and an integer score"),
        ("qrels/test.tsv", b"q1\td1\t0.5", "test.tsv:1: expected"),
        ("qrels/test.tsv", b"q1\t\xff\t1", "test.tsv:1: expected"),
        ("qrels/test.tsv", b"q1\td1\t1\nquery-id\tcorpus-id\tscore", "test.tsv:2: expected"),
    ],
)
def test_bad_lines_are_named(folder: Path, file: str, content: bytes, message: str) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(folder)


@pytest.mark.parametrize("file", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_missing_files_are_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(DataError, match=f"{file}: cannot be read"):
        load(folder)


def test_exclusions(tmp_path: Path) -> None:
    path = tmp_path / "without.jsonl"
    path.write_text(
        '{"_id": "1", "text": "birds", "exclude": ["owls", "wrens"]}\n{"_id": "2", "text": "b", "exclude": []}'
    )
    assert load_exclusions(path) == [Exclusion("1", "birds", ("owls", "wrens")), Exclusion("2", "b", ())]


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
    path.write_text('{"_id": "2", "text": "a"}\n{"text": "b"}')
    with pytest.raises(DataError, match=r"birds.jsonl:2: id '2' occurs twice"):
        list(read_passages(path))


@pytest.mark.parametrize("name", ["birds.txt", "birds.md"])
def test_passages_from_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\ufeff" + "owl " * 100 + "\n\n" + "wren " * 100, encoding="utf-8")
    passages = list(read_passages(tmp_path / name))
    assert [(p.id, p.title, len(p.text.split())) for p in passages] == [(f"{name}-1", "", 100), (f"{name}-2", "", 100)]


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
