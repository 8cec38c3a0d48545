"""All settings together, and what must hold between groups."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from platformdirs import user_cache_path, user_data_path
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.auth.settings import AuthSettings
from app.feedback.settings import FeedbackSettings
from app.quotas.fair_share import part_of_one
from app.quotas.settings import QuotaSettings
from app.ranking.methods import split_method
from app.settings.models import CircuitSettings, CrossEncoderSettings, EncoderSettings, FusionSettings
from app.settings.operations import CacheSettings, HealthSettings, LogSettings, OperationsSettings, TracingSettings
from app.settings.search import ChunkingSettings, FirstStageSettings, IndexSettings
from app.settings.serving import CorsSettings, EngineSettings, LimitSettings, PageSettings, ServerSettings
from app.settings.values import CollectionName, HostName, Language, LocalPath, Share

_NAME = "quantum-rerank"
_PREFIX = "QRERANK_"


class Settings(BaseSettings):
    """The service's settings. They are frozen and bounded, and unknown names are errors."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        hide_input_in_errors=True,  # the input may be a secret
    )

    data_dir: LocalPath = Field(
        default_factory=lambda: user_data_path(_NAME),
        description="Persistent data: collections, keys, usage.",
    )
    model_dir: LocalPath = Field(
        default_factory=lambda: user_cache_path(_NAME) / "models",
        description="Prepared models. Several data folders may share it.",
    )
    model: str = Field(
        "all-MiniLM-L6-v2",
        min_length=1,
        description="Default model: the name or folder of a sentence-transformers or ColBERT model, hash, or one "
        "behind a URL.",
    )
    models: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description='Further models, a JSON list: ["…"]. A request selects one by its field `model`.'
    )
    aliases: dict[str, str] = Field(
        {},
        description='Other names of models, a JSON object: {"rerank-v3.5": "all-MiniLM-L6-v2:hybrid"}. '
        "The method after the colon is optional.",
    )
    default_collection: CollectionName | None = Field(
        None, description="Collection that is searched when a request names none."
    )
    language: Language = Field(
        "auto", description="Language of queries and documents: a code such as en, none, or auto to detect each text's."
    )
    min_score: Share = Field(0.0, description="Lowest score that is returned if the request does not say. 0: all.")
    diversity: Share = Field(
        0.0,
        description="How much results differ from those before them if the request does not say, from 0, by relevance "
        "alone, to 1.",
    )
    calibration: LocalPath | None = Field(
        None, description="Parameter file of the scores, from `qrerank fit --calibration`. Absent: the default model's."
    )
    parameters: LocalPath | None = Field(
        None,
        description="Parameter file from `qrerank fit`: weights, smoothing, bandwidth and calibration, in place of "
        "`calibration`.",
    )
    fusion: FusionSettings = FusionSettings()
    chunking: ChunkingSettings = ChunkingSettings()
    first_stage: FirstStageSettings = FirstStageSettings()
    index: IndexSettings = IndexSettings()
    candidates: int = Field(100, ge=1, le=1000, description="Number of passages that a search retrieves and reranks.")
    encoder: EncoderSettings = EncoderSettings()
    circuit: CircuitSettings = CircuitSettings()
    cross_encoder: CrossEncoderSettings = CrossEncoderSettings()
    limits: LimitSettings = LimitSettings()
    engine: EngineSettings = EngineSettings()
    cache: CacheSettings = CacheSettings()
    server: ServerSettings = ServerSettings()
    cors: CorsSettings = CorsSettings()
    pages: PageSettings = PageSettings()
    hosts: tuple[HostName, ...] = Field(
        (),
        description='Host names that requests may use, a JSON list: ["a.example.org"], ["*.example.org"], ["*"]. '
        "Absent: any name with authentication; without it, only IP addresses and names that no public site can have. "
        "Probes of health and metrics may always use the latter, or no name.",
    )
    hsts_s: int = Field(
        0, ge=0, le=10**9, description="max-age of Strict-Transport-Security. Set it where a proxy terminates TLS."
    )
    auth: AuthSettings = AuthSettings()
    quotas: QuotaSettings = QuotaSettings()
    health: HealthSettings = HealthSettings()
    logs: LogSettings = LogSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    tracing: TracingSettings = TracingSettings()
    operations: OperationsSettings = OperationsSettings()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_names(cls, values: dict[str, Any]) -> dict[str, Any]:
        # pydantic-settings ignores unknown variables: a misspelt limit would silently not apply.
        for variable in os.environ:
            if variable.upper().startswith(_PREFIX):
                field = variable[len(_PREFIX) :].lower().split("__")[0]
                if field not in cls.model_fields:
                    raise ValueError(
                        f"{variable} is not a setting; the settings are {', '.join(sorted(cls.model_fields))}"
                    )
        return values

    @model_validator(mode="after")
    def _refuse_bodies_that_never_fit(self) -> Self:
        # A body is in memory twice: as bytes and as parsed texts.
        if 2 * self.limits.body_bytes > part_of_one(self.limits.all_bodies_bytes):
            raise ValueError(
                "limits.all_bodies_bytes is less than 8/3 of limits.body_bytes: the largest bodies would always be "
                "rejected"
            )
        return self

    @model_validator(mode="after")
    def _refuse_two_calibrations(self) -> Self:
        if self.parameters and self.calibration:
            raise ValueError("parameters and calibration are both set, and both calibrate the scores: set one")
        return self

    @model_validator(mode="after")
    def _refuse_unknown_models(self) -> Self:
        served = (self.model, *self.models)
        if len(set(served)) < len(served):
            raise ValueError(f"a model appears twice in {', '.join(served)}")
        if self.encoder.remote.url and (name := self.remote_model) not in served:
            raise ValueError(
                f"encoder.remote.model is {name!r}, which is not served; the models are {', '.join(served)}"
            )
        for name in self.encoder.prompts:
            if name not in served:
                raise ValueError(
                    f"encoder.prompts names {name!r}, which is not served; the models are {', '.join(served)}"
                )
        for alias, target in self.aliases.items():
            name, _ = split_method(target)
            if name not in served:
                raise ValueError(
                    f"the alias {alias!r} stands for {name!r}, which is not served; the models are {', '.join(served)}"
                )
        return self

    @property
    def remote_model(self) -> str | None:
        """The model that runs behind a URL; None if all run here."""
        remote = self.encoder.remote
        return (remote.model or self.model) if remote.url else None

    @cached_property
    def collections_dir(self) -> Path:
        """The folder of the collections, one subfolder each."""
        return self.data_dir / "collections"
