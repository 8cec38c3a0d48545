"""The names of the ranking methods."""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["classical", "quantum", "hybrid"]
METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT_METHOD: Method = "hybrid"


def split_method(name: str) -> tuple[str, Method | None]:
    """A model's name without the ":method" at its end, and that method."""
    for method in METHODS:
        if name.endswith(f":{method}"):
            return name.removesuffix(f":{method}"), method
    return name, None
