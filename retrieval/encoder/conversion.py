"""`python -m retrieval.encoder.conversion`: convert a model's weights to OpenVINO files, in a separate process.

It loads torch, transformers and NNCF, which the serving process never loads. Each output line is a JSON list with the
arguments of a progress report, or {"error": …} before a failure.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import nncf
import numpy as np
import openvino
from tokenizers import Tokenizer

from retrieval.atomic_dir import whole_folder
from retrieval.encoder import torch_model
from retrieval.encoder.openvino_runtime import FULL, QUANTISED
from retrieval.encoder.transformer import TextEncoder
from retrieval.errors import ModelError
from retrieval.text.demo import demo_passages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.encoder.protocol import Tokens

_PASSAGES, _TITLES = 150, 50  # calibration texts
# How far outliers move from activations to weights before quantisation (SmoothQuant alpha, arXiv:2211.10438). For the
# default model, 0.75 gives a mean cosine of 0.998 to the pooled vectors of the f32 model; NNCF's default 0.95: 0.996.
_SMOOTHING = 0.75
_ACTIVATIONS = {"Elu", "Gelu", "HSwish", "Mish", "Relu", "Swish"}
_STEPS = 5
_PROTOCOL = sys.stdout


def send(message: object) -> None:
    """Write a line for the process that waits for this one."""
    _PROTOCOL.write(json.dumps(message) + "\n")
    _PROTOCOL.flush()


def convert(model: str, source: Path, digest: str, folder: Path) -> None:
    """Write the f32 model, the int8 model, the tokenizer and the spec into a new folder, atomically.

    Args:
        model: The model's name, for the spec and the progress reports.
        source: The folder with its weights.
        digest: SHA-256 of its files, hexadecimal.
        folder: The folder to create.
    """
    send([f"preparing {model}: reading weights", 1, _STEPS])
    loaded = torch_model.load(source)
    spec, tokenizer = torch_model.spec(loaded, source, model, digest), torch_model.tokenizer(loaded)
    reader = TextEncoder(spec, Tokenizer.from_str(tokenizer.to_str()), torch_model.forward(loaded), "torch-f32")
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec.max_tokens)
    send([f"preparing {model}: converting", 2, _STEPS])
    full = torch_model.to_openvino(loaded)
    with whole_folder(folder) as partial:
        openvino.save_model(full, partial / FULL, compress_to_fp16=False)
        tokenizer.save(str(partial / "tokenizer.json"))
        (partial / "spec.json").write_text(json.dumps(asdict(spec), indent=1), encoding="utf-8")
        send([f"preparing {model}: quantising to int8", 3, _STEPS])
        quantised = quantise_model(full, reader)
        send([f"preparing {model}: writing", 4, _STEPS])
        openvino.save_model(quantised, partial / QUANTISED, compress_to_fp16=False)
    send([f"preparing {model}: done", _STEPS, _STEPS])


def quantise_model(model: openvino.Model, reader: TextEncoder) -> openvino.Model:
    """Quantise the model's weights and activations to int8, calibrated with the demo collection.

    Calibration includes titles and the empty text: with passages alone, short texts have a cosine of 0.87 to the f32
    model's vectors instead of 0.97.

    Args:
        model: The f32 model.
        reader: Tokenises texts for it.
    """
    passages = demo_passages()
    texts = [passage.content for passage in passages[:: len(passages) // _PASSAGES]]
    texts += ["", *(passage.title for passage in passages[:: len(passages) // _TITLES])]

    batch = reader.tokenize(texts)
    if reader.late_interaction:  # whose queries are read in another way
        batch += reader.tokenize(texts[-_TITLES:], "query")

    def to_inputs(tokens: Tokens) -> dict[int, NDArray[np.int64]]:
        return dict(enumerate(reader.inputs([replace(tokens, padded=tokens.ids.size)])))

    return nncf.quantize(
        model,
        nncf.Dataset(batch, to_inputs),
        subset_size=len(batch),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(names=_after_activations(model)),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTHING)
        ),
    )


def _after_activations(model: openvino.Model) -> list[str]:
    """Return the names of the MatMuls after an activation function: their few large inputs lose precision in int8.

    In floating point they cost some speed and raise the mean cosine to the f32 model's vectors from 0.998 to 0.999.
    """
    return [
        product.get_friendly_name()
        for product in model.get_ops()
        if product.get_type_name() == "MatMul" and product.input_value(0).get_node().get_type_name() in _ACTIVATIONS
    ]


def main(convert: Callable[[str, Path, str, Path], None] = convert) -> int:
    """Convert the model in the arguments by a function like `convert`; return 1 if it cannot be converted."""
    model, source, digest, folder = sys.argv[1:]
    sys.stdout = sys.stderr  # libraries print to stdout; the pipe is only for progress
    logging.disable(logging.INFO)
    try:
        convert(model, Path(source), digest, Path(folder))
    except ModelError as error:
        send({"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
