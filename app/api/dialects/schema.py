"""What the descriptions of responses are made of. The tests hold real responses to them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_NOTHING: Any = None


def or_absent(description: str) -> Any:
    """A field that is left out, never null: clients crash on a null where they look for a value."""
    return Field(_NOTHING, description=description, json_schema_extra=_drop_default)


def _drop_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class Exact(BaseModel):
    """A response that holds nothing but what its description names."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Usage(Exact):
    """Tokens that the encoder read for this request, now or once."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
