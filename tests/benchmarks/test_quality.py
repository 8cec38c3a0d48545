import json

import numpy as np
import pytest

from app.cli.evaluation import open_dataset
from app.ranking import Reranker
from benchmarks.quality import LABELS, NAME, measure, report
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.evaluation.beir import load
from tests.conftest import quiet

TOPICS = ("owls hunt at night", "trains arrive late", "bread needs salt")


@pytest.fixture
def dataset(tmp_path):
    """Three topics of five documents, of which each query's first is relevant."""
    folder = tmp_path / "made-up"
    (folder / "qrels").mkdir(parents=True)
    texts = [f"{topic} {letter}" for topic in TOPICS for letter in "abcde"]
    documents = [{"_id": f"d{at}", "text": text} for at, text in enumerate(texts)]
    queries = [{"_id": f"q{at}", "text": f"do {topic}"} for at, topic in enumerate(TOPICS)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "qrels" / "test.tsv").write_text("".join(f"q{at}\td{5 * at}\t1\n" for at in range(3)))
    return load(folder)


@pytest.fixture
def measured(dataset, tmp_path):
    """Two queries by every method, and by one that leaves the candidates' order turned around."""
    encoder, seen = HashEncoder(), []

    def turned(query, texts):
        seen.append((query, tuple(texts)))
        return np.arange(len(texts))[::-1]

    collection = open_dataset(dataset, encoder, tmp_path / "cache", quiet)
    return measure(Reranker(encoder), turned, dataset, collection, 2, quiet), seen


def test_every_method_ranks_the_same_candidates_of_the_same_queries(measured):
    rows, seen = measured
    assert list(rows) == [*LABELS.values(), NAME]
    assert [query for query, _ in seen] == ["do owls hunt at night", "do trains arrive late"]
    for row in rows.values():
        assert list(row.run) == ["q0", "q1"]
        assert [set(ids) for ids in row.run.values()] == [{f"d{at}" for at in range(15)}] * 2
        assert len(row.cold_ms) == 2


def test_only_ours_has_an_index(measured):
    rows, _ = measured
    assert [len(row.indexed_ms) for row in rows.values()] == [2, 2, 2, 0]


def test_the_table_marks_the_best_and_has_the_median(measured):
    rows, _ = measured
    rows[NAME].cold_ms[:] = [7.0, 7.0]
    text = report({"made-up": rows, "again": rows})
    assert text.startswith("| method | made-up | again | ms, not cached | ms, indexed |")
    assert f"**{max(row.ndcg for row in rows.values()):.3f}**" in text
    assert text.endswith("| 7.00 | 7.00 |")


def test_without_a_cross_encoder_its_row_is_missing(dataset, tmp_path):
    encoder = HashEncoder()
    collection = open_dataset(dataset, encoder, tmp_path / "cache", quiet)
    assert list(measure(Reranker(encoder), None, dataset, collection, None, quiet)) == list(LABELS.values())
