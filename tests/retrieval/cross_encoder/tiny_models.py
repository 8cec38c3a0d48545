"""Tiny cross-encoders with random weights: a BERT of sentence-transformers, and an ONNX graph with int8 products."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = "which bird sings at night an owl hunts mice the nightingale after dusk stock prices fell sharply".split()
QUERY = "which bird sings at night"
TEXTS = [
    "the nightingale sings after dusk",
    "an owl hunts mice at night",
    "stock prices fell sharply",
    "",
    "unheard words " * 40,
]
MAX_TOKENS = 32
SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"}


def tokenizer() -> Tokenizer:
    """A word tokenizer with BERT's pairs: [CLS] query [SEP] document [SEP]."""
    vocabulary = {word: at for at, word in enumerate((*SPECIAL.values(), *WORDS))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk"]))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def save_bert(folder: Path, labels: int = 1) -> Path:
    """A sentence-transformers CrossEncoder: two layers of BERT, weights wide enough that scores differ."""
    import torch  # lazily, since importing it takes seconds
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(0)
    made = tokenizer()
    config = BertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=MAX_TOKENS,
        num_labels=labels,
        initializer_range=0.2,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in SPECIAL.items()},
    ).save_pretrained(folder)
    return folder


def save_onnx(folder: Path, zero_point: int = 0, scores: int = 1) -> Path:
    """Embeddings of ids and types, one layer as ONNX Runtime's dynamic quantisation writes it, and the mean's score."""
    rng, width = np.random.default_rng(0), 64
    kind = np.uint8 if zero_point else np.int8
    constants = {
        "words": rng.normal(size=(len(WORDS) + 4, width)).astype(np.float32),
        "types": rng.normal(size=(2, width)).astype(np.float32),
        "weights": rng.integers(-127 + zero_point, 128 + zero_point, (width, 2 * width)).astype(kind),
        "weights_zero": np.array(zero_point, dtype=kind),
        "weights_scale": np.array(0.001, dtype=np.float32),
        "classifier": rng.normal(size=(2 * width, scores)).astype(np.float32),
        "last": np.array([2]),
        "tokens": np.array([1]),
    }
    steps = [
        ("Gather", ["words", "input_ids"], ["of_words"], {}),
        ("Gather", ["types", "token_type_ids"], ["of_types"], {}),
        ("Add", ["of_words", "of_types"], ["rows"], {}),
        ("DynamicQuantizeLinear", ["rows"], ["quantised", "scale", "zero"], {}),
        ("MatMulInteger", ["quantised", "weights", "zero", "weights_zero"], ["integers"], {}),
        ("Cast", ["integers"], ["floats"], {"to": TensorProto.FLOAT}),
        ("Mul", ["scale", "weights_scale"], ["scales"], {}),
        ("Mul", ["floats", "scales"], ["scaled"], {}),
        ("Tanh", ["scaled"], ["hidden"], {}),
        ("Cast", ["attention_mask"], ["mask"], {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["mask", "last"], ["mask_of_rows"], {}),
        ("Mul", ["hidden", "mask_of_rows"], ["masked"], {}),
        ("ReduceSum", ["masked", "tokens"], ["sums"], {"keepdims": 0}),
        ("MatMul", ["sums", "classifier"], ["logits"], {}),
    ]
    graph = helper.make_graph(
        [helper.make_node(name, of, to, **attributes) for name, of, to, attributes in steps],
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens_"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", scores])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    folder.mkdir(exist_ok=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    tokenizer().save(str(folder / "tokenizer.json"))
    return folder
