import pytest

from app.engine.model_registry import ModelRegistry
from app.ranking.methods import split_method
from app.ranking.reranker import Reranker
from retrieval.encoder.hash_encoder import HashEncoder


class Other(HashEncoder):
    name = "other"


@pytest.fixture(scope="module")
def models():
    served = {"hash": Reranker(HashEncoder()), "team/other": Reranker(Other())}
    return ModelRegistry(served, {"rerank-v3.5": "team/other:quantum", "plain": "hash"})


@pytest.mark.parametrize(
    ("asked", "name", "served", "method"),
    [
        (None, "hash", "hash", None),
        ("", "hash", "hash", None),
        ("hash", "hash", "hash", None),
        ("other", "other", "other", None),
        ("team/other", "team/other", "other", None),
        ("anybody/other:classical", "anybody/other:classical", "other", "classical"),
        ("rerank-v3.5", "rerank-v3.5", "other", "quantum"),
        ("plain", "plain", "hash", None),
        ("jina-reranker-v2-base-multilingual", "jina-reranker-v2-base-multilingual", "hash", None),
        ("other:magic", "other:magic", "hash", None),
        (7, "7", "hash", None),
        ({"id": "other"}, '{"id":"other"}', "hash", None),
        ([], "[]", "hash", None),
    ],
)
def test_any_model_chooses_one_and_is_echoed(models, asked, name, served, method):
    choice = models.choose(asked)
    assert (choice.name, choice.reranker.encoder.name, choice.method) == (name, served, method)


def test_the_first_is_the_default_and_all_names_are_told(models):
    assert models.default.encoder.name == "hash"
    assert models.names() == ["hash", "other", "rerank-v3.5", "plain"]


@pytest.mark.parametrize("name", ["", "m", "m:", "m:Quantum", ":"])
def test_what_is_no_method_stays_in_the_name(name):
    assert split_method(name) == (name, None)
