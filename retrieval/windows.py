"""What is read of a long text, and where it is cut into windows that the encoder reads whole."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """What is read of one document: its first `max_tokens` tokens (None: all), in at most `max_chunks` chunks."""

    max_tokens: int | None = None  # special ones not counted
    max_chunks: int = 16

    def __post_init__(self) -> None:
        """ValueError unless at least one of each is read."""
        if self.max_chunks < 1 or (self.max_tokens is not None and self.max_tokens < 1):
            raise ValueError(f"at least one token in one chunk is read of a document; got {self}")
