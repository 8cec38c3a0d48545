"""A transformer encoder: token vectors and the pooled vector of a text from one forward pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from retrieval.encoder.protocol import PAD_TOKENS, Granularity, Role, Tokens, passes
from retrieval.encoder.states import Encoded, join, quantise, unit_rows
from retrieval.errors import EncodingError
from retrieval.text.limits import most_code_points

# (b, t) int64 ids and mask in; (b, t, D) token vectors and (b, P) pooled vectors out, float32, any length.
Forward = Callable[[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class ModelSpec:
    """The metadata of a prepared model, stored beside its weights."""

    name: str
    digest: str
    max_tokens: int
    pooled_dimension: int
    token_dimension: int
    prompts: Mapping[str, str]  # by role, the text before each input ("query: ")

    @staticmethod
    def read(path: Path) -> ModelSpec:
        """Read a spec.json; ValueError or TypeError if it is malformed."""
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return ModelSpec(**fields)


class TextEncoder:
    """A model with its tokenizer, for any runtime."""

    granularity: Granularity = "token"
    breaker = None

    def __init__(
        self, spec: ModelSpec, tokenizer: Tokenizer, forward: Forward, arithmetic: str, streams: int = 1
    ) -> None:
        """Combine a tokenizer and a forward pass into an encoder.

        Args:
            spec: The metadata of the model.
            tokenizer: Its tokenizer; its truncation and padding are changed here.
            forward: Its forward pass.
            arithmetic: Runtime and precision, such as "openvino-int8".
            streams: Threads that may call `forward` concurrently.
        """
        tokenizer.no_padding()
        tokenizer.no_truncation()  # a tokenizer with it could not serve `token_spans`, and a copy takes up to 400 MB
        self._spec, self._tokenizer, self._forward = spec, tokenizer, forward
        self._unknown = _unknown_id(tokenizer)
        self.arithmetic, self.streams = arithmetic, streams
        self._pool = ThreadPoolExecutor(streams, thread_name_prefix="encode")

    @property
    def name(self) -> str:
        """The model's name."""
        return self._spec.name

    @property
    def digest(self) -> str:
        """SHA-256 of the model's files, hexadecimal."""
        return self._spec.digest

    @property
    def pooled_dimension(self) -> int:
        """The dimension P of pooled vectors."""
        return self._spec.pooled_dimension

    @property
    def token_dimension(self) -> int:
        """The dimension D of token vectors."""
        return self._spec.token_dimension

    @property
    def max_tokens(self) -> int:
        """The most tokens of a text, including special tokens."""
        return self._spec.max_tokens

    def tokenize(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:
        """Tokenise n texts, truncated to `max_tokens`.

        A text with special tokens only (an empty text) is represented by them, so that it can be scored.
        """
        prompt, end = self._spec.prompts.get(role, ""), most_code_points(self.max_tokens)
        return [
            self._tokens(np.array(e.ids, dtype=np.int64), np.array(e.special_tokens_mask, dtype=bool))
            for e in self._tokenizer.encode_batch([prompt + text[:end] for text in texts])
        ]

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the spans of the content tokens of n documents, (t, 2) each; see `Encoder`."""
        prompt = self._spec.prompts.get("document", "")
        return [
            np.maximum(_pairs(e.offsets)[~np.array(e.special_tokens_mask, dtype=bool)] - len(prompt), 0)
            for e in self._tokenizer.encode_batch([prompt + text for text in texts])
        ]

    def _tokens(self, ids: NDArray[np.int64], special: NDArray[np.bool_]) -> Tokens:
        if ids.size == 0:
            raise EncodingError("the tokenizer returned no tokens for a text; this model cannot encode it")
        if ids.size > self.max_tokens:  # the special tokens are kept, and the first of the others
            kept = special | (np.cumsum(~special) <= self.max_tokens - np.count_nonzero(special))
            ids, special = ids[kept], special[kept]
        padded = min(-(-ids.size // PAD_TOKENS) * PAD_TOKENS, self.max_tokens)
        return Tokens(ids, np.ones_like(special) if special.all() else ~special, padded)

    def forward(self, batch: Sequence[Tokens]) -> Encoded:
        """Return the states of b ≥ 1 texts of one padded length from one pass of the model."""
        lengths = np.array([len(text.ids) for text in batch], dtype=np.int64)
        # (b, t): real tokens first, padding after
        mask = np.arange(batch[0].padded) < lengths[:, None]
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = np.concatenate([text.ids for text in batch])
        tokens, pooled = self._forward(ids, mask.astype(np.int64))
        content = np.zeros(mask.shape, dtype=bool)
        content[mask] = np.concatenate([text.content for text in batch])
        offsets = np.concatenate([[0], np.cumsum(content.sum(axis=1))])
        unknown = np.array([np.count_nonzero(text.ids == self._unknown) for text in batch], dtype=np.int64)
        return Encoded(unit_rows(pooled), quantise(tokens[content]), offsets, lengths, unknown)

    def encode(self, texts: Sequence[str], role: Role = "document") -> Encoded:
        """Encode n texts, with up to `streams` concurrent passes."""
        if not texts:
            return self._empty()
        tokens = self.tokenize(texts, role)
        batches = list(passes([text.padded for text in tokens]))
        parts = list(self._pool.map(self.forward, [[tokens[at] for at in batch] for batch in batches]))
        return join(parts).take(np.argsort(np.concatenate(batches)))

    def _empty(self) -> Encoded:
        lengths = np.zeros(0, dtype=np.int64)
        pooled = np.zeros((0, self._spec.pooled_dimension), dtype=np.float32)
        return Encoded(
            pooled, np.zeros((0, self._spec.token_dimension), dtype=np.int8), np.zeros(1, np.int64), lengths, lengths
        )


def _pairs(offsets: list[tuple[int, int]]) -> NDArray[np.int64]:
    return np.array(offsets, dtype=np.int64).reshape(-1, 2)


def _unknown_id(tokenizer: Tokenizer) -> int:
    """The id for what is not in the vocabulary; -1 for a model that has none, as one that reads bytes."""
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("unk_id") is not None:  # Unigram
        return int(model["unk_id"])
    token = model.get("unk_token")
    found = tokenizer.token_to_id(token) if token else None
    return -1 if found is None else found
