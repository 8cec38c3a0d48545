"""Headers of outgoing HTTP requests that are made while a request is served."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

_NONE: Mapping[str, str] = MappingProxyType({})

HEADERS: ContextVar[Mapping[str, str]] = ContextVar(
    "outgoing headers", default=_NONE
)  # the W3C trace context when tracing is on
