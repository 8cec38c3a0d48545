"""The `Encoder` protocol, and the grouping of texts into forward passes (batches)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.circuit_breaker import CircuitBreaker
from retrieval.encoder.states import Encoded

Role = Literal["query", "document"]
Granularity = Literal["token", "document"]

# Padded tokens of one forward pass. A pass of one long text is nearly as efficient as a large batch, so passes stay
# small: they delay other requests little, and deadlines are met to about 20 ms.
PASS_TOKENS = 512

# Texts are padded to a multiple of this, and batched only with texts of the same padded length. So the states of a text
# are bit-identical in every batch, and there are few input shapes to compile kernels for.
PAD_TOKENS = 16


@dataclass(frozen=True)
class Tokens:
    """The tokens of one text."""

    ids: NDArray[np.int64]  # (t,) token ids, including special tokens
    content: NDArray[np.bool_]  # (t,) True for tokens that are scored
    padded: int  # padded length; equal for all texts of one pass
    filled: int = field(default=0, kw_only=True)  # of them, at the end, those that fill up a query
    added: int = field(default=0, kw_only=True)  # those that are scored and not of the text, such as the former
    second: int | None = field(default=None, kw_only=True)  # of a pair, where its second text begins

    @property
    def of_text(self) -> int:
        """How many are of the text and its prompt: as many as it has spans, scored or not; all, if there are none."""
        return self.ids.size - self.added if self.added else int(np.count_nonzero(self.content))


class Encoder(Protocol):
    """Turns texts into states."""

    @property
    def name(self) -> str:
        """The model's name in the API."""

    @property
    def digest(self) -> str:
        """Identifies the weights: only states of the same digest may be compared. Collections store it."""

    @property
    def arithmetic(self) -> str:
        """Runtime and precision, such as "openvino-int8": states are bit-identical only under the same one."""

    @property
    def pooled_dimension(self) -> int:
        """The dimension P of pooled vectors."""

    @property
    def token_dimension(self) -> int:
        """The dimension D of token vectors."""

    @property
    def max_tokens(self) -> int:
        """The most tokens of a text, including special tokens; longer texts are truncated."""

    @property
    def streams(self) -> int:
        """The number of forward passes that may run concurrently."""

    @property
    def granularity(self) -> Granularity:
        """What has a vector of its own: each token, or only the text, whose one token row is its pooled vector."""

    @property
    def late_interaction(self) -> bool:
        """Whether only tokens have vectors of their own: then a text's pooled vector is the mean of its tokens'."""

    @property
    def scripts(self) -> frozenset[str] | None:
        """The scripts that the model reads, as `retrieval.text.characters.script_of` names them; None: nobody knows."""

    @property
    def breaker(self) -> CircuitBreaker | None:
        """The circuit breaker of an encoder on another machine, for which no request waits beyond its deadline.

        None for an encoder of this process.
        """

    def tokenize(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:
        """Tokenise n ≥ 0 texts, of each at most `most_code_points(max_tokens)` code points."""

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the spans of the tokens of n ≥ 0 documents, without special tokens and without truncation.

        (t, 2) int64 each: the code points [start, end) of each token, in order; the first are those of `tokenize`.
        Prompt tokens have the span [0, 0). A text without tokens of its own has no other rows.
        """

    def row_spans(self, texts: Sequence[str], role: Role = "document") -> list[NDArray[np.int64]]:
        """Return where the rows of the states of n ≥ 0 texts come from.

        (r, 2) int64 each: the code points [start, end) of the token of each row, [0, 0) for one that is not of the
        text, as of a special token or a prompt.
        """

    def forward(self, batch: Sequence[Tokens]) -> Encoded:
        """Return the states of b ≥ 1 texts of equal padded length, from one pass. `streams` threads may call it."""

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Encoded:
        """Return the states of n ≥ 1 texts of `tokenize`, in order, from as many passes as they take."""

    def encode(self, texts: Sequence[str], role: Role = "document") -> Encoded:
        """Return the states of n ≥ 0 texts, in order."""


def pass_size(count: int, padded: int, budget: int = PASS_TOKENS) -> int:
    """Return the batch size of a pass: the largest power of two that the count and the budget allow, at least 1.

    Powers of two keep the number of input shapes small: each shape has its own compiled kernels.

    Args:
        count: Texts of the same padded length, at least 1.
        padded: Their padded length in tokens.
        budget: The most padded tokens in a pass.
    """
    max_size = max(1, min(count, budget // padded))
    return 1 << (max_size.bit_length() - 1)


def pass_shapes(longest: int) -> Iterator[tuple[int, int]]:
    """Yield the (batch size, padded length) of all passes for texts of up to min(`longest`, PASS_TOKENS) tokens."""
    longest = min(longest, PASS_TOKENS)
    for padded in (longest, *range((longest - 1) // PAD_TOKENS * PAD_TOKENS, 0, -PAD_TOKENS)):
        size = pass_size(PASS_TOKENS, padded)
        while size:
            yield size, padded
            size //= 2


def passes(padded: Sequence[int], budget: int = PASS_TOKENS) -> Iterator[list[int]]:
    """Group text indices into passes of one padded length each, the longest texts first."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for at, length in enumerate(padded):
        by_length[length].append(at)
    for length in sorted(by_length, reverse=True):
        rest = by_length[length]
        while rest:
            size = pass_size(len(rest), length, budget)
            yield rest[:size]
            rest = rest[size:]
