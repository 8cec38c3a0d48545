"""A sentence-transformers CrossEncoder under torch, for its conversion. Serving imports none of this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openvino
import torch
import transformers
from sentence_transformers import CrossEncoder

from retrieval.cross_encoder.model import INPUTS, PairSpec
from retrieval.encoder.torch_model import quiet
from retrieval.errors import ModelError

_ACTIVATIONS = (torch.nn.Sigmoid, torch.nn.Identity)  # which keep the order of logits


def load(folder: Path) -> CrossEncoder:
    """Load a CrossEncoder from a folder, offline; ModelError if there is none, or none that gives one score a pair."""
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model: CrossEncoder = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no CrossEncoder of sentence-transformers: {error}") from error
    if len(model) != 1:
        raise ModelError(f"{folder} has modules beside its transformer; only plain sequence classification can be used")
    if model.num_labels != 1:
        raise ModelError(
            f"{folder} gives {model.num_labels} scores for a pair; only cross-encoders with one can rank "
            "(num_labels 1): choose another"
        )
    if not isinstance(model.activation_fn, _ACTIVATIONS):
        raise ModelError(f"{folder} ends in {model.activation_fn}; only a sigmoid or nothing keeps the order of logits")
    model.eval()
    return model


class _Logits(torch.nn.Module):
    """Returns (b, 1) logits."""

    def __init__(self, model: CrossEncoder) -> None:
        super().__init__()
        self.model: Any = model.model

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(**dict(zip(INPUTS, inputs, strict=False))).logits
        return logits


def spec(model: CrossEncoder, name: str, digest: str) -> PairSpec:
    """Return the metadata of the model; ModelError if it states no length."""
    if not model.max_seq_length:
        raise ModelError("the model states no maximum length; set model_max_length in its tokenizer_config.json")
    return PairSpec(name, digest, int(model.max_seq_length))


def to_openvino(model: CrossEncoder) -> openvino.Model:
    """Convert the model to OpenVINO with dynamic batch size and length, its inputs by their names."""
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    inputs = [mask.clone(), mask, torch.zeros_like(mask)]
    if "token_type_ids" not in model.tokenizer.model_input_names:
        del inputs[2]
    try:
        with quiet():
            converted = openvino.convert_model(_Logits(model).eval(), example_input=tuple(inputs))
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"OpenVINO cannot convert this model ({error}); give a folder with an ONNX model") from error
    for value, name in zip(converted.inputs, INPUTS, strict=False):
        value.get_tensor().set_names({name})
    return converted
