"""Convert a model's weights to OpenVINO files once, and load prepared models.

A prepared model is a folder `<name>-<format>-<digest>` in the model directory, or in the wheel.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tokenizers import Tokenizer

from retrieval.encoder import weights
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.transformer import ModelSpec, TextEncoder
from retrieval.encoder.weights import WeightsNotFound
from retrieval.errors import ModelError

if TYPE_CHECKING:
    from retrieval.encoder.openvino_runtime import Precision

Runtime = Literal["openvino", "torch"]
Progress = Callable[[str, int, int], None]  # current step, steps done, total steps

_NOT_PLAIN = re.compile(r"[^\w.-]++")  # characters not allowed in folder names


@dataclass(frozen=True)
class Kind:
    """A kind of model, and how its weights become a prepared folder."""

    format: str  # of the folder; a new value makes every model be prepared again
    conversion: str  # the module that converts it, in a separate process
    organisation: str  # whose models the hub's short names mean


ENCODER = Kind("v3", "retrieval.encoder.conversion", "sentence-transformers")

_SHIPPED = Path(__file__).with_name("shipped")
_REQUIRED_MODULES = ("torch", "sentence_transformers")  # for preparing, never for serving


def load_encoder(
    model: str,
    model_dir: Path,
    progress: Progress,
    *,
    runtime: Runtime = "openvino",
    precision: Precision = "auto",
    streams: int = 1,
    prompts: Mapping[str, str] | None = None,
) -> Encoder:
    """Load the encoder of a model; prepare the model first if needed.

    Args:
        model: "hash" (no weights), the default model's name, a folder, or any sentence-transformers name on this
            machine.
        model_dir: The folder of prepared models.
        progress: Called with each step of the preparation.
        runtime: OpenVINO, or torch without preparation.
        precision: The arithmetic under OpenVINO; see `resolve_precision`.
        streams: Concurrent forward passes, one core each.
        prompts: By role, in place of the model's own; states with other prompts have another digest.

    Raises:
        ModelError: The model is not available; the message says what to do.
    """
    if model == "hash":
        if prompts:
            raise ModelError("the model 'hash' reads no prompts; take it out of QRERANK_ENCODER__PROMPTS")
        return HashEncoder()
    if runtime == "torch":
        return _torch_encoder(model, prompts)
    folder = prepare(model, model_dir, progress)
    return open_prepared(folder, precision=precision, streams=streams, prompts=prompts)


def open_prepared(
    folder: Path, *, precision: Precision = "auto", streams: int = 1, prompts: Mapping[str, str] | None = None
) -> Encoder:
    """Load a prepared model from its folder; ModelError if it is damaged or cannot run here. Arguments as above."""
    from retrieval.encoder.openvino_runtime import forward, resolve_precision  # on use: its import takes 0.1 s

    arithmetic = resolve_precision(precision, folder)
    try:
        spec = ModelSpec.read(folder / "spec.json")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raise nothing narrower
        raise ModelError(f"{folder} is damaged ({error}); delete it and it will be prepared again") from error
    run = forward(folder, arithmetic, streams)
    name = f"openvino-{arithmetic}" + ("-g64" if arithmetic == "int8" else "")  # states of another int8 differ
    return TextEncoder(_prompted(spec, prompts), tokenizer, run, name, streams)


def _prompted(spec: ModelSpec, prompts: Mapping[str, str] | None) -> ModelSpec:
    if prompts is None or prompts == spec.prompts:
        return spec
    digest = hashlib.sha256(json.dumps([spec.digest, sorted(prompts.items())]).encode()).hexdigest()
    return replace(spec, prompts=prompts, digest=digest)


def prepare(model: str, model_dir: Path, progress: Progress, kind: Kind = ENCODER) -> Path:
    """Return the folder of the prepared model, and prepare it first if needed.

    Args:
        model: The name of the model, or its folder.
        model_dir: The folder of prepared models.
        progress: Called with each step, only if the model is prepared now.
        kind: The kind of model.
    """
    try:
        source = weights.find(model, kind.organisation)
    except WeightsNotFound as missing:
        return _find_prepared(model, model_dir, kind, missing)
    digest = weights.digest(model, source)
    folder = model_dir / f"{_slug(model)}-{kind.format}-{digest[:16]}"
    if not folder.exists():
        _convert(model, source, digest, folder, progress, kind)
    return folder


def _slug(model: str) -> str:
    return _NOT_PLAIN.sub("-", model).strip("-")


def _find_prepared(model: str, model_dir: Path, kind: Kind, missing: WeightsNotFound) -> Path:
    """Find a prepared model without its weights: serving images and wheels contain only prepared files."""
    prepared = prepared_copies(model, model_dir, kind)
    if len(prepared) == 1:
        return prepared[0]
    if prepared:  # only the weights would tell which is theirs
        raise ModelError(
            f"{missing.reason}, and {model_dir} holds {len(prepared)} prepared copies of it; delete all but one"
        )
    raise ModelError(f"{missing.reason}, and {model_dir} holds no prepared copy of it; {missing.remedy}")


def prepared_copies(model: str, model_dir: Path, kind: Kind = ENCODER) -> list[Path]:
    """The folders of a model's prepared copies in a folder; where it has none, the copy that the wheel brings."""
    shipped_name = weights.DEFAULT_MODEL if weights.is_default(model) else model
    for folder, name in ((model_dir, model), (_SHIPPED, shipped_name)):
        if prepared := sorted(folder.glob(f"{_slug(name)}-{kind.format}-*/spec.json")):
            return [spec.parent for spec in prepared]
    return []


def _convert(model: str, source: Path, digest: str, folder: Path, progress: Progress, kind: Kind) -> None:
    """Run the conversion in a separate process, so that this one never loads torch."""
    missing = [name for name in _REQUIRED_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"preparing {model!r} needs {', '.join(missing)}; pip install 'quantum-rerank[prepare]'")
    _check_writable(folder.parent)
    progress(f"preparing {model}: loading torch", 0, 4)
    # -P: do not import a folder called "retrieval" from the working directory.
    command = [sys.executable, "-P", "-m", kind.conversion, model, str(source), digest, str(folder)]
    message: object = None
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as child:  # noqa: S603 - our own
            try:
                for line in child.stdout or ():
                    message = json.loads(line)
                    if isinstance(message, list):
                        progress(*message)
            except BaseException:  # such as a signal: `with` would wait for the end of the conversion
                child.kill()
                raise
        if child.returncode == 0:
            return
        log.seek(0)
        reason = message["error"] if isinstance(message, dict) else f"exit {child.returncode}: {_tail(log.read())}"
    raise ModelError(f"preparing {model!r} failed: {reason}")


def _check_writable(model_dir: Path) -> None:
    """Create the folder of prepared models if needed, and check that it is writable, before a minute of work."""
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=model_dir).close()
        os.fsencode(model_dir).decode()  # OpenVINO opens no other path
    except (OSError, UnicodeDecodeError) as error:
        reason = "its name is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ModelError(
            f"{model_dir} cannot hold prepared models ({reason}); set QRERANK_MODEL_DIR to a folder that can"
        ) from error


def _tail(log: bytes) -> str:
    lines = log.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output; -9 means that the machine ran out of memory"


def _torch_encoder(model: str, prompts: Mapping[str, str] | None) -> Encoder:
    from retrieval.encoder import torch_model  # only this runtime needs torch

    source = weights.find(model)
    loaded = torch_model.load(source)
    spec = torch_model.spec(loaded, source, model, weights.digest(model, source))
    spec = _prompted(spec, prompts)
    return TextEncoder(spec, torch_model.tokenizer(loaded), torch_model.forward(loaded), "torch-f32")
