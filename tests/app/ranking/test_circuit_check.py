import pytest

from app.ranking import Reranker
from app.ranking.circuit_check import check_circuit
from quantum.circuits import check_limits
from quantum.errors import CircuitTooLarge, Saturated
from quantum.feature_maps import FeatureMap, RyLayer, feature_map
from retrieval.encoder.hash_encoder import HashEncoder


def test_it_is_qiskits_word_said_once():
    states = feature_map("entangled", 4, 2.0)
    assert check_circuit(states) == check_limits(states)
    assert check_circuit(feature_map("entangled", 4, 2.0)) is check_circuit(states)


def test_what_is_too_large_is_refused_each_time():
    layers = (RyLayer(tuple(range(5))),)
    for _ in range(2):
        with pytest.raises(CircuitTooLarge):
            check_circuit(FeatureMap("five", 5, 1.0, layers))


def test_a_reranker_refuses_a_map_that_tells_nothing_apart():
    with pytest.raises(Saturated, match=r"mean fidelity of 0\.998"):
        Reranker(HashEncoder(), feature_map(bandwidth=0.0633))
