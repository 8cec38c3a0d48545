"""The dialect of NVIDIA NIM: `passages` in, log-odds in `rankings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from app.api.dialects.body import Body, Count, Language, MinScore, Model, Query
from app.api.dialects.documents import text_of
from app.api.dialects.schema import Exact
from app.service.request import RerankRequest
from app.service.result import RerankResult

PATH = "/v1/ranking"


def _check_passages(value: object) -> object:
    """Give one message for the first invalid passage, which says where to send plain texts."""
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if not isinstance(item, dict):
            # pydantic turns only ValueError into a validation error, not TypeError
            raise ValueError(f"passage {index} is not an object with a `text`; send texts as `documents`")  # noqa: TRY004
    return value


Passages = Annotated[list[dict[str, Any]], BeforeValidator(_check_passages), Field(min_length=1)]


class NimBody(Body):
    """NVIDIA NIM. `truncate` is ignored: a long passage is read in chunks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"query": {"text": "q"}, "passages": [{"text": "an owl song"}], "truncate": "END"}]
        }
    )

    query: Query
    passages: Passages
    truncate: Any = None
    top_n: Count | None = Field(None, description="Number of rankings; absent: all. NIM itself returns all.")
    top_k: Count | None = Field(None, description="Alias of `top_n`, used by NVIDIA's hosted models and LiteLLM.")
    min_score: MinScore = None
    language: Language = None
    model: Model

    def to_request(self) -> RerankRequest:
        """Translate into a `RerankRequest`; InvalidRequest for a passage without text."""
        return RerankRequest(
            self.query,
            self.passages,
            [text_of(passage, index, field=("passages",)) for index, passage in enumerate(self.passages)],
            top_n=self.top_n or self.top_k,
            return_documents=False,
            raw_scores=True,
            min_score=self.min_score,
            language=self.language,
            model=self.model,
        )


def is_nim(fields: Mapping[str, Any]) -> bool:
    """Whether a body without documents is in NIM's dialect: it has a list of passages that are objects."""
    passages = fields.get("passages")
    return isinstance(passages, list) and (not passages or isinstance(passages[0], dict))


def respond(result: RerankResult) -> dict[str, Any]:
    """NIM's rankings, best first."""
    return {
        "rankings": [{"index": row.index, "logit": row.score} for row in result.rows],
        "usage": {"prompt_tokens": result.ranking.tokens, "total_tokens": result.ranking.tokens},
    }


class NimRanking(Exact):
    """One passage's index and score."""

    index: int
    logit: float = Field(description="Log-odds of the score in [0, 1].")


class NimUsage(Exact):
    """Tokens of the texts of this request, cached ones included."""

    prompt_tokens: int
    total_tokens: int


class NimResponse(Exact):
    """NVIDIA NIM's rankings, best first."""

    rankings: list[NimRanking]
    usage: NimUsage
