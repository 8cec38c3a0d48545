"""The dialect of OpenAI's embeddings."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.api.dialects.body import Count, Model
from app.service.embeddings import Embeddings


def _texts(value: object) -> object:
    """One plain message, where a union type would give one for each of its members."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise ValueError("must be a text, or a list of at least one")
    first = value[0][0] if isinstance(value[0], list) and value[0] else value[0]
    if isinstance(first, int):
        raise ValueError(  # noqa: TRY004 - pydantic reports ValueError only
            "holds token numbers, which mean nothing to this model's tokenizer: send text "
            "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))"
        )
    for at, text in enumerate(value):
        if not isinstance(text, str):
            raise ValueError(f"entry {at} is not text")  # noqa: TRY004
    return value


class EmbeddingsBody(BaseModel):
    """OpenAI's embeddings."""

    model_config = ConfigDict(
        frozen=True,
        protected_namespaces=(),
        json_schema_extra={
            "examples": [{"input": ["which bird sings at night", "The nightingale sings."], "model": "q"}]
        },
    )

    input: Annotated[list[str], BeforeValidator(_texts, json_schema_input_type=str | list[str])] = Field(
        description="A text, or several. An empty one is embedded, too; token numbers are not taken."
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="Absent: float. base64: of little-endian float32."
    )
    dimensions: Count | None = Field(None, description="The model's own, or absent; vectors are not shortened.")
    input_type: Literal["query", "document"] | None = Field(
        None, description="Which prompt the model reads first, if it has any. Absent: document."
    )
    model: Model


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Embedding(_Exact):
    """One text's vector."""

    object: Literal["embedding"]
    index: int = Field(description="Position among the texts sent.")
    embedding: list[float] | str = Field(description="Of length 1; in the encoding that was asked for.")


class EmbeddingsUsage(_Exact):
    """Tokens that the encoder read for this request, now or once."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(_Exact):
    """One vector for each text, in their order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage


def respond(found: Embeddings, body: EmbeddingsBody, model: str) -> dict[str, Any]:
    """OpenAI's list. Its vectors stay NumPy arrays where they are not base64."""
    rows = found.vectors.astype("<f4", copy=False)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": at, "embedding": _base64(row) if body.encoding_format == "base64" else row}
            for at, row in enumerate(rows)
        ],
        "model": model,
        "usage": {"prompt_tokens": found.tokens, "total_tokens": found.tokens},
    }


def _base64(row: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    return b64encode(row.tobytes()).decode()
