"""The models that are served side by side, and which of them a request means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from app.ranking.methods import Method, split_method
from app.ranking.reranker import Reranker


@dataclass(frozen=True)
class Choice:
    """What a request's `model` means."""

    name: str  # to be echoed: as the client called it, or ours where it did not
    reranker: Reranker
    method: Method | None  # that the name asks for, as in "all-MiniLM-L6-v2:quantum"


class ModelRegistry:
    """The served rerankers. A request whose `model` none of them has gets the default: clients hard-code names."""

    def __init__(self, served: Mapping[str, Reranker], aliases: Mapping[str, str] | None = None) -> None:
        """served: by configured name, the default first. aliases: other names for them, with or without a ":method"."""
        self.served = {reranker.encoder.name: reranker for reranker in served.values()}
        self.aliases = dict(aliases or {})
        self._by_name = dict(served) | self.served
        self.default = next(iter(self.served.values()))  # serves requests that choose none

    def choose(self, asked: object) -> Choice:
        """The reranker and method that a request's `model` means: any JSON value, None among them."""
        if not isinstance(asked, str):
            name = self.default.encoder.name if asked is None else orjson.dumps(asked).decode()
            return Choice(name, self.default, None)
        base, method = split_method(self.aliases.get(asked, asked))
        reranker = self._by_name.get(base) or self._by_name.get(base.rsplit("/", 1)[-1]) or self.default
        return Choice(asked or reranker.encoder.name, reranker, method)

    def names(self) -> list[str]:
        """Every name that chooses one: the models', then the aliases."""
        return [*self.served, *self.aliases]
