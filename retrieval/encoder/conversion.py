"""`python -m retrieval.encoder.conversion`: turn a model's weights into OpenVINO files, in a process of its own.

It holds torch, transformers and NNCF, which the process that serves never loads. It writes a JSON list of the arguments
of a progress report a line, and {"error": …} before it fails.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import nncf
import numpy as np
import openvino

from retrieval.atomic_dir import whole_folder
from retrieval.encoder import torch_model
from retrieval.encoder.openvino_runtime import FULL, QUANTISED
from retrieval.errors import ModelError
from retrieval.text.demo import demo_passages

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

_PASSAGES, _TITLES = 150, 50  # to calibrate with
# How far outliers move from activations to weights before both are rounded (SmoothQuant, arXiv:2211.10438). For the
# default model it brings the mean cosine to the full model's pooled vectors from 0.996, with NNCF's own 0.95, to 0.998.
_SMOOTHING = 0.75
_ACTIVATIONS = {"Elu", "Gelu", "HSwish", "Mish", "Relu", "Swish"}
_STEPS = 5
_PROTOCOL = sys.stdout


def _say(message: object) -> None:
    _PROTOCOL.write(json.dumps(message) + "\n")
    _PROTOCOL.flush()


def convert(model: str, source: Path, digest: str, folder: Path) -> None:
    """Write the f32 model, its int8 form, its tokenizer and its spec into a new folder, whole or not at all."""
    _say([f"preparing {model}: reading weights", 1, _STEPS])
    loaded = torch_model.load(source)
    spec, tokenizer = torch_model.spec(loaded, model, digest), torch_model.tokenizer(loaded)
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec.max_tokens)
    _say([f"preparing {model}: converting", 2, _STEPS])
    full = torch_model.to_openvino(loaded)
    with whole_folder(folder) as partial:
        openvino.save_model(full, partial / FULL, compress_to_fp16=False)
        tokenizer.save(str(partial / "tokenizer.json"))
        (partial / "spec.json").write_text(json.dumps(asdict(spec), indent=1), encoding="utf-8")
        _say([f"preparing {model}: quantising to int8", 3, _STEPS])
        quantised = quantise_model(full, tokenizer, spec.prompts.get("document", ""))
        _say([f"preparing {model}: writing", 4, _STEPS])
        openvino.save_model(quantised, partial / QUANTISED, compress_to_fp16=False)
    _say([f"preparing {model}: done", _STEPS, _STEPS])


def quantise_model(model: openvino.Model, tokenizer: Tokenizer, prompt: str) -> openvino.Model:
    """The model with int8 weights and activations, their ranges taken from the demo collection.

    From passages alone, short texts and the empty one would be far off (cosine 0.87 to the full model's, against 0.97).
    """
    passages = demo_passages()
    texts = [passage.content for passage in passages[:: len(passages) // _PASSAGES]]
    texts += ["", *(passage.title for passage in passages[:: len(passages) // _TITLES])]

    def read(text: str) -> dict[int, NDArray[np.int64]]:
        ids = np.array([tokenizer.encode(prompt + text).ids], dtype=np.int64)
        return {0: ids, 1: np.ones_like(ids)}

    return nncf.quantize(
        model,
        nncf.Dataset(texts, read),
        subset_size=len(texts),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(names=_after_activations(model)),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTHING)
        ),
    )


def _after_activations(model: openvino.Model) -> list[str]:
    """The products that follow an activation function: few large numbers among many small ones, ill served by int8.

    Left in floating point they cost some speed and bring the mean cosine to the full model's vectors from 0.998 to
    0.999.
    """
    return [
        product.get_friendly_name()
        for product in model.get_ops()
        if product.get_type_name() == "MatMul" and product.input_value(0).get_node().get_type_name() in _ACTIVATIONS
    ]


def main() -> int:
    """Convert what the arguments say; 1 for a model that cannot be."""
    model, source, digest, folder = sys.argv[1:]
    sys.stdout = sys.stderr  # libraries print; the pipe is for progress alone
    logging.disable(logging.INFO)
    try:
        convert(model, Path(source), digest, Path(folder))
    except ModelError as error:
        _say({"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
