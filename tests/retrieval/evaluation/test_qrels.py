"""Reading judgements: valid lines, and the errors for invalid ones."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import DataError
from retrieval.evaluation.metrics import ndcg
from retrieval.evaluation.qrels import qrels_file, read_qrels

LINES = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t1\nq2\t3\t0\n"
READ = {"q1": {"d1": 2, "d2": 1}, "q2": {"3": 0}}
QUERIES = {"q1", "q2"}
IDS = st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n"), min_size=1).filter(str.strip)


def read(folder: Path, text: str | bytes, queries=QUERIES):
    path = folder / "test.tsv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_qrels(path, queries)


@pytest.mark.parametrize(
    "text",
    [
        LINES,
        LINES.split("\n", 1)[1],
        LINES.replace("\n", "\r\n"),
        "\ufeff" + LINES,
        LINES + "\nq1\td1\t2\n",
        LINES + "q1\td1\t2.0\n",
        LINES.removesuffix("\n"),
        LINES.replace("query-id\tcorpus-id\tscore", "Query-ID\tCorpus-ID\tScore"),
        LINES.replace("query-id\tcorpus-id\tscore", "query_id\tdoc_id\trelevance"),
        LINES.replace("\t2\n", "\t2.0\n").replace("\t1\n", "\t1e0\n").replace("\t0\n", "\t0. \n"),
        "q1 0 d1 2\nq1 0 d2 1\nq2\tQ0\t3   0\n",
        "q1 0.5 d1 2\nq1 4 d2 1\nq2 q0 3 0\n",
    ],
    ids="as is,no header,CRLF,byte order mark,twice,twice as float,no end,capitals,other names,floats,TREC,COVID".split(
        ","
    ),
)
def test_judgements_may_be_written_otherwise(tmp_path, text):
    assert read(tmp_path, text) == READ


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1\td1\trelevant\nq1\td2\t1", ":1: expected query-id"),  # not a header
        ("q1\td1\tscore\nq1\td2\t1", ":1: expected"),  # looks like a header, but starts with a query id
        ("query-id\tcorpus-id\ttext\nq1\td2\t1", ":1: expected"),
        ("query-id,corpus-id,score\nq1,d2,1", ":1: expected"),
        ("q1\td1\t1\nquery-id\tcorpus-id\tscore", ":2: expected"),
        ("\nquery-id\tcorpus-id\tscore", ":2: expected"),
        ("q1 d1 1", ":1: expected"),
        ("q1\td1", ":1: expected"),
        ("q1\td1\t", ":1: expected"),
        ("\td1\t1", ":1: expected"),
        ("q1\t \t1", ":1: expected"),
        ("q1\td1\t1\tmore", ":1: expected"),
        ("q1 d1 1 1", ":1: expected"),
        ("q1\td1\tnan", ":1: expected"),
        ("q1\td1\t1_0", ":1: expected"),
        ("q1\td1\t\u0661", ":1: expected"),
        ("q1\td1\t" + "9" * 400, ":1: expected"),
        ("q1\td1\t1e308", r":1: expected .*; a grade lies within ±1e\+100"),  # the sum of two would be infinite
        ("q1 0 d1 -1e101", ":1: expected"),
        ("q1\td1\t1\nq1\td1\t2", ":2: document 'd1' has another score"),
        ("q1 0 d1 1\nq1\td1\t2", ":2: document 'd1' has another score"),
        (b"q1\td1\t1\nq1\t\xff\t1", ":2: not UTF-8 at byte 3 of the line"),
        ("q1\td1\t1".encode("utf-16"), ":1: not UTF-8"),
    ],
)
def test_what_is_no_judgement_is_named(tmp_path, text, message):
    with pytest.raises(DataError, match="test.tsv" + message):
        read(tmp_path, text)


@given(
    judgements=st.dictionaries(
        IDS, st.dictionaries(IDS, st.floats(-9, 9), min_size=1, max_size=4), min_size=1, max_size=4
    )
)
def test_what_was_written_is_read(tmp_path_factory, judgements):
    lines = [
        f"{query}\t{document}\t{grade}" for query, grades in judgements.items() for document, grade in grades.items()
    ]
    assert read(tmp_path_factory.mktemp("qrels"), "\n".join(lines), judgements) == judgements


def test_half_a_grade_is_half_a_gain(tmp_path):
    qrels = read(tmp_path, "q1\td1\t1\nq1\td2\t0.5\n")
    best = 1 + 0.5 / math.log2(3)
    assert ndcg({"q1": ["d2"]}, qrels)["q1"] == pytest.approx(0.5 / best)
    assert ndcg({"q1": ["d1"]}, qrels)["q1"] == pytest.approx(1 / best)


def test_a_folder_without_judgements_is_told_what_it_should_hold(tmp_path):
    with pytest.raises(DataError, match=r"qrels/test.tsv: .*BEIR layout holds corpus.jsonl"):
        qrels_file(tmp_path, "test")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("")
    assert qrels_file(tmp_path, "dev") == tmp_path / "qrels" / "dev.tsv"
    for split in ("", "../qrels/test", "dev.tsv"):
        with pytest.raises(DataError, match="the splits that it has are dev"):
            qrels_file(tmp_path, split)
