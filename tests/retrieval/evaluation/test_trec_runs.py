"""TREC runs: whoever sorts what we write by score gets our order, and what we read is ordered as trec_eval does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import DataError
from retrieval.evaluation.trec_runs import read_run, write_run

DOCUMENTS = ["a", "b", "c", "ü"]


def read(path, content, queries=("1", "2")):
    path.write_text(content, encoding="utf-8")
    return read_run(path, queries, DOCUMENTS)


@given(st.lists(st.floats(-1e30, 1e30) | st.sampled_from([0.0, 0.5, 0.5 + 1e-12, 1.0]), min_size=1, max_size=30))
def test_what_is_written_keeps_its_order_as_32_bit_numbers(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("run") / "a.run"
    ranked = [(f"d{at}", score) for at, score in enumerate(sorted(scores, reverse=True))]
    write_run(path, {"q": ranked}, "a tag")
    lines = [line.split() for line in path.read_text().splitlines()]
    assert [line[:4] for line in lines] == [["q", "Q0", name, str(rank)] for rank, (name, _) in enumerate(ranked, 1)]
    assert {line[5] for line in lines} == {"a_tag"}
    written = np.array([float(line[4]) for line in lines], dtype=np.float32)
    assert (np.diff(written) < 0).all()
    np.testing.assert_allclose(written, np.sort(np.float32(scores))[::-1], rtol=1e-5, atol=1e-5)
    assert [name for name, _ in read_run(path, ["q"], [name for name, _ in ranked])["q"]] == [n for n, _ in ranked]


def test_the_order_is_by_score_and_equal_scores_by_falling_id_whatever_the_ranks_say(tmp_path):
    run = read(tmp_path / "r", "1 Q0 a 1 0.5 x\n1 q0 b 9 2e0 x\n\n1\t0\tc\t1\t.5\tx\n9 Q0 nowhere 1 1 x\n")
    assert run == {"1": [("b", 2.0), ("c", 0.5), ("a", 0.5)]}


def test_scores_are_compared_as_32_bit_numbers(tmp_path):
    scores = {"a": "0.87654321002", "b": "0.87654321001", "c": "1e-50", "d": "1e-60", "e": "1e40", "f": "1e39"}
    lines = "".join(f"1 Q0 {document} 1 {score} x\n" for document, score in scores.items())
    (tmp_path / "r").write_text(lines)
    assert [name for name, _ in read_run(tmp_path / "r", {"1"}, scores)["1"]] == ["f", "e", "b", "a", "d", "c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 Q0 a 1 nan x\n", ":1: the score 'nan' is not a finite number"),
        ("1 Q0 a 1 inf x\n", "'inf' is not a finite number"),
        ("1 Q0 a 1 1e400 x\n", "'1e400' is not a finite number"),
        ("1 Q0 a 1 0.5\n", ':1: expected "query Q0 document rank score tag"'),
        ("1 a 0.5 x y z\n", ":1: expected"),
        ("1 Q0 a 1 1 x\n1 Q0 z 2 0 x\n", ":2: document 'z' is not in corpus.jsonl"),
        ("1 Q0 a 1 1 x\n1 Q0 a 2 0 x\n", ":2: document 'a' is ranked twice for query '1'"),
        ("7 Q0 a 1 1 x\n", "'7' is not one; the run must use the same ids"),
        ("\n", "the file is empty"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, message):
    with pytest.raises(DataError) as raised:
        read(tmp_path / "r", content)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_ids_with_white_space_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="'a b' has white space"):
        write_run(tmp_path / "r", {"q": [("a b", 1.0)]}, "x")
