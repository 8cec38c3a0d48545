"""A forked process encodes, as those of gunicorn's preload, Celery and multiprocessing do."""

from app.ranking import Reranker
from retrieval.circuit_breaker import CircuitBreaker
from tests.processes import holds_in_fork

QUERY, TEXTS = "owl song at night", ["an owl song", "market prices"]


def test_forked_processes_rank_and_encode(real_encoder):
    reranker = Reranker(real_encoder)
    ranking, encoded = reranker.rerank(QUERY, TEXTS), real_encoder.encode(TEXTS)
    assert holds_in_fork(lambda: reranker.rerank(QUERY, TEXTS).scores.tobytes() == ranking.scores.tobytes())
    assert holds_in_fork(lambda: real_encoder.encode(TEXTS).pooled.tobytes() == encoded.pooled.tobytes())


def test_a_circuit_that_opened_is_tried_again():
    """Nobody probed: it stayed open for ever."""
    breaker = CircuitBreaker("the server", lambda: None, 1e6, "nothing is shared", failures=(ConnectionError,))
    breaker.fail(ConnectionError())
    assert not breaker.available
    assert holds_in_fork(lambda: breaker.available)
    breaker.close()
    assert not holds_in_fork(lambda: breaker.available)
