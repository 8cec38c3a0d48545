"""Turn a model's weights into OpenVINO files once, and open what was prepared.

A prepared model is a folder `<name>-<digest>` under the model directory, or among those that a wheel brings.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from retrieval.encoder import weights
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.openvino_runtime import Precision, forward, resolve_precision
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.transformer import ModelSpec, TextEncoder
from retrieval.errors import ModelError

Runtime = Literal["openvino", "torch"]
Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all

_FORMAT = "v2"  # of a prepared folder; a change makes every model be prepared anew
_NOT_PLAIN = re.compile(r"[^\w.-]++")  # in the name of a folder
_SHIPPED = Path(__file__).with_name("shipped")
_NEEDED = ("torch", "sentence_transformers", "nncf")  # to prepare, never to serve


def load_encoder(
    model: str,
    model_dir: Path,
    progress: Progress,
    *,
    runtime: Runtime = "openvino",
    precision: Precision = "auto",
    streams: int = 1,
) -> Encoder:
    """The encoder of a model, prepared first if it never was.

    `model` is "hash" (no weights), the default model's name, a folder, or any sentence-transformers name on this
    machine. streams: forward passes at once, a core each. ModelError says what to do when the model is not to be had.
    """
    if model == "hash":
        return HashEncoder()
    if runtime == "torch":
        return _torch_encoder(model)
    folder = prepare(model, model_dir, progress)
    arithmetic = resolve_precision(precision, folder)
    try:
        spec = ModelSpec.read(folder / "spec.json")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raise nothing narrower
        raise ModelError(f"{folder} is damaged ({error}); delete it and it will be prepared again") from error
    run = forward(folder, arithmetic, streams)
    return TextEncoder(spec, tokenizer, run, f"openvino-{arithmetic}", streams)


def prepare(model: str, model_dir: Path, progress: Progress) -> Path:
    """The folder of the prepared model, made now if it is not there yet; progress is reported only when it is made."""
    slug = _slug(model)
    source = weights.find(model)
    if source is None:
        return _prepared_elsewhere(model, model_dir)
    digest = weights.digest(model, source)
    folder = model_dir / f"{slug}-{_FORMAT}-{digest[:16]}"
    if not folder.exists():
        _convert(model, source, digest, folder, progress)
    return folder


def _slug(model: str) -> str:
    return _NOT_PLAIN.sub("-", model).strip("-")


def _prepared_elsewhere(model: str, model_dir: Path) -> Path:
    """Serving images and wheels carry prepared files and no weights."""
    shipped = weights.DEFAULT_MODEL if weights.is_default(model) else model
    for place, name in ((model_dir, model), (_SHIPPED, shipped)):
        prepared = sorted(place.glob(f"{_slug(name)}-{_FORMAT}-*/spec.json"))
        if len(prepared) == 1:
            return prepared[0].parent
        if prepared:
            break
    raise ModelError(
        f"model {model!r} is neither a folder nor installed, and {model_dir} holds {len(prepared)} prepared copies of "
        "it; install it (pip install 'quantum-rerank[prepare]' for the default) or give its folder"
    )


def _convert(model: str, source: Path, digest: str, folder: Path, progress: Progress) -> None:
    """Run the conversion in a process of its own, so that this one never holds torch."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"preparing {model!r} needs {', '.join(missing)}; pip install 'quantum-rerank[prepare]'")
    _make(folder.parent)
    progress(f"preparing {model}: loading torch", 0, 5)
    # -P: a folder called "retrieval" where the user happens to stand is not ours.
    command = [sys.executable, "-P", "-m", "retrieval.encoder.conversion", model, str(source), digest, str(folder)]
    said: object = None
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as child:  # noqa: S603 - our own
            for line in child.stdout or ():
                said = json.loads(line)
                if isinstance(said, list):
                    progress(*said)
        if child.returncode == 0:
            return
        log.seek(0)
        why = said["error"] if isinstance(said, dict) else f"exit {child.returncode}: {_tail(log.read())}"
    raise ModelError(f"preparing {model!r} failed: {why}")


def _make(model_dir: Path) -> None:
    """Make the folder of prepared models before a minute's work, unless it is there."""
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=model_dir).close()
        os.fsencode(model_dir).decode()  # OpenVINO opens no other path
    except (OSError, UnicodeDecodeError) as error:
        why = "its name is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ModelError(
            f"{model_dir} cannot hold prepared models ({why}); set QRERANK_MODEL_DIR to a folder that can"
        ) from error


def _tail(log: bytes) -> str:
    lines = log.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing; -9 means that the machine's memory ran out"


def _torch_encoder(model: str) -> Encoder:
    from retrieval.encoder import torch_model  # only this runtime needs torch

    source = weights.find(model)
    if source is None:
        raise ModelError(f"model {model!r} is neither a folder nor installed; give its folder")
    loaded = torch_model.load(source)
    spec = torch_model.spec(loaded, model, weights.digest(model, source))
    return TextEncoder(spec, torch_model.tokenizer(loaded), torch_model.forward(loaded), "torch-f32")
