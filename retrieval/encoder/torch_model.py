"""Load a sentence-transformers model, run it with torch, or convert it to OpenVINO.

Only this module and `multi_vector` import torch. Import them lazily: the serving process must not load torch once a
model is prepared.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from tokenizers import Tokenizer
from torch.nn.functional import normalize

from retrieval.encoder import multi_vector
from retrieval.encoder.transformer import Forward, ModelSpec
from retrieval.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import openvino


Model: TypeAlias = SentenceTransformer | MultiVectorEncoder


def load(folder: Path) -> Model:
    """Load a sentence-transformers or late-interaction model from a folder onto the CPU, offline.

    ModelError if there is none, or one that is not supported.
    """
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        multi_vector.dense_settings(folder)  # checks them
        if multi_vector.is_multi_vector(folder):
            return multi_vector.load(folder).eval()
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True).eval()
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"{folder} holds no sentence-transformers model: {error}. A model's own code is not run: its modules must "
            "be those of sentence-transformers"
        ) from error


class TokenAndPooled(torch.nn.Module):
    """Runs all modules of a model: returns unit rows, (b, t, D) of tokens and (b, P) pooled.

    A late-interaction model has no pooled vector: it is the mean of its tokens' unit vectors (P = D).
    """

    def __init__(self, model: Model) -> None:
        """Wrap a loaded model."""
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute token and pooled vectors from token ids and the attention mask, both (b, t) int64."""
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        for module in self.model:
            if not isinstance(module, MultiVectorMask):  # the encoder selects rows
                features = module(features)
        tokens = normalize(features["token_embeddings"], dim=-1)
        if isinstance(self.model, MultiVectorEncoder):
            return tokens, normalize((tokens * attention_mask[..., None]).sum(dim=1), dim=-1)
        return tokens, normalize(features["sentence_embedding"], dim=-1)


def spec(model: Model, source: Path, name: str, digest: str) -> ModelSpec:
    """Return the spec of a model that was loaded from a folder, with dimensions measured in a pass."""
    with torch.inference_mode():
        tokens, pooled = TokenAndPooled(model)(*_example())
    dimensions = pooled.shape[-1], tokens.shape[-1]
    if not isinstance(model, MultiVectorEncoder):
        return ModelSpec(name, digest, _max_tokens(model), *dimensions, _prompts(model.prompts))
    longest, prompts, late = multi_vector.reading(model, source)
    return ModelSpec(name, digest, longest, *dimensions, _prompts(prompts), late)


def _prompts(stated: Mapping[str, str | None]) -> dict[str, str]:
    """The prompts by role, under the names that sentence-transformers looks for."""
    names = {"query": ("query",), "document": ("document", "passage", "corpus")}
    found = {role: next(filter(None, map(stated.get, of)), "") for role, of in names.items()}
    return {role: prompt for role, prompt in found.items() if prompt}


def _max_tokens(model: SentenceTransformer) -> int:
    if model.max_seq_length is None:
        raise ModelError("the model states no max_seq_length; set one in its sentence_bert_config.json")
    return int(model.max_seq_length)


def tokenizer(model: Model | CrossEncoder) -> Tokenizer:
    """Return the model's fast tokenizer, independent of transformers; ModelError if it has none."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ModelError("the model has no fast tokenizer (tokenizer.json); convert its tokenizer first")
    return backend


def forward(model: Model) -> Forward:
    """Return the model's forward pass with torch in float32."""
    module = TokenAndPooled(model).eval()

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            tokens, pooled = module(torch.from_numpy(ids), torch.from_numpy(mask))
        return tokens.numpy(), pooled.numpy()

    return run


def to_openvino(model: Model) -> openvino.Model:
    """Convert the model to OpenVINO with dynamic batch size and length."""
    import openvino  # the torch runtime does not need it

    try:
        with quiet():
            return openvino.convert_model(TokenAndPooled(model).eval(), example_input=_example())
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"OpenVINO cannot convert this model ({error}); set QRERANK_ENCODER__RUNTIME=torch to run it under torch"
        ) from error


def _example() -> tuple[torch.Tensor, torch.Tensor]:
    # The second text is shorter, so that the trace includes masking.
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    return mask.clone(), mask


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the tracer's warnings about branches on tensors; tests compare the result with torch at other sizes."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
