"""All settings: environment variables QRERANK_…, nested with two underscores. Read by main and the CLI only."""

from __future__ import annotations

import os
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from platformdirs import user_cache_path, user_data_path
from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.auth.settings import AuthSettings
from app.quotas.settings import QuotaSettings
from app.quotas.shares import part_of_one
from app.ranking.methods import split_method

_NAME = "quantum-rerank"
_PREFIX = "QRERANK_"

COLLECTION_NAME = r"\w[\w.-]{0,63}"  # one plain folder name
CollectionName = Annotated[str, Field(pattern=f"^{COLLECTION_NAME}$")]


Share = Annotated[float, Field(ge=0, le=1)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class EncoderSettings(_Group):
    """How the model is run."""

    runtime: Literal["openvino", "torch"] = Field("openvino", description="torch only where OpenVINO cannot convert.")
    precision: Literal["auto", "f32", "bf16", "int8"] = Field(
        "auto", description="auto: int8 where the CPU multiplies bytes (VNNI, AMX), else bf16 where it has that."
    )


class CircuitSettings(_Group):
    """The feature map of the quantum method. Its circuit is checked when the service starts."""

    map: Literal["angle", "entangled"] = "angle"
    qubits: int = Field(4, ge=2, le=4, description="Qubits per register.")
    bandwidth: float = Field(8**0.5, gt=0, le=16, description="Radians per unit of a feature.")


class LimitSettings(_Group):
    """What a request may hold."""

    body_bytes: int = Field(16 * 2**20, ge=1024, le=2**30)
    all_bodies_bytes: int = Field(
        2**28,
        ge=1024,
        le=2**40,
        description="Memory of the bodies of all requests that are being served; of one caller ¾.",
    )
    all_answers_bytes: int = Field(
        2**26,
        ge=2**16,
        le=2**40,
        description="Of all answers that clients have not taken; beyond it the largest is cut.",
    )
    connections: int = Field(1000, ge=1, le=1_000_000, description="At once; of one address ¾.")
    body_seconds: int = Field(60, ge=1, le=3600, description="How long one may take to come, or half an answer to go.")
    head_bytes: int = Field(64 * 2**10, ge=1024, le=2**24, description="Request line and headers, at most 200 of them.")
    head_seconds: int = Field(10, ge=1, le=3600, description="How long they may take to come.")
    keep_alive_seconds: int = Field(
        75, ge=1, le=3600, description="How long an idle connection stays open: longer than a proxy before it keeps it."
    )
    documents: int = Field(1000, ge=1, le=100_000)
    queries: int = Field(100, ge=1, le=10_000, description="Queries that are compared with documents at once.")
    query_characters: int = Field(10_000, ge=1, le=1_000_000)
    excluded_texts: int = Field(16, ge=1, le=256)
    chunks_per_document: int = Field(16, ge=1, le=256, description="Of as many tokens as the model reads at once.")
    units: int = Field(
        100_000, ge=1, le=10**9, description="Work of one request: a query compared with up to 1000 characters is one."
    )
    socket_requests: int = Field(16, ge=1, le=1024, description="Requests in flight on one WebSocket.")


class EngineSettings(_Group):
    """How much work is done and waits at once."""

    processors: int | None = Field(None, ge=1, le=1024, description="Absent: what the control group grants.")
    requests: int = Field(32, ge=1, le=1024, description="Requests in work at the same time; they share processors.")
    queue_requests: int = Field(64, ge=0, le=10_000, description="Requests that may wait; the next gets 503.")
    least_part: float = Field(
        0.5, ge=0, le=1, description="Who would get less of what it would get alone gets 503; 0: nobody does."
    )
    drain_seconds: float = Field(
        5, ge=0, le=600, description="From SIGTERM until no more connections are taken; not ready meanwhile."
    )
    deadline_ms: int = Field(400, ge=0, le=600_000, description="For requests that name none; 0: the longest.")
    longest_ms: int = Field(60_000, ge=1, le=600_000, description="The longest deadline; also of requests that name 0.")


class CorsSettings(_Group):
    """What pages of other sites may do."""

    origins: tuple[str, ...] = Field(
        (), description='Of pages that may call, a JSON list: ["https://…"], or ["*"]; never with cookies or passwords.'
    )


class CacheSettings(_Group):
    """What is remembered of texts that were encoded."""

    max_bytes: int = Field(256 * 2**20, ge=0, le=2**40, description="Memory for states; 0: nothing is remembered.")
    redis_url: SecretStr | None = Field(None, description="redis://… shared by replicas; its loss costs speed only.")
    redis_ttl_s: int = Field(86_400, ge=1, le=10**8, description="How long Redis keeps a text's states.")


class HealthSettings(_Group):
    """How the service looks after itself."""

    probe_every_s: float = Field(5, ge=0, le=3600, description="For how long what a probe found is remembered.")
    probe_deadline_ms: int = Field(2000, ge=1, le=600_000, description="In which the models must rerank a probe.")
    certify_every_s: float = Field(300, ge=0, le=10**6, description="Between collections' checks; 0: when opened only.")


class LogSettings(_Group):
    """What is logged, and how it looks."""

    format: Literal["auto", "json", "pretty"] = Field("auto", description="auto: pretty on a terminal, else JSON.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Of the lines that are written.")
    access_sample: Share = Field(1.0, description="Share of requests that get a line; those that fail (5xx) all do.")
    errors: Literal["frames", "full"] = Field(
        "frames", description="full: tracebacks with messages, which may hold what clients sent; for development."
    )


# What the extra brings. One by one: of a package that is not there nothing can be found.
_EXTRA = (
    "opentelemetry",
    "opentelemetry.exporter",
    "opentelemetry.exporter.otlp",
    "opentelemetry.exporter.otlp.proto",
    "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry.sdk",
)


class TracingSettings(_Group):
    """Where spans go."""

    endpoint: AnyHttpUrl | None = Field(
        None, description="Of an OTLP/HTTP collector, http://…:4318; absent: nothing is traced."
    )
    sample: Share = Field(1.0, description="Share of requests that are traced where no caller decided it.")
    service: str = Field("quantum-rerank", min_length=1, max_length=128, description="The service's name in spans.")

    @model_validator(mode="after")
    def _refuse_without_the_extra(self) -> Self:
        if self.endpoint and not all(find_spec(name) for name in _EXTRA):
            raise ValueError("endpoint: spans need the extra `tracing`: pip install 'quantum-rerank[tracing]'")
        return self


class OperationsSettings(_Group):
    """Who may look at how the service does."""

    access: Literal["open", "admin"] = Field(
        "open", description="Who may see /metrics and /health/detailed: everybody, or keys with the role admin."
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Where `qrerank serve` has /metrics, for whoever reaches it; then only there."
    )
    metrics_host: str | None = Field(None, description="The address of that port; absent: the service's.")


class Settings(BaseSettings):
    """The service's settings; frozen, bounded, and unknown names are refused."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        hide_input_in_errors=True,  # it may be a secret
    )

    data_dir: Path = Field(default_factory=lambda: user_data_path(_NAME), description="Collections: what must last.")
    model_dir: Path = Field(
        default_factory=lambda: user_cache_path(_NAME) / "models",
        description="Prepared models, shared by data folders.",
    )
    model: str = Field("all-MiniLM-L6-v2", min_length=1, description="A sentence-transformers name or folder, or hash.")
    models: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description='Further models, a JSON list: ["…"]; a request\'s `model` chooses.'
    )
    aliases: dict[str, str] = Field(
        {},
        description='Other names, a JSON object: {"rerank-v3.5": "all-MiniLM-L6-v2:hybrid"}; the method is optional.',
    )
    default_collection: CollectionName | None = Field(None, description="Searched when a request names none.")
    candidates: int = Field(100, ge=1, le=1000, description="Passages that a search retrieves and reranks.")
    encoder: EncoderSettings = EncoderSettings()
    circuit: CircuitSettings = CircuitSettings()
    limits: LimitSettings = LimitSettings()
    engine: EngineSettings = EngineSettings()
    cache: CacheSettings = CacheSettings()
    cors: CorsSettings = CorsSettings()
    hosts: tuple[str, ...] = Field(
        (),
        description='Names that the service is asked by, a JSON list: ["a.example.org"], ["*.example.org"], ["*"]. '
        "Absent: any with keys; without, addresses and names that no site can have.",
    )
    hsts_s: int = Field(0, ge=0, le=10**9, description="How long browsers insist on TLS; for where a proxy speaks it.")
    auth: AuthSettings = AuthSettings()
    quotas: QuotaSettings = QuotaSettings()
    health: HealthSettings = HealthSettings()
    logs: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    operations: OperationsSettings = OperationsSettings()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_names(cls, values: dict[str, Any]) -> dict[str, Any]:
        # pydantic-settings passes over unknown variables, so a misspelt limit would silently not apply.
        for variable in os.environ:
            if variable.upper().startswith(_PREFIX):
                field = variable[len(_PREFIX) :].lower().split("__")[0]
                if field not in cls.model_fields:
                    raise ValueError(f"{variable} is not a setting; known are {', '.join(sorted(cls.model_fields))}")
        return values

    @model_validator(mode="after")
    def _refuse_bodies_that_never_fit(self) -> Self:
        if 2 * self.limits.body_bytes > part_of_one(self.limits.all_bodies_bytes):  # as bytes, and as texts
            raise ValueError(
                "limits.all_bodies_bytes is less than 8/3 of limits.body_bytes: such a body would never be taken"
            )
        return self

    @model_validator(mode="after")
    def _refuse_unknown_models(self) -> Self:
        served = (self.model, *self.models)
        if len(set(served)) < len(served):
            raise ValueError(f"a model is named twice in {', '.join(served)}")
        for alias, target in self.aliases.items():
            name, _ = split_method(target)
            if name not in served:
                raise ValueError(
                    f"the alias {alias!r} means {name!r}, which is not served; served are {', '.join(served)}"
                )
        return self

    @cached_property
    def collections_dir(self) -> Path:
        """Where collections are, one folder each."""
        return self.data_dir / "collections"
