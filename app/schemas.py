"""The wire: what requests and responses of the native dialect look like, and how a body becomes a request."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from app.errors import InvalidRequest, MalformedBody
from app.scoring import Method
from app.settings import CollectionName

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_OTHER_NAMES = {"candidates": "documents", "top_k": "top_n"}  # the PRD's
_SHOWN_ERRORS = 3
_PLAINER = {  # than pydantic's own messages
    "string_too_short": "must not be empty",
    "too_short": "must hold at least one entry, or be left out",
    "model_type": "the body must be a JSON object",
    "missing": "is required",
}


def _check_documents(value: object) -> object:
    """One plain message for the first bad document, where a union type would give two for each."""
    if isinstance(value, list):
        for at, item in enumerate(value):
            text = item.get("text") if isinstance(item, dict) else item
            if not isinstance(text, str):
                raise ValueError(  # noqa: TRY004 - pydantic reports ValueError as a validation error, TypeError not
                    f"document {at} is neither text nor an object with a text in `text`"
                )
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class RerankRequest(BaseModel):
    """A query and its candidates. Optional fields may be null; unknown fields are ignored."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "query": "how do I read a file line by line",
                    "documents": ["Iterate over the file object.", "Lists are mutable.", "Call open() first."],
                    "top_n": 2,
                    "return_documents": True,
                },
                {"query": "how does a for loop work", "top_n": 3},
            ]
        },
    )

    query: Text
    documents: Annotated[list[str | dict[str, Any]], BeforeValidator(_check_documents), Field(min_length=1)] | None = (
        Field(None, description="Texts, or objects with a `text`. Absent: candidates come from `collection`.")
    )
    collection: CollectionName | None = Field(None, description="Searched when there are no documents.")
    top_n: Annotated[int, Field(ge=1)] | None = Field(None, description="How many results; absent: all.")
    return_documents: bool | None = Field(None, description="Absent: only for candidates from a collection.")
    method: Method | None = Field(None, description="Absent: hybrid.")
    exclude: Annotated[list[Text], BeforeValidator(_listed)] | None = Field(
        None, description="What the answer must not be about."
    )
    deadline_ms: Annotated[float, Field(ge=0, le=600_000, allow_inf_nan=False)] | None = Field(
        None, description="When the answer is due; documents not encoded by then stand below. 0: no deadline."
    )
    explain: bool | None = Field(None, description="Give each result's score by ranker.")
    model: Any = Field(None, description="Echoed; the service has one model.")

    @model_validator(mode="before")
    @classmethod
    def _take_other_names(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        renamed = dict(body)
        for other, name in _OTHER_NAMES.items():
            value = renamed.pop(other, None)
            if value is not None and renamed.get(name) is not None:
                raise ValueError(f"send either `{name}` or `{other}`, not both")
            if value is not None:
                renamed[name] = value
        return renamed

    @property
    def texts(self) -> list[str]:
        """The documents' texts, in input order."""
        return [item if isinstance(item, str) else item["text"] for item in self.documents or []]


class Result(BaseModel):
    """One document's place."""

    index: int = Field(description="Position among the documents sent, or among those retrieved.")
    relevance_score: float = Field(ge=0, le=1, description="Higher is better; comparable within one response only.")
    document: dict[str, Any] | None = Field(None, description="Left out unless asked for or retrieved.")
    scores: dict[str, float | None] | None = Field(None, description="With explain: each ranker's own score.")


class Meta(BaseModel):
    """How the answer came about."""

    method: Method
    timings_ms: dict[str, float]
    encoded: int = Field(description="Documents scored by their states.")
    degraded: list[str] = Field(description="Why the answer is less than it could be; empty when it is not.")


class Usage(BaseModel):
    """Tokens the encoder read for this request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class RerankResponse(BaseModel):
    """The standard envelope, best result first."""

    id: str
    object: str
    model: str
    results: list[Result]
    meta: Meta
    usage: Usage


class ProblemResponse(BaseModel):
    """Every error's body."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do.")
    message: str
    error: str
    error_type: str
    request_id: str


def parse(body: bytes) -> RerankRequest:
    """A body as a request; MalformedBody or InvalidRequest says what is wrong, without repeating what was sent."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"the body is not JSON in UTF-8: {error.msg} at byte {error.pos}") from error
    try:
        return RerankRequest.model_validate(fields)
    except ValidationError as error:
        raise InvalidRequest(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False, include_context=False, include_input=False)[:_SHOWN_ERRORS]:
        where = ".".join(str(part) for part in item["loc"])
        message = _PLAINER.get(item["type"], item["msg"].removeprefix("Value error, "))
        lines.append(f"{where}: {message}" if where else message)
    return "; ".join(lines)
