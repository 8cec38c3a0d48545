"""A passage: what is indexed, found and ranked."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """A piece of text with its name."""

    id: str
    title: str
    text: str

    @property
    def content(self) -> str:
        """What is encoded and ranked: title and text."""
        return f"{self.title} {self.text}".strip()
