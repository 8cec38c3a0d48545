import json

import numpy as np
import pytest

from app.cli.evaluation import open_dataset
from app.ranking import Reranker
from benchmarks.quality import LABELS, NAME, measure, report, ways_of
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.evaluation.beir import load
from tests.conftest import quiet

TOPICS = ("owls hunt at night", "trains arrive late", "bread needs salt")


@pytest.fixture
def ranked(tmp_path):
    """A function that measures two queries by every method, and by another ranker if there is one.

    There are three topics of five documents, of which each query's first is relevant.
    """
    folder = tmp_path / "made-up"
    (folder / "qrels").mkdir(parents=True)
    texts = [f"{topic} {letter}" for topic in TOPICS for letter in "abcde"]
    documents = [{"_id": f"d{at}", "text": text} for at, text in enumerate(texts)]
    queries = [{"_id": f"q{at}", "text": f"do {topic}"} for at, topic in enumerate(TOPICS)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "qrels" / "test.tsv").write_text("".join(f"q{at}\td{5 * at}\t1\n" for at in range(3)))
    dataset, encoder = load(folder), HashEncoder()
    collection = open_dataset(dataset, encoder, tmp_path / "cache", quiet)
    return lambda other: measure(ways_of(Reranker(encoder)), other, dataset, collection, 2, quiet)


def test_every_method_ranks_the_same_candidates_of_the_same_queries_and_only_ours_have_an_index(ranked):
    seen = []

    def turned(query, texts):
        seen.append(query)
        return np.arange(len(texts))[::-1]

    rows = ranked(turned)
    assert list(rows) == [*LABELS.values(), NAME]
    assert seen == ["do owls hunt at night", "do trains arrive late"]
    for row in rows.values():
        assert list(row.run) == ["q0", "q1"]
        assert [set(ids) for ids in row.run.values()] == [{f"d{at}" for at in range(15)}] * 2
        assert len(row.cold_ms) == 2
    assert [len(row.indexed_ms) for row in rows.values()] == [2, 2, 2, 0]
    rows[NAME].cold_ms[:] = [7.0, 7.0]
    text = report({"made-up": rows, "again": rows})
    assert text.startswith("| method | made-up | again | to hybrid | ms, not cached | ms, indexed |")
    assert f"**{max(row.ndcg for row in rows.values()):.3f}**" in text  # the best
    assert text.endswith("| 7.00 | 7.00 |")  # the median


def test_without_a_cross_encoder_its_row_is_missing(ranked):
    assert list(ranked(None)) == list(LABELS.values())
