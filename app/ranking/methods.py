"""The names of the ranking methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Method = Literal["classical", "quantum", "hybrid"]  # that compare states
RankMethod = Literal["classical", "quantum", "hybrid", "hybrid+cross"]  # the last: a cross-encoder reads the best
METHODS: tuple[Method, ...] = get_args(Method)
RANK_METHODS: tuple[RankMethod, ...] = get_args(RankMethod)
DEFAULT_METHOD: Method = "hybrid"
CROSS_METHOD: RankMethod = "hybrid+cross"
BASE: Mapping[RankMethod, Method] = {  # which of those that compare states a method begins with
    "classical": "classical",
    "quantum": "quantum",
    "hybrid": "hybrid",
    "hybrid+cross": "hybrid",
}


def split_method(name: str) -> tuple[str, RankMethod | None]:
    """A model's name without the ":method" at its end, and that method."""
    for method in RANK_METHODS:
        if name.endswith(f":{method}"):
            return name.removesuffix(f":{method}"), method
    return name, None
