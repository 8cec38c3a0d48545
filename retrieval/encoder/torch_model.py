"""The one module that imports torch: load any sentence-transformers model, run it, or trace it for OpenVINO.

Import it late: the serving process must not load torch once a model is prepared.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch.nn.functional import normalize

from retrieval.encoder.transformer import Forward, ModelSpec
from retrieval.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino


def load(folder: Path) -> SentenceTransformer:
    """Load a sentence-transformers model from its folder onto the CPU; ModelError if it is none. Asks no network."""
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no sentence-transformers model: {error}") from error
    return model.eval()


class TokenAndPooled(torch.nn.Module):
    """All modules of a sentence-transformers model in one pass: unit token rows (b, t, D) and pooled rows (b, P)."""

    def __init__(self, model: SentenceTransformer) -> None:
        """Wrap a loaded model."""
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, both (b, t) int64, to token and pooled vectors."""
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        for module in self.model:
            features = module(features)
        return normalize(features["token_embeddings"], dim=-1), normalize(features["sentence_embedding"], dim=-1)


def spec(model: SentenceTransformer, name: str, digest: str) -> ModelSpec:
    """What the encoder must know of the model, its sizes as it really gives them."""
    with torch.inference_mode():
        tokens, pooled = TokenAndPooled(model)(*_example())
    prompts = {role: text for role, text in model.prompts.items() if role in {"query", "document"} and text}
    return ModelSpec(name, digest, _max_tokens(model), pooled.shape[-1], tokens.shape[-1], prompts)


def _max_tokens(model: SentenceTransformer) -> int:
    if model.max_seq_length is None:
        raise ModelError("the model states no max_seq_length; set one in its sentence_bert_config.json")
    return int(model.max_seq_length)


def tokenizer(model: SentenceTransformer) -> Tokenizer:
    """The model's tokenizer, free of transformers; ModelError where it is written in Python only."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ModelError("the model has no fast tokenizer (tokenizer.json); convert its tokenizer first")
    return backend


def forward(model: SentenceTransformer) -> Forward:
    """The model as a forward pass under torch, float32."""
    module = TokenAndPooled(model).eval()

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            tokens, pooled = module(torch.from_numpy(ids), torch.from_numpy(mask))
        return tokens.numpy(), pooled.numpy()

    return run


def to_openvino(model: SentenceTransformer) -> openvino.Model:
    """Trace the model into OpenVINO's form with free batch and length."""
    import openvino  # the torch runtime does without it

    try:
        with _quiet():
            return openvino.convert_model(TokenAndPooled(model).eval(), example_input=_example())
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"OpenVINO cannot convert this model ({error}); set QRERANK_ENCODER__RUNTIME=torch to run it under torch"
        ) from error


def _example() -> tuple[torch.Tensor, torch.Tensor]:
    # The second text is shorter, so that tracing sees a mask that masks.
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    return mask.clone(), mask


@contextmanager
def _quiet() -> Iterator[None]:
    """Tracing warns about branches that depend on tensors; the tests compare the outcome with torch at other sizes."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
