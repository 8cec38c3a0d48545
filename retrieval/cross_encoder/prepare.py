"""Load a cross-encoder: any of sentence-transformers, prepared once, or a folder with an ONNX model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openvino
from tokenizers import Tokenizer

from retrieval.cross_encoder.int8 import group_size, quantise_weights
from retrieval.cross_encoder.model import INPUTS, PairModel, PairSpec
from retrieval.encoder import weights
from retrieval.encoder.openvino_runtime import QUANTISED, compiled
from retrieval.encoder.prepare import Kind, Progress, prepare
from retrieval.errors import ModelError

CROSS_ENCODER = Kind("cross-v1", "retrieval.cross_encoder.conversion", "cross-encoder")

_TOKENIZER = "tokenizer.json"
_MAX_TOKENS = 512  # of a model that does not say
_LEAST_TOKENS = 16  # as in the settings
_NO_LIMIT = 10**6


def load_cross_encoder(
    model: str, model_dir: Path, progress: Progress, *, max_tokens: int = _MAX_TOKENS, streams: int = 1
) -> PairModel:
    """Load a cross-encoder; prepare it first if needed.

    Args:
        model: A folder with an ONNX model and its tokenizer.json, or a sentence-transformers CrossEncoder: its folder
            or its name. It must give each pair one score.
        model_dir: The folder of prepared models.
        progress: Called with each step of the preparation.
        max_tokens: The most tokens of a pair that are read; no more than the model reads.
        streams: Concurrent forward passes, one core each.

    Raises:
        ModelError: The model is not available, or is no such model; the message says what to do.
    """
    if onnx := find_onnx(Path(model)):
        return _load(onnx, _onnx_spec(model, onnx), max_tokens, streams)
    folder = prepare(model, model_dir, progress, CROSS_ENCODER)
    try:
        spec = PairSpec(**json.loads((folder / "spec.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{folder} is damaged ({error}); delete it and it will be prepared again") from error
    return _load(folder / QUANTISED, spec, max_tokens, streams)


def find_onnx(folder: Path) -> Path | None:
    """The ONNX model in a folder that has no other weights; None if there is none. ModelError if there are several."""
    if not folder.is_dir() or any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")):
        return None
    found = sorted(folder.glob("*.onnx"))
    named = [path for path in found if path.name == "model.onnx"] or found
    if len(named) > 1:
        names = ", ".join(path.name for path in named)
        raise ModelError(f"{folder} holds several models ({names}); call the one to be used model.onnx")
    return named[0] if named else None


def _onnx_spec(model: str, onnx: Path) -> PairSpec:
    tokenizer = onnx.with_name(_TOKENIZER)
    if not tokenizer.is_file():
        raise ModelError(f"{onnx.parent} has no {_TOKENIZER}; put the model's own beside {onnx.name}")
    digest = weights.digest_of(onnx.parent, [onnx, tokenizer])
    return PairSpec(onnx.parent.name if Path(model).is_absolute() else model, digest, _stated_max_tokens(onnx.parent))


def _stated_max_tokens(folder: Path) -> int:
    """The most tokens that the model reads, by the files beside it. ModelError if one of them is damaged."""
    for name, key in (("tokenizer_config.json", "model_max_length"), ("config.json", "max_position_embeddings")):
        path = folder / name
        if path.is_file():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ModelError(f"{path} is damaged ({error}); put the model's own there, or delete it") from error
            stated: Any = found.get(key) if isinstance(found, dict) else None
            if type(stated) in {int, float} and _LEAST_TOKENS <= stated < _NO_LIMIT:  # -1 and 10³⁰ mean none
                return int(stated)
    return _MAX_TOKENS


def _load(path: Path, spec: PairSpec, max_tokens: int, streams: int) -> PairModel:
    try:
        tokenizer = Tokenizer.from_file(str(path.with_name(_TOKENIZER)))
        model = openvino.Core().read_model(str(path))
        names = check_shape(model, spec.name)
        quantise_weights(model)
        # Rows that meet int8 weights are quantised in groups that share a scale; 0 would leave them as they are.
        run = compiled(
            model,
            streams,
            {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(group_size(model))},
        )
    except ModelError:
        raise
    except Exception as error:  # tokenizers raise nothing narrower
        reason = str(error).strip().splitlines()[-1]  # the others say where in OpenVINO it was found
        raise ModelError(f"{path.parent} cannot be loaded ({reason}); put the model there again") from error
    spec = PairSpec(spec.name, spec.digest, min(spec.max_tokens, max_tokens))
    return PairModel(spec, tokenizer, run, names, streams)


def check_shape(model: openvino.Model, name: str) -> Sequence[str]:
    """The names of a model's inputs; ModelError unless it takes pairs and gives each of them one score."""
    names = [value.get_any_name() for value in model.inputs]
    if unknown := sorted(set(names) - set(INPUTS)):
        raise ModelError(f"{name} reads {', '.join(unknown)}; a cross-encoder reads {', '.join(INPUTS)}")
    shape = model.outputs[0].get_partial_shape()
    scores = shape[1] if shape.rank.is_static and len(shape) == 2 else None
    if scores is None or scores.is_dynamic or scores.get_length() != 1:
        raise ModelError(
            f"{name} gives {scores or 'an unknown number of'} scores for a pair; only cross-encoders with one can "
            "rank (num_labels 1): choose another"
        )
    return names
