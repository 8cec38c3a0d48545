"""Cross-encoders agree with sentence-transformers and with the weights of ONNX graphs; others are refused clearly."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from retrieval.cross_encoder.prepare import load_cross_encoder
from retrieval.errors import ModelError
from tests.conftest import quiet
from tests.retrieval.cross_encoder.tiny_models import MAX_TOKENS, QUERY, TEXTS, save_bert, save_onnx, tokenizer

pytestmark = pytest.mark.slow  # torch


def logits(model, texts=TEXTS):
    """One pass for each text."""
    return np.concatenate([model.forward([pair]).values for pair in model.pairs(QUERY, texts)])


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def prepared(bert, tmp_path_factory):
    """The folder of prepared models, with BERT converted in this process, which has loaded torch already."""
    from retrieval.cross_encoder.conversion import convert
    from retrieval.cross_encoder.prepare import CROSS_ENCODER
    from retrieval.encoder import weights

    folder, digest = tmp_path_factory.mktemp("prepared"), weights.digest(str(bert), bert)
    convert("tiny", bert, digest, folder / f"tiny-{CROSS_ENCODER.format}-{digest[:16]}")
    return folder


def test_logits_are_those_of_sentence_transformers(bert, prepared):
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(bert), device="cpu", activation_fn=torch.nn.Identity())
    expected = model.predict([(QUERY, text) for text in TEXTS])
    ours = logits(load_cross_encoder("tiny", prepared, quiet))
    np.testing.assert_allclose(ours, expected, atol=0.05 * np.ptp(expected))
    assert np.argsort(ours).tolist() == np.argsort(expected).tolist()


def test_a_prepared_model_needs_no_weights_and_reads_as_many_tokens_as_it_can(prepared):
    model = load_cross_encoder("tiny", prepared, quiet, max_tokens=512)
    assert model.max_tokens == MAX_TOKENS
    assert max(len(pair.ids) for pair in model.pairs(QUERY, TEXTS)) == MAX_TOKENS


def test_padding_and_neighbours_do_not_change_a_logit(prepared):
    model = load_cross_encoder("tiny", prepared, quiet)
    pairs = [replace(pair, padded=MAX_TOKENS) for pair in model.pairs(QUERY, TEXTS)]
    np.testing.assert_allclose(model.forward(pairs).values, logits(model), atol=1e-5)


def test_the_longer_text_of_a_pair_is_truncated(tmp_path):
    model = load_cross_encoder(str(save_onnx(tmp_path)), tmp_path, quiet, max_tokens=16)
    [pair] = model.pairs("owl", ["mice " * 100])
    ids = tokenizer().get_vocab()
    assert pair.ids.tolist() == [2, ids["owl"], 3, *[ids["mice"]] * 12, 3]
    assert pair.second == 3


@pytest.mark.parametrize("zero_point", [0, 128, 100])
def test_logits_of_an_onnx_model_are_those_of_its_weights(tmp_path, zero_point):
    """ONNX's own reference gives all rows one scale, and is farther from what the weights say than this."""
    import onnx
    from onnx import numpy_helper

    folder = save_onnx(tmp_path, zero_point)
    graph = onnx.load(folder / "model.onnx").graph
    of = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in graph.initializer}
    weights = (of["weights"] - of["weights_zero"]) * of["weights_scale"]
    model, expected = load_cross_encoder(str(folder), tmp_path, quiet), []
    for pair in model.pairs(QUERY, TEXTS):
        rows = of["words"][pair.ids] + of["types"][(np.arange(len(pair.ids)) >= pair.second).astype(np.int64)]
        expected.append((np.tanh(rows @ weights).sum(axis=0) @ of["classifier"])[0])
    np.testing.assert_allclose(logits(model), expected, atol=0.03 * np.ptp(expected))


def test_the_name_of_an_onnx_model_is_its_folders(tmp_path):
    folder = save_onnx(tmp_path / "reranker")
    model = load_cross_encoder(str(folder), tmp_path, quiet)
    assert model.spec.name == "reranker"
    (folder / "tokenizer.json").write_text(tokenizer().to_str().replace("[UNK]", "[OOV]"))
    assert load_cross_encoder(str(folder), tmp_path, quiet).spec.digest != model.spec.digest


def refused(folder, match):
    with pytest.raises(ModelError, match=match):
        load_cross_encoder(str(folder), folder, quiet)


def test_what_is_no_cross_encoder_is_refused(tmp_path):
    refused(save_onnx(tmp_path / "two", scores=2), "gives 2 scores for a pair.*choose another")
    several = save_onnx(tmp_path / "several")
    shutil.copy(several / "model.onnx", several / "b.onnx")
    (several / "model.onnx").rename(several / "a.onnx")
    refused(several, "several models .a.onnx, b.onnx.*model.onnx")
    bare = save_onnx(tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    refused(bare, "no tokenizer.json")
    damaged = save_onnx(tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"\x08\x08not a graph")
    refused(damaged, "cannot be loaded.*put the model there again")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no weights")


def test_models_of_torch_that_cannot_rank_are_refused(tmp_path, bert):
    from retrieval.cross_encoder import torch_model

    with pytest.raises(ModelError, match="gives 3 scores"):
        torch_model.load(save_bert(tmp_path / "three", labels=3))
    odd = shutil.copytree(bert, tmp_path / "odd")
    config = json.loads((odd / "config.json").read_text())
    config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.activation.Tanhshrink"}
    (odd / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"Tanhshrink.*order of logits"):
        torch_model.load(odd)
    with pytest.raises(ModelError, match="no CrossEncoder"):
        torch_model.load(tmp_path)
