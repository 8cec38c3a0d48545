"""Collections: how documents are split, where passages are kept, and how candidates are found."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Self

from pydantic import Field, SecretStr, model_validator

from app.settings.values import Group
from retrieval.index.first_stage import FirstStage
from retrieval.index.milvus_client import Milvus, MilvusUrlError, parse_url
from retrieval.text.splitters import By, Chunking


class FirstStageSettings(Group):
    """How a search finds its candidates: two rankings, fused by reciprocal rank."""

    dense: float = Field(
        1, ge=0, le=1000, description="Weight of the nearest passages by FAISS. 0: they are not looked up."
    )
    lexical: float = Field(
        0.5, ge=0, le=1000, description="Weight of the best passages by BM25. 0: they are not looked up."
    )

    @model_validator(mode="after")
    def _refuse_nothing(self) -> Self:
        if not (self.dense or self.lexical):
            raise ValueError("dense and lexical are both 0: nothing would be found")
        return self

    def to_first_stage(self) -> FirstStage:
        """As a search takes it."""
        return FirstStage(self.dense, self.lexical)


class ChunkingSettings(Group):
    """How documents of new collections are split, unless a request says otherwise."""

    by: By = Field(
        "sentence",
        description="Where chunks end: character, token, sentence, or recursive: paragraphs, else lines, sentences, "
        "words. none: what is longer than the model reads is cut.",
    )
    size: int | None = Field(
        None,
        ge=1,
        le=2**20,
        description="The most tokens of a chunk; of character, characters. Absent: as much as the model reads.",
    )
    overlap: int = Field(0, ge=0, le=2**20, description="The most tokens (characters) that the next chunk repeats.")

    def to_chunking(self) -> Chunking:
        """As collections take it."""
        return Chunking(self.by, self.size, self.overlap)


class IndexSettings(Group):
    """Where the passages of new collections are kept."""

    url: SecretStr | None = Field(
        None,
        description="milvus://[user:password@]host[:port][/database], or milvus+tls://, of a Milvus that searches "
        "collections for many machines. Absent: passages are in segments, on the disk. Needs the extra `milvus`.",
    )
    timeout_ms: int = Field(
        1000,
        ge=10,
        le=60_000,
        description="Maximum time of one search in Milvus. A write may take ten times as long.",
    )

    @model_validator(mode="after")
    def _refuse_what_cannot_be_used(self) -> Self:
        if self.url:
            try:
                parse_url(self.url.get_secret_value())
            except MilvusUrlError as error:
                raise ValueError(f"url: {error}") from None
            if not find_spec("pymilvus"):
                raise ValueError("url: Milvus needs the extra `milvus`: pip install 'quantum-rerank[milvus]'")
        return self

    def open(self, requests: int) -> Milvus | None:
        """The Milvus of the URL, not connected yet. requests: that are processed at the same time; half may wait."""
        if self.url is None:
            return None
        return Milvus(self.url.get_secret_value(), self.timeout_ms / 1e3, max(2, requests // 2))
