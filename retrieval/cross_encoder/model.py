"""A cross-encoder's forward pass: pairs of texts in, one logit each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from retrieval.encoder.openvino_runtime import Run
from retrieval.encoder.protocol import PAD_TOKENS, Tokens
from retrieval.errors import EncodingError
from retrieval.text.characters import well_formed
from retrieval.text.limits import most_code_points

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class PairSpec:
    """The metadata of a model, stored beside its weights where it was prepared."""

    name: str
    digest: str  # of its files, hexadecimal
    max_tokens: int  # of both texts and the special tokens


@dataclass(frozen=True)
class Logits:
    """The scores of b pairs."""

    values: NDArray[np.float32]  # (b,) any real number, the higher the more relevant
    lengths: NDArray[np.int64]  # (b,) tokens

    def take(self, indices: Sequence[int]) -> Logits:
        """Those of some pairs."""
        at = np.asarray(indices, dtype=np.int64)
        return Logits(self.values[at], self.lengths[at])


class PairModel:
    """A model with its tokenizer."""

    breaker = None

    def __init__(self, spec: PairSpec, tokenizer: Tokenizer, run: Run, inputs: Sequence[str], streams: int) -> None:
        """Combine a tokenizer and a forward pass.

        Args:
            spec: The metadata of the model.
            tokenizer: Its tokenizer; its truncation and padding are changed here.
            run: Its forward pass.
            inputs: Which of `INPUTS` the pass takes.
            streams: Threads that may call `forward` concurrently.
        """
        tokenizer.no_padding()
        tokenizer.enable_truncation(spec.max_tokens, strategy="longest_first")
        self.spec, self.streams = spec, streams
        self._tokenizer, self._run, self._inputs = tokenizer, run, inputs

    @property
    def max_tokens(self) -> int:
        """The most tokens of a pair."""
        return self.spec.max_tokens

    def pairs(self, query: str, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise the query with each of n texts. A pair that is too long loses tokens of the longer text."""
        end = most_code_points(self.max_tokens)
        query = well_formed(query[:end])
        pairs = [(query, well_formed(text[:end])) for text in texts]
        return [self._tokens(encoding) for encoding in self._tokenizer.encode_batch(pairs)]

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise texts with an empty query, to measure what they cost."""
        return self.pairs("", texts)

    def _tokens(self, encoding: Encoding) -> Tokens:
        ids, types = np.array(encoding.ids, dtype=np.int64), encoding.type_ids
        if ids.size == 0:
            raise EncodingError("the tokenizer returned no tokens for a pair; this model cannot read it")
        padded = min(-(-ids.size // PAD_TOKENS) * PAD_TOKENS, self.max_tokens)
        return Tokens(ids, np.ones(ids.size, dtype=bool), padded, second=types.index(1) if 1 in types else ids.size)

    def forward(self, batch: Sequence[Tokens]) -> Logits:
        """Return the logits of b ≥ 1 pairs of one padded length from one pass of the model."""
        lengths = np.array([len(pair.ids) for pair in batch], dtype=np.int64)
        places = np.arange(batch[0].padded)
        mask = places < lengths[:, None]
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = np.concatenate([pair.ids for pair in batch])
        second = np.array([pair.second for pair in batch], dtype=np.int64)
        values = (ids, mask.astype(np.int64), (mask & (places >= second[:, None])).astype(np.int64))
        out = self._run({name: value for name, value in zip(INPUTS, values, strict=True) if name in self._inputs})
        logits = np.asarray(out[0], dtype=np.float32).reshape(-1)
        if not np.isfinite(logits).all():
            raise EncodingError(f"{self.spec.name} gave a score that is not finite; its files may be damaged")
        return Logits(logits, lengths)
