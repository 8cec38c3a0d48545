"""A collection may move to a processor that computes otherwise: docs/collections.md says so."""

import numpy as np
import pytest

from app.ranking import Reranker
from app.settings import Settings
from retrieval.encoder.prepare import load_encoder
from retrieval.store.collection import Collection
from retrieval.store.indexer import build, index_all
from retrieval.store.rows import Document
from retrieval.text.passages import Passage

OLD = ["The nightingale sings after dusk.", "Stocks fell on Friday.", "Owls hunt mice in the dark."]
NEW = ["Larks sing at dawn.", "Bread rises in a warm kitchen.", "The river carries sand to the sea."]
QUERIES = {"which bird sings at night": 0, "which animal eats mice": 2, "how does dough become bread": 4}


def quiet(*_):
    pass


@pytest.fixture(scope="module")
def encoders():
    return [
        load_encoder("all-MiniLM-L6-v2", Settings().model_dir, quiet, precision=precision)
        for precision in ("f32", "int8")
    ]


def collection(folder, first, then):
    """One that an encoder has built, and another one has extended."""
    build(folder, [Passage(str(at), "", text) for at, text in enumerate(OLD)], first, quiet)
    made = Collection(folder)
    made.put([Document(str(len(OLD) + at), text) for at, text in enumerate(NEW)])
    index_all(made, then, quiet)
    return made.searchable()


def found(reranker, searched, query):
    """The scores of all documents by id, and the best one's id."""
    positions, ranking = reranker.search(query, searched)
    ids = [passage.id for passage in searched.passages(positions)]
    return {ids[at]: ranking.scores[at] for at in range(len(ids))}, ids[ranking.order[0]]


@pytest.mark.parametrize(("built", "extended"), [(1, 0), (0, 1)])
def test_a_collection_is_searched_and_extended_in_another_arithmetic(tmp_path, encoders, built, extended):
    assert encoders[0].arithmetic != encoders[1].arithmetic
    moved = collection(tmp_path / "moved", encoders[built], encoders[extended])
    stayed = collection(tmp_path / "stayed", encoders[extended], encoders[extended])
    reranker = Reranker(encoders[extended])
    for query, best in QUERIES.items():
        scores, first = found(reranker, moved, query)
        expected, expected_first = found(reranker, stayed, query)
        assert first == expected_first == str(best)
        np.testing.assert_allclose([scores[name] for name in expected], list(expected.values()), atol=0.01)
