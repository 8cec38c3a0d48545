import pytest

from app.engine.cpu_quota import granted_cpus
from app.engine.loader import open_models, processors_of
from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import ModelError
from tests.redis_server import RedisServer
from tests.waiting import eventually


def _ignore_progress(*of):
    raise AssertionError(of)


def test_what_is_open_already_is_not_opened_again(tmp_path):
    opened = HashEncoder()
    settings = Settings(model="hash", models=(str(tmp_path),), data_dir=tmp_path)  # the folder contains no model
    models = open_models(settings, _ignore_progress, {"hash": opened, str(tmp_path): opened})
    assert {reranker.encoder for reranker in models.served.values()} == {opened}
    with pytest.raises(ModelError, match="weights"):
        open_models(settings, _ignore_progress, {"hash": opened})


@pytest.mark.parametrize(
    ("auth", "magic"),
    [
        ({}, b"QTC3"),
        ({"pepper": "p" * 32}, b"QTH3"),
        ({"enabled": True}, b"QTH3"),
        ({"enabled": True, "pepper": "p" * 32}, b"QTH3"),
    ],
    ids=["none", "set", "in the folder", "set for keys"],
)
def test_states_in_redis_are_sealed_where_there_is_a_pepper(tmp_path, auth, magic, patient_cache):
    with RedisServer() as server:
        settings = Settings(model="hash", data_dir=tmp_path, cache={"redis_url": server.url}, auth=auth)
        ask = {"query": "owl", "documents": ["an owl"]}
        for times in (1, 2):  # a later start uses the same secret
            (reranker,) = open_models(settings, _ignore_progress).served.values()
            reranker.rerank(**ask)
            replicas = reranker.source.replicas
            eventually(lambda replicas=replicas: replicas.counts().written + replicas.counts().hits == 2)
            assert (replicas.counts().hits, replicas.counts().corrupt) == (2 * (times - 1), 0)
            replicas.close()
        client = server.client()
        keys = [*client.scan_iter()]
        assert len(keys) == 2
        assert {client.get(key)[:4] for key in keys} == {magic}


def test_models_get_the_processors_and_the_cache_that_are_configured(tmp_path):
    models = open_models(Settings(model="hash", data_dir=tmp_path), _ignore_progress)
    (reranker,) = models.served.values()
    assert reranker.source.cache.counts().max_bytes == Settings().cache.max_bytes
    assert processors_of(Settings()) == granted_cpus()
    assert processors_of(Settings(engine={"processors": 3})) == 3
