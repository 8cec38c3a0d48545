"""Tiny late-interaction checkpoints in the layouts of PyLate, of Stanford's ColBERT and of sentence-transformers."""

import json
import string
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

HIDDEN, ROW = 16, 8
ABSENT = "absent"
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
MARKED = ["[unused0]", "[unused1]", "[Q] ", "[D] "]


def tokenizer() -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer of letters, ASCII punctuation and the markers."""
    letters = list(string.ascii_lowercase + string.digits)
    pieces = [*SPECIAL.values(), *MARKED, *letters, *(f"##{piece}" for piece in letters), *string.punctuation, "owl"]
    made = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))  # noqa: S106
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    ends = [(SPECIAL[name], made.token_to_id(SPECIAL[name])) for name in ("cls_token", "sep_token")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=64, **SPECIAL)


def bert() -> tuple[BertModel, Dense]:
    """A transformer of one layer, and the projection of its tokens."""
    torch.manual_seed(0)
    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(tokenizer()), max_position_embeddings=64, initializer_range=0.5, **sizes)
    dense = Dense(
        HIDDEN, ROW, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings"
    )
    return BertModel(config).eval(), dense


def pylate(folder: Path, **settings: object) -> Path:
    """Write a checkpoint as PyLate saves it."""
    model, dense = bert()
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "1_Dense").mkdir()
    save_file({"linear.weight": dense.linear.weight.detach()}, folder / "1_Dense" / "model.safetensors")
    identity = "torch.nn.modules.linear.Identity"
    _write(
        folder / "1_Dense" / "config.json",
        {"in_features": HIDDEN, "out_features": ROW, "bias": False, "activation_function": identity},
    )
    modules = {"": "sentence_transformers.models.Transformer", "1_Dense": "pylate.models.Dense.Dense"}
    _write(
        folder / "modules.json",
        [{"idx": at, "name": str(at), "path": path, "type": kind} for at, (path, kind) in enumerate(modules.items())],
    )
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 31, "do_lower_case": False})
    stated = {
        "model_type": "ColBERT",
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "MaxSim",
        "query_prefix": "[Q] ",
        "document_prefix": "[D] ",
        "query_length": 12,
        "document_length": 24,
        "attend_to_expansion_tokens": False,
        "skiplist_words": list(string.punctuation),
        "do_query_expansion": True,
    }
    stated = {name: value for name, value in (stated | settings).items() if value != ABSENT}
    _write(folder / "config_sentence_transformers.json", stated)
    return folder


def stanford(folder: Path, **metadata: object) -> Path:
    """Write a checkpoint as Stanford's ColBERT saves it, with the projection among the transformer's weights."""
    model, dense = bert()
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    _write(folder / "config.json", config | {"architectures": ["HF_ColBERT"]})
    weights = {f"bert.{name}": weight.contiguous() for name, weight in model.state_dict().items()}
    save_file(weights | {"linear.weight": dense.linear.weight.detach()}, folder / "model.safetensors", {"format": "pt"})
    stated = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 12, "doc_maxlen": 24}
    _write(folder / "artifact.metadata", stated | {"mask_punctuation": True, "attend_to_mask_tokens": False} | metadata)
    return folder


def native(folder: Path, **settings: object) -> Path:
    """Write a checkpoint as sentence-transformers saves its own late-interaction models."""
    pylate(folder / "parts")
    body = Transformer(str(folder / "parts"), document_length=24, **settings)
    modules = [body, bert()[1], MultiVectorMask(["!", ","]), Normalize(module_input_name="token_embeddings")]
    prompts = {"query": "owl: ", "document": "a "}
    MultiVectorEncoder(modules=modules, device="cpu", prompts=prompts).save_pretrained(str(folder / "model"))
    return folder / "model"


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))
