"""`python -m retrieval.encoder.conversion`: convert a model's weights to OpenVINO files, in a separate process.

It loads torch and transformers, which the serving process never loads. Each output line is a JSON list with the
arguments of a progress report, or {"error": …} before a failure.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import openvino

from retrieval.atomic_dir import whole_folder
from retrieval.encoder import torch_model
from retrieval.encoder.int8 import group_weights
from retrieval.encoder.openvino_runtime import FULL, QUANTISED
from retrieval.errors import ModelError

_STEPS = 4
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
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec.max_tokens)
    send([f"preparing {model}: converting", 2, _STEPS])
    full = torch_model.to_openvino(loaded)
    with whole_folder(folder) as partial:
        openvino.save_model(full, partial / FULL, compress_to_fp16=False)
        tokenizer.save(str(partial / "tokenizer.json"))
        (partial / "spec.json").write_text(json.dumps(asdict(spec), indent=1), encoding="utf-8")
        send([f"preparing {model}: rounding to int8", 3, _STEPS])
        group_weights(full)
        openvino.save_model(full, partial / QUANTISED, compress_to_fp16=False)
    send([f"preparing {model}: done", _STEPS, _STEPS])


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
