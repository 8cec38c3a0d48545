"""The dialect of OpenAI's embeddings API."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.api.dialects.body import Count, Model
from app.api.dialects.schema import Exact
from app.service.embeddings import Embeddings


def _texts(value: object) -> object:
    """Give one message; pydantic's union type would give one for each of its members."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise ValueError("must be a text, or a list of at least one text")
    first = value[0][0] if isinstance(value[0], list) and value[0] else value[0]
    if isinstance(first, int):
        raise ValueError(  # noqa: TRY004 - pydantic catches ValueError only
            "holds token ids, which this model's tokenizer cannot read: send text "
            "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))"
        )
    for index, text in enumerate(value):
        if not isinstance(text, str):
            raise ValueError(f"entry {index} is not text")  # noqa: TRY004
    return value


class EmbeddingsBody(BaseModel):
    """OpenAI's embeddings request."""

    model_config = ConfigDict(
        frozen=True,
        protected_namespaces=(),
        json_schema_extra={
            "examples": [{"input": ["which bird sings at night", "The nightingale sings."], "model": "q"}]
        },
    )

    input: Annotated[list[str], BeforeValidator(_texts, json_schema_input_type=str | list[str])] = Field(
        description="A text, or a list of texts. Empty texts are embedded, too; token ids are not accepted."
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="Absent: float. base64: encoded little-endian float32."
    )
    dimensions: Count | None = Field(
        None, description="Absent, or the model's own dimension: vectors are not shortened."
    )
    input_type: Literal["query", "document"] | None = Field(
        None, description="The prompt that the model prepends, if it has prompts. Absent: document."
    )
    model: Model


class Embedding(Exact):
    """One text's vector."""

    object: Literal["embedding"]
    index: int = Field(description="Position among the texts sent.")
    embedding: list[float] | str = Field(description="Normalized to length 1; in the requested encoding.")


class EmbeddingsUsage(Exact):
    """Tokens of the texts of this request, cached ones included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(Exact):
    """One vector for each text, in their order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage


def respond(embeddings: Embeddings, body: EmbeddingsBody, model: str) -> dict[str, Any]:
    """OpenAI's list. Vectors stay NumPy arrays unless base64 is requested."""
    rows = embeddings.vectors.astype("<f4", copy=False)
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _base64(row) if body.encoding_format == "base64" else row,
            }
            for index, row in enumerate(rows)
        ],
        "model": model,
        "usage": {"prompt_tokens": embeddings.tokens, "total_tokens": embeddings.tokens},
    }


def _base64(row: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    return b64encode(row.tobytes()).decode()
