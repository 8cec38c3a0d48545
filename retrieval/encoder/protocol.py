"""What turns texts into states: its Protocol, and how texts are grouped into forward passes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder.states import Encoded

Role = Literal["query", "document"]

# Padded tokens of one forward pass. One long text is nearly as efficient a pass as many, so passes stay small:
# what they delay is short, and a deadline can be met to some twenty milliseconds.
PASS_TOKENS = 512

# Texts are padded to a multiple of this, and computed beside texts of that length only. With it a text's states are
# the same to the last bit whatever it is encoded beside, and there are few shapes of input to compile kernels for.
PAD_TOKENS = 16


@dataclass(frozen=True)
class Tokens:
    """One text as the model reads it."""

    ids: NDArray[np.int64]  # (t,) special ones included
    content: NDArray[np.bool_]  # (t,) which are scored
    padded: int  # length at which it is computed; texts of one pass share it


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
        """What computes, such as "openvino-int8": the same text gets the same bytes only under the same one."""

    @property
    def pooled_dimension(self) -> int:
        """How long the vector of a text is."""

    @property
    def token_dimension(self) -> int:
        """How long the vector of a token is."""

    @property
    def max_tokens(self) -> int:
        """Tokens of one text that the model reads; the rest is cut off."""

    @property
    def streams(self) -> int:
        """Forward passes that run at once without slowing each other."""

    def tokenize(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:
        """N ≥ 0 texts as the model reads them; no more is looked at than `most_code_points(max_tokens)`."""

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Where the content tokens of n ≥ 0 documents lie, however long those are.

        (t, 2) int64 each: the code points [start, end) of the text that the tokens were read from, in their order, the
        first of them those that `tokenize` gives. Tokens of a prompt lie nowhere in the text, at [0, 0), and a text
        that has no token of its own has no rows beside them.
        """

    def forward(self, batch: Sequence[Tokens]) -> Encoded:
        """The states of b ≥ 1 texts of one padded length, from one pass. May be called from `streams` threads."""

    def encode(self, texts: Sequence[str], role: Role = "document") -> Encoded:
        """The states of n ≥ 0 texts, in their order."""


def pass_size(count: int, padded: int, budget: int = PASS_TOKENS) -> int:
    """How many of count ≥ 1 texts of one padded length go into a pass: as many as the budget holds, at least one.

    Always a power of two: each shape of input has its own compiled kernels, so few shapes are soon all warm.
    """
    most = max(1, min(count, budget // padded))
    return 1 << (most.bit_length() - 1)


def pass_shapes(longest: int) -> Iterator[tuple[int, int]]:
    """The (count, padded length) of every pass of texts of up to `longest` tokens, and no longer than a pass."""
    longest = min(longest, PASS_TOKENS)
    for padded in (longest, *range((longest - 1) // PAD_TOKENS * PAD_TOKENS, 0, -PAD_TOKENS)):
        size = pass_size(PASS_TOKENS, padded)
        while size:
            yield size, padded
            size //= 2


def passes(padded: Sequence[int], budget: int = PASS_TOKENS) -> Iterator[list[int]]:
    """Group the positions of texts by padded length into passes, the longest texts first."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for at, length in enumerate(padded):
        by_length[length].append(at)
    for length in sorted(by_length, reverse=True):
        rest = by_length[length]
        while rest:
            size = pass_size(len(rest), length, budget)
            yield rest[:size]
            rest = rest[size:]
