import pytest

from app.loading import open_models, processors_of
from app.processors import granted
from app.settings import Settings
from retrieval.errors import ModelError
from retrieval.hash_encoder import HashEncoder


def _told(*of):
    raise AssertionError(of)


def test_what_is_open_already_is_not_opened_again(tmp_path):
    opened = HashEncoder()
    settings = Settings(model="hash", models=(str(tmp_path),), data_dir=tmp_path)  # that folder holds no model
    models = open_models(settings, _told, {"hash": opened, str(tmp_path): opened})
    assert {reranker.encoder for reranker in models.served.values()} == {opened}
    with pytest.raises(ModelError, match="weights"):
        open_models(settings, _told, {"hash": opened})


def test_models_get_the_processors_and_the_cache_that_are_configured(tmp_path):
    models = open_models(Settings(model="hash", data_dir=tmp_path), _told)
    (reranker,) = models.served.values()
    assert reranker.source.cache.counts().max_bytes == Settings().cache.max_bytes
    assert processors_of(Settings()) == granted()
    assert processors_of(Settings(engine={"processors": 3})) == 3
