"""Late-interaction checkpoints: those of PyLate, of Stanford's ColBERT, and of sentence-transformers' own format.

sentence-transformers reads the weights of all three. What their files say about queries and documents is read here.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from retrieval.encoder.late_interaction import LateInteraction
from retrieval.errors import ModelError

_SETTINGS, _MODULES_FILE = "config_sentence_transformers.json", "modules.json"
_PYLATE = {
    *("query_prefix", "document_prefix", "query_length", "document_length"),
    *("do_query_expansion", "attend_to_expansion_tokens", "skiplist_words"),
}
_QUERY_TOKENS, _DOCUMENT_TOKENS = 32, 180  # where a checkpoint of PyLate or ColBERT states none
_MODULES = (Transformer, Dense, Normalize, MultiVectorMask)


def is_multi_vector(folder: Path) -> bool:
    """Whether a folder holds a late-interaction checkpoint."""
    return _read(folder / _SETTINGS).get("model_type") == "MultiVectorEncoder" or _pylate(folder) is not None


def load(folder: Path) -> MultiVectorEncoder:
    """Load a checkpoint onto the CPU, offline.

    Raises:
        ModelError: It has modules that are not known here.
        OSError, ValueError, KeyError, ImportError: Files are missing or malformed, or it has code of its own.
    """
    model = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
    unknown = [type(module).__name__ for module in model if type(module) not in _MODULES]
    if unknown or not isinstance(model[0], Transformer) or "text" not in _transformer(model).modality_config:
        raise ModelError(
            f"{folder} has modules that are not supported ({', '.join(unknown) or 'no Transformer of texts'}); use a "
            "model whose modules.json lists a Transformer, Dense and Normalize, or fold the others into the weights"
        )
    projections = sum(isinstance(module, Dense) for module in model)
    if projections > len(dense_settings(folder)) and not _is_stanford(folder):
        raise ModelError(
            f"{folder} is a late-interaction model without the projection of its tokens: no module of its modules.json "
            "is a Dense. Save the whole model with PyLate or sentence-transformers"
        )
    return model


def dense_settings(folder: Path) -> list[dict[str, Any]]:
    """The settings of a model's linear projections, in the order of its modules.

    ModelError for one that sentence-transformers would load as something else, with no more than a warning.
    """
    modules = json.loads((folder / _MODULES_FILE).read_text("utf-8")) if (folder / _MODULES_FILE).is_file() else []
    found = [_read(folder / m["path"] / "config.json") for m in modules if m["type"].endswith(".Dense")]
    for settings in found:
        activation = settings.get("activation_function", "torch.")
        strange = sorted(settings.keys() - Dense.config_keys)
        if strange or not activation.startswith("torch."):
            raise ModelError(
                f"{folder} has a Dense module that is not supported: "
                + (f"it has {', '.join(strange)}" if strange else f"its activation is {activation}")
                + "; use a model with a linear projection, whose activation is one of torch.nn"
            )
    return found


def reading(model: MultiVectorEncoder, folder: Path) -> tuple[int, Mapping[str, str | None], LateInteraction]:
    """How a model that was loaded from a folder reads texts.

    Returns:
        The most tokens of a document, including special tokens and the marker; the text before queries and documents,
        without their markers; what else there is to late interaction.

    Raises:
        ModelError: The tokenizer lacks a marker, or the model is one of images.
    """
    pylate = _pylate(folder)
    if pylate is None:
        return _within(model, _transformer(model).document_length), model.prompts, _of_native(model)
    tokens = _within(model, pylate.get("document_length") or _DOCUMENT_TOKENS)
    return tokens, pylate.get("prompts") or {}, _of_pylate(model, folder, pylate)


def _transformer(model: MultiVectorEncoder) -> Any:
    return model[0]


def _of_native(model: MultiVectorEncoder) -> LateInteraction:
    stated = _transformer(model).query_expansion or {}
    filled, token = stated.get("length", 0), stated.get("token")
    longest = _within(model, _transformer(model).query_length)
    return LateInteraction(
        query_tokens=filled if stated.get("strategy") == "fixed" else max(longest, filled),
        filled_tokens=filled,
        filler=model.tokenizer.convert_tokens_to_ids(token) if token else _filler(model),
        attends_filler=bool(stated.get("attend")),
        markers={},  # they are prompts
        skipped=dict(
            skipped for mask in model if isinstance(mask, MultiVectorMask) for skipped in _skipped(model, mask)
        ),
    )


def _skipped(model: MultiVectorEncoder, mask: MultiVectorMask) -> Iterator[tuple[str, list[int]]]:
    if mask.keep_only_token_ids:
        raise ModelError(
            "the model scores certain tokens of documents only (keep_only_token_ids), as models of images do; use one "
            "of texts"
        )
    ids = set(model.tokenizer.convert_tokens_to_ids(mask.skiplist_words)) - {model.tokenizer.unk_token_id}
    yield from ((task, sorted(ids)) for task in mask.skiplist_tasks)


def _of_pylate(model: MultiVectorEncoder, folder: Path, pylate: Mapping[str, Any]) -> LateInteraction:
    longest = _within(model, pylate.get("query_length") or _QUERY_TOKENS)
    expands = pylate.get("do_query_expansion") is not False
    words = pylate.get("skiplist_words")
    skipped = model.tokenizer.convert_tokens_to_ids(list(string.punctuation if words is None else words))
    return LateInteraction(
        query_tokens=longest,
        filled_tokens=longest if expands else 0,
        filler=_filler(model),
        attends_filler=expands and bool(pylate.get("attend_to_expansion_tokens")),
        markers=_markers(model, folder, pylate),
        # As in PyLate, a word that is no token stands for all that is not in the vocabulary.
        skipped={"document": sorted({i for i in skipped if i is not None})},
    )


def _markers(model: MultiVectorEncoder, folder: Path, pylate: Mapping[str, Any]) -> dict[str, int]:
    """The ids of the markers by role; none for one that is stated to be empty."""
    tokenizer, found = model.tokenizer, {}
    vocabulary = tokenizer.get_vocab()
    for role, default in (("query", "[Q] "), ("document", "[D] ")):
        stated = pylate.get(f"{role}_prefix")
        marker = default if stated is None else stated
        if marker and marker not in vocabulary:
            raise ModelError(
                f"{marker!r}, which marks each {role}, is not in the tokenizer of {folder}: its vector was not "
                f'trained. Save the model with PyLate again, which adds it, or state "{role}_prefix": "" in '
                f"{_SETTINGS} if the model was trained without"
            )
        if marker:
            found[role] = vocabulary[marker]
    return found


def _filler(model: MultiVectorEncoder) -> int:
    """The id that fills up queries: of the mask, or of the end where a model has none."""
    tokenizer = model.tokenizer
    ids = (tokenizer.mask_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return next((int(i) for i in ids if i is not None), 0)


def _within(model: MultiVectorEncoder, stated: int | None) -> int:
    """A number of tokens, at most as many as the model has positions for; all of them where none is stated."""
    longest: int = (
        getattr(_transformer(model).config, "max_position_embeddings", None) or _transformer(model).max_seq_length
    )
    return min(stated or _transformer(model).max_seq_length, longest)


def _pylate(folder: Path) -> Mapping[str, Any] | None:
    """The settings of a checkpoint of PyLate, or of Stanford's in PyLate's words; None for another one."""
    settings = _read(folder / _SETTINGS)
    if settings.get("model_type") == "ColBERT" or not _PYLATE.isdisjoint(settings):
        return settings
    if not _is_stanford(folder):
        return None
    stated = _read(folder / "artifact.metadata")
    return {
        "query_prefix": stated.get("query_token_id") or "[unused0]",
        "document_prefix": stated.get("doc_token_id") or "[unused1]",
        "query_length": stated.get("query_maxlen"),
        "document_length": stated.get("doc_maxlen"),
        "attend_to_expansion_tokens": stated.get("attend_to_mask_tokens"),
        "skiplist_words": None if stated.get("mask_punctuation", True) else [],
    }


def _is_stanford(folder: Path) -> bool:
    return "HF_ColBERT" in (_read(folder / "config.json").get("architectures") or ())


def _read(path: Path) -> dict[str, Any]:
    """A file's JSON object; empty without the file. ValueError if it is malformed."""
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}
