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
from tokenizers import Encoding, Tokenizer

from retrieval.encoder.late_interaction import LateInteraction
from retrieval.encoder.protocol import PAD_TOKENS, Granularity, Role, Tokens, passes
from retrieval.encoder.scripts import scripts_of
from retrieval.encoder.states import Encoded, join, no_states, quantise, unit_rows
from retrieval.errors import EncodingError
from retrieval.forks import begin
from retrieval.text.characters import well_formed
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
    late_interaction: LateInteraction | None = None  # None: the model has a vector of its own for a whole text

    @staticmethod
    def read(path: Path) -> ModelSpec:
        """Read a spec.json; ValueError or TypeError if it is malformed."""
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        late = fields.pop("late_interaction", None)
        return ModelSpec(**fields, late_interaction=None if late is None else LateInteraction(**late))


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
        self.scripts = scripts_of(tokenizer)
        self.arithmetic, self.streams = arithmetic, streams
        begin(self)

    def begin(self) -> None:
        """Make threads for `encode`; see `forks`."""
        self._pool = ThreadPoolExecutor(self.streams, thread_name_prefix="encode")

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

    @property
    def late_interaction(self) -> bool:
        """Whether only tokens have vectors of their own; see `Encoder`."""
        return self._spec.late_interaction is not None

    def tokenize(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:
        """Tokenise n texts, truncated to `max_tokens`, queries of a late-interaction model to its own number.

        A text with special tokens only (an empty text) is represented by them, so that it can be scored.
        """
        without_offsets = self._tokenizer.encode_batch_fast
        return [self._read(encoding, role)[0] for encoding in self._encodings(texts, role, without_offsets)]

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the spans of the content tokens of n documents, (t, 2) each; see `Encoder`."""
        prompt = self._spec.prompts.get("document", "")
        return [
            np.maximum(_pairs(e.offsets)[~np.array(e.special_tokens_mask, dtype=bool)] - len(prompt), 0)
            for e in self._tokenizer.encode_batch([prompt + well_formed(text) for text in texts])
        ]

    def row_spans(self, texts: Sequence[str], role: Role = "document") -> list[NDArray[np.int64]]:
        """Return the spans of the rows of n texts, (r, 2) each; see `Encoder`."""
        prompt, found = len(self._spec.prompts.get(role, "")), []
        for encoding in self._encodings(texts, role, self._tokenizer.encode_batch):
            tokens, at = self._read(encoding, role)
            spans = np.maximum(_pairs(encoding.offsets)[at] - prompt, 0)
            found.append(np.where(at[:, None] >= 0, spans, 0)[tokens.content])
        return found

    def _encodings(
        self, texts: Sequence[str], role: Role, encode: Callable[[list[str]], list[Encoding]]
    ) -> list[Encoding]:
        prompt, end = self._spec.prompts.get(role, ""), most_code_points(self.max_tokens)
        return encode([prompt + well_formed(text[:end]) for text in texts])

    def _read(self, encoding: Encoding, role: Role) -> tuple[Tokens, NDArray[np.int64]]:
        """The tokens of a text, and for each its position in the encoding, -1 for one that is not of the text."""
        ids, late = np.array(encoding.ids, dtype=np.int64), self._spec.late_interaction
        if ids.size == 0:
            raise EncodingError("the tokenizer returned no tokens for a text; this model cannot encode it")
        special = np.array(encoding.special_tokens_mask, dtype=bool)
        ids, at = late.mark(ids, role) if late else (ids, np.arange(ids.size))
        at = np.where(special[at] | (at < 0), -1, at)
        most = late.query_tokens if late and role == "query" else self.max_tokens
        if ids.size > most:  # the special tokens are kept, and the first of the others
            kept = (at < 0) | (np.cumsum(at >= 0) <= most - np.count_nonzero(at < 0))
            ids, at = ids[kept], at[kept]
        if not late:
            return Tokens(ids, np.ones(ids.size, dtype=bool) if (at < 0).all() else at >= 0, self._padded(ids)), at
        filler, rows = late.fill(ids, role), late.have_rows(ids, role)
        rows = np.concatenate([rows, np.ones(filler.size, dtype=bool)])
        at = np.concatenate([at, np.full(filler.size, -1)])
        ids = np.concatenate([ids, filler])
        added = np.count_nonzero(at < 0)
        return Tokens(ids, rows, self._padded(ids), filled=filler.size, added=int(added)), at

    def _padded(self, ids: NDArray[np.int64]) -> int:
        return max(ids.size, min(-(-ids.size // PAD_TOKENS) * PAD_TOKENS, self.max_tokens))

    def inputs(self, batch: Sequence[Tokens]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what the model reads of b ≥ 1 texts of t padded tokens: (b, t) ids, and where it attends, 0 or 1."""
        lengths = np.array([len(text.ids) for text in batch], dtype=np.int64)[:, None]
        place = np.arange(batch[0].padded)
        ids = np.zeros((len(batch), place.size), dtype=np.int64)
        ids[place < lengths] = np.concatenate([text.ids for text in batch])  # real tokens first, padding after
        late = self._spec.late_interaction
        if late and not late.attends_filler:
            lengths = lengths - np.array([text.filled for text in batch])[:, None]
        return ids, (place < lengths).astype(np.int64)

    def forward(self, batch: Sequence[Tokens]) -> Encoded:
        """Return the states of b ≥ 1 texts of one padded length from one pass of the model."""
        tokens, pooled = self._forward(*self.inputs(batch))
        content = np.zeros(tokens.shape[:2], dtype=bool)
        for row, text in zip(content, batch, strict=True):
            row[: text.content.size] = text.content
        lengths = np.array([len(text.ids) for text in batch], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(content.sum(axis=1))])
        unknown = np.array([self._unknown_rows(text) for text in batch], dtype=np.int64)
        return Encoded(unit_rows(pooled), quantise(tokens[content]), offsets, lengths, unknown)

    def _unknown_rows(self, text: Tokens) -> int:
        """How many rows are of what is not in the vocabulary; those that are not of the text count in proportion."""
        unknown = int(np.count_nonzero(text.ids == self._unknown))
        own = text.ids.size - text.added
        return unknown * int(np.count_nonzero(text.content)) // max(1, own) if text.added else unknown

    def encode(self, texts: Sequence[str], role: Role = "document") -> Encoded:
        """Encode n texts, with up to `streams` concurrent passes."""
        if not texts:
            return no_states(self.pooled_dimension, self.token_dimension)
        return self.encode_tokens(self.tokenize(texts, role))

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Encoded:
        """Return the states of n ≥ 1 texts of `tokenize`, with up to `streams` concurrent passes."""
        batches = list(passes([text.padded for text in tokens]))
        parts = list(self._pool.map(self.forward, [[tokens[at] for at in batch] for batch in batches]))
        return join(parts).take(np.argsort(np.concatenate(batches)))


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
