"""Base classes of response models. The tests validate real responses against the models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_ABSENT: Any = None


def or_absent(description: str) -> Any:
    """A field that is absent rather than null: clients crash on a null value."""
    return Field(_ABSENT, description=description, json_schema_extra=_drop_default)


def _drop_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class Exact(BaseModel):
    """A response without fields that its model does not name."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Usage(Exact):
    """Tokens of the texts of this request, cached ones included."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
