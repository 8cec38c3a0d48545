"""`python -m retrieval.cross_encoder.conversion`: convert a CrossEncoder's weights to OpenVINO files in int8.

It runs in a separate process, as the conversion of encoders does, with the same messages.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import openvino

from retrieval.atomic_dir import whole_folder
from retrieval.cross_encoder import torch_model
from retrieval.cross_encoder.int8 import quantise_weights
from retrieval.cross_encoder.prepare import check_shape
from retrieval.encoder.conversion import main, send
from retrieval.encoder.openvino_runtime import QUANTISED
from retrieval.encoder.torch_model import tokenizer as tokenizer_of

_STEPS = 4


def convert(model: str, source: Path, digest: str, folder: Path) -> None:
    """Write the int8 model, the tokenizer and the spec into a new folder, atomically.

    Args:
        model: The model's name, for the spec and the progress reports.
        source: The folder with its weights.
        digest: SHA-256 of its files, hexadecimal.
        folder: The folder to create.
    """
    send([f"preparing {model}: reading weights", 1, _STEPS])
    loaded = torch_model.load(source)
    spec, tokenizer = torch_model.spec(loaded, model, digest), tokenizer_of(loaded)
    send([f"preparing {model}: converting", 2, _STEPS])
    converted = torch_model.to_openvino(loaded)
    check_shape(converted, model)
    quantise_weights(converted)
    with whole_folder(folder) as partial:
        send([f"preparing {model}: writing", 3, _STEPS])
        openvino.save_model(converted, partial / QUANTISED, compress_to_fp16=False)
        tokenizer.save(str(partial / "tokenizer.json"))
        (partial / "spec.json").write_text(json.dumps(asdict(spec), indent=1), encoding="utf-8")
    send([f"preparing {model}: done", _STEPS, _STEPS])


if __name__ == "__main__":
    sys.exit(main(convert))
