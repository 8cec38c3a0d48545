"""Text to states: tokenise, batch by length, run the model once, keep its token vectors and its pooled vector."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from retrieval.encoding import Encoded, join, quantise, unit_rows
from retrieval.errors import EncodingError

Role = Literal["query", "document"]

# (b, t) int64 ids and mask in; (b, t, D) token vectors and (b, P) pooled vectors out, float32, any length.
Forward = Callable[[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[np.float32], NDArray[np.float32]]]


class Encoder(Protocol):
    """What turns texts into states."""

    @property
    def name(self) -> str:
        """The model's name, as clients see it."""

    @property
    def digest(self) -> str:
        """Which weights: states of the same digest may be compared; collections carry it."""

    @property
    def arithmetic(self) -> str:
        """What computes, such as "openvino-bf16": the same text gets the same bytes only under the same one."""

    @property
    def max_tokens(self) -> int:
        """Tokens of one text that the model reads; the rest is cut off."""

    def encode(self, texts: Sequence[str], role: Role = "document") -> Encoded:
        """The states of n ≥ 0 texts, in their order."""


@dataclass(frozen=True)
class ModelSpec:
    """What must be known of a prepared model to feed it; kept beside its weights."""

    name: str
    digest: str
    max_tokens: int
    pooled_dimension: int
    token_dimension: int
    prompts: Mapping[str, str]  # role to the text that the model wants before it ("query: ")

    @staticmethod
    def read(path: Path) -> ModelSpec:
        """Read what `prepare` wrote; ValueError or TypeError where it is not such a file."""
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return ModelSpec(**fields)


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Group positions into batches of like length whose padded size (count × longest) stays within budget tokens.

    A text longer than the budget gets a batch of its own.
    """
    batch: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batch[0]] if batch else lengths[at]
        if batch and longest * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch


class TextEncoder:
    """A transformer's token and pooled vectors from one forward pass, whatever runtime does the pass."""

    def __init__(
        self, spec: ModelSpec, tokenizer: Tokenizer, forward: Forward, arithmetic: str, batch_tokens: int = 4096
    ) -> None:
        """Take over the tokenizer (its truncation and padding are set here) and a forward pass."""
        tokenizer.no_padding()
        tokenizer.enable_truncation(spec.max_tokens)
        self._spec, self._tokenizer, self._forward, self._batch_tokens = spec, tokenizer, forward, batch_tokens
        self._arithmetic = arithmetic

    @property
    def name(self) -> str:
        """The model's name."""
        return self._spec.name

    @property
    def digest(self) -> str:
        """SHA-256 of the model's files, hexadecimal."""
        return self._spec.digest

    @property
    def arithmetic(self) -> str:
        """The runtime and its precision."""
        return self._arithmetic

    @property
    def max_tokens(self) -> int:
        """Tokens of one text that the model reads, special ones included."""
        return self._spec.max_tokens

    def encode(self, texts: Sequence[str], role: Role = "document") -> Encoded:
        """Encode n texts in batches of like length; text beyond `max_tokens` is cut off.

        A text with no token but special ones (an empty one) is stood for by those, so that it, too, gets a true score.
        """
        if not texts:
            return self._empty()
        prompt = self._spec.prompts.get(role, "")
        encodings = self._tokenizer.encode_batch([prompt + text for text in texts])
        ids = [np.array(e.ids, dtype=np.int64) for e in encodings]
        kept = [_content(np.array(e.special_tokens_mask, dtype=bool)) for e in encodings]
        order: list[int] = []
        parts: list[Encoded] = []
        for batch in batches([len(row) for row in ids], self._batch_tokens):
            parts.append(self._encode_batch([ids[i] for i in batch], [kept[i] for i in batch]))
            order += batch
        return join(parts).take(np.argsort(order))

    def _encode_batch(self, ids: list[NDArray[np.int64]], kept: list[NDArray[np.bool_]]) -> Encoded:
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        # (b, t): real tokens first, padding after
        mask = np.arange(lengths.max()) < lengths[:, None]
        padded = np.zeros(mask.shape, dtype=np.int64)
        padded[mask] = np.concatenate(ids)
        tokens, pooled = self._forward(padded, mask.astype(np.int64))
        content = np.zeros(mask.shape, dtype=bool)
        content[mask] = np.concatenate(kept)
        offsets = np.concatenate([[0], np.cumsum(content.sum(axis=1))])
        return Encoded(unit_rows(pooled), quantise(tokens[content]), offsets, lengths)

    def _empty(self) -> Encoded:
        none = np.zeros(0, dtype=np.int64)
        pooled = np.zeros((0, self._spec.pooled_dimension), dtype=np.float32)
        return Encoded(pooled, np.zeros((0, self._spec.token_dimension), dtype=np.int8), np.zeros(1, np.int64), none)


def _content(special: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of a text's tokens are scored: all but the special ones, or all where there are no others."""
    if special.size == 0:
        raise EncodingError("the tokenizer gave no token at all for a text; this model cannot encode it")
    return np.ones_like(special) if special.all() else ~special
