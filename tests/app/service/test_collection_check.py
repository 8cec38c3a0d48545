"""Why a collection cannot be searched, in words that say what to do."""

import pytest

from app.engine.loader import open_models
from app.service.collection_check import why_unserved
from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.index.passage_index import Model

OWN = Model.of(HashEncoder())
OTHER = Model("new", "new", "f32", 512)
BUILD = "build it again with `qrerank index build birds SOURCE --force`"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return open_models(Settings(model="hash", data_dir=tmp_path_factory.mktemp("data")), lambda *_: None)


def test_a_served_model_is_no_fault_and_while_models_are_loaded_nobody_knows(models):
    assert why_unserved("birds", OWN, models, is_remote=False) is None
    assert why_unserved("birds", OTHER, None, is_remote=False) is None


def test_in_milvus_no_other_model_can_take_its_turn_so_it_is_built_again(models):
    told = why_unserved("birds", OTHER, models, is_remote=True)
    assert told.endswith(f"the model 'new', which is not served: add it to QRERANK_MODELS, or {BUILD}")
    another_version = Model("hash", "older", "f32", 512)
    assert why_unserved("birds", another_version, models, is_remote=True).endswith(f"than is served: {BUILD}")
