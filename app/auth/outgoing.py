"""What requests to others carry that are made while one of ours is served."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

_NONE: Mapping[str, str] = MappingProxyType({})

HEADERS: ContextVar[Mapping[str, str]] = ContextVar(
    "outgoing headers", default=_NONE
)  # W3C trace context, where traced
