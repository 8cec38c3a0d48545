"""A backend of circuits in the pipeline: for encoders with one vector a text."""

import logging

import numpy as np
import pytest

from app.engine.loader import open_models
from app.ranking import Reranker
from app.settings import Settings
from quantum.backends import ExactBackend
from quantum.backends.aer import AerBackend
from quantum.errors import QuantumError
from retrieval.encoder.hash_encoder import HashEncoder
from tests.embeddings_peer import connected, serving_peer

QUERY, TEXTS = "owl song at night", ["an owl song", "market prices", "a river at night", "the owl", "stone"]


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """An encoder with one vector a text."""
    folder = tmp_path_factory.mktemp("peer")
    with serving_peer(folder, {"hash": HashEncoder()}) as proxy:
        encoder, _ = connected(proxy, folder)
        yield encoder
        encoder.breaker.close()


@pytest.mark.parametrize("backend", [ExactBackend(), AerBackend()], ids=["exact", "aer"])
def test_exact_backends_rank_as_the_kernel_does(remote, backend):
    expected = Reranker(remote).rerank(QUERY, TEXTS, method="quantum")
    found = Reranker(remote, backend=backend).rerank(QUERY, TEXTS, method="quantum")
    assert found.order.tolist() == expected.order.tolist()
    np.testing.assert_allclose(found.rankers["quantum"], expected.rankers["quantum"], atol=1e-6)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_shots_are_the_same_for_the_same_request_and_stay_with_variants(remote):
    expected = Reranker(remote).rerank(QUERY, TEXTS, method="quantum")
    first, second = (
        reranker.rerank(QUERY, TEXTS, method="quantum")
        for made in [Reranker(remote, backend=AerBackend(256, seed=1))]
        for reranker in (made, made.variant())
    )
    np.testing.assert_array_equal(first.scores, second.scores)
    assert 0 < np.abs(first.rankers["quantum"] - expected.rankers["quantum"]).max() < 0.2


def test_an_encoder_with_a_vector_for_each_token_is_refused():
    with pytest.raises(QuantumError, match="thousands of pairs a request: leave it exact"):
        Reranker(HashEncoder(), backend=AerBackend())


def test_the_setting_says_what_it_costs(remote, tmp_path, caplog):
    settings = Settings(model="hash", data_dir=tmp_path, circuit={"backend": "aer", "shots": 8})
    with caplog.at_level(logging.WARNING):
        (reranker,) = open_models(settings, lambda *_: None, {"hash": remote}).served.values()
    assert (reranker.backend.name, reranker.backend.shots) == ("aer", 8)
    assert "aer runs the circuits: 100 documents take 1600 circuits of 8 shots, about" in caplog.text
    with pytest.raises(QuantumError, match="a vector for each token"):
        open_models(settings, lambda *_: None, {"hash": HashEncoder()})


def test_shots_without_a_backend_that_draws_them_are_refused():
    with pytest.raises(ValueError, match="choose the backend aer, or leave shots out"):
        Settings(circuit={"shots": 8})
