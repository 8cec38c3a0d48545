"""All settings: environment variables QRERANK_…, nested with two underscores. Only main and the CLI read them."""

from __future__ import annotations

import ipaddress
import os
import re
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from platformdirs import user_cache_path, user_data_path
from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.auth.settings import AuthSettings
from app.feedback.settings import FeedbackSettings
from app.quotas.fair_share import part_of_one
from app.quotas.settings import QuotaSettings
from app.ranking.hybrid import Weighting
from app.ranking.methods import split_method
from retrieval.fusion.algorithms import DEFAULT, Algorithm
from retrieval.index.first_stage import FirstStage
from retrieval.index.milvus_client import Milvus, MilvusUrlError, parse_url
from retrieval.text.languages import check_language
from retrieval.text.splitters import By, Chunking

_NAME = "quantum-rerank"
_PREFIX = "QRERANK_"

COLLECTION_NAME = r"\w[\w.-]{0,63}"  # one plain folder name
_NAME_BYTES = 255  # the maximum length of a folder name on common file systems
NAME_RULE = (
    "is up to 64 letters, digits, dots, dashes and underscores, at most 255 bytes, has no combining marks (an accent "
    "is one character with its letter), and does not begin with a dot or a dash"
)
_COLLECTION_NAME = re.compile(COLLECTION_NAME)
_HEADER_VALUE = re.compile("[!-~]+")

# The first parts of paths below which the service has routes, and pages and descriptions that no path may hide.
OWN_PATHS = frozenset("v1 v2 api infinity compatible-api health docs pages admin errors metrics openapi.json".split())

Share = Annotated[float, Field(ge=0, le=1)]
MapName = Literal["angle", "entangled", "amplitude", "iqp"]
Language = Annotated[str, AfterValidator(check_language)]


def is_collection_name(name: str) -> bool:
    """Whether a collection may have this name: its folder has it, too."""
    return _COLLECTION_NAME.fullmatch(name) is not None and len(name.encode()) <= _NAME_BYTES


def _check_collection_name(name: str) -> str:
    if not is_collection_name(name):
        raise ValueError(f"a name {NAME_RULE}")
    return name


# Pydantic's own patterns take more for a letter, such as vowel signs: the name must be one that a collection can have.
CollectionName = Annotated[
    str, AfterValidator(_check_collection_name), Field(json_schema_extra={"pattern": f"^{COLLECTION_NAME}$"})
]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Prompts(_Group):
    """What a model reads before each text."""

    query: str = Field("", max_length=200, description="Before a query.")
    document: str = Field("", max_length=200, description="Before a document.")


class RemoteSettings(_Group):
    """A model that runs behind a URL: any server with OpenAI's /v1/embeddings."""

    url: AnyHttpUrl | None = Field(
        None,
        description="Whole address, https://…/v1/embeddings. Absent: all models run here. Certificates are verified; "
        "redirects are not followed.",
    )
    model: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="The model that runs there, as the server calls it. It must be among those that are served. "
        "Absent: the default model.",
    )
    api_key: SecretStr | None = Field(None, description="Sent to that address alone, as a bearer token.")
    batch: int = Field(
        32,
        ge=1,
        le=512,
        description="Maximum number of texts in one request, rounded down to a power of two. It is halved when the "
        "server refuses so many.",
    )
    concurrency: int = Field(4, ge=1, le=64, description="Maximum number of requests at the same time.")
    timeout_s: float = Field(
        10, ge=0.1, le=600, description="Time in which a request must be answered, its retries included."
    )
    max_tokens: int = Field(
        512,
        ge=8,
        le=100_000,
        description="Tokens of a text that the model reads; longer texts are read in chunks. They are estimated, four "
        "characters of a word each: the server's own are not known.",
    )

    @field_validator("url")
    @classmethod
    def _refuse_passwords(cls, url: AnyHttpUrl | None) -> AnyHttpUrl | None:
        if url and (url.username or url.password):
            raise ValueError("the URL would be logged with its password: put the key into api_key")
        return url

    @field_validator("api_key")
    @classmethod
    def _refuse_what_no_header_holds(cls, key: SecretStr | None) -> SecretStr | None:
        if key and not _HEADER_VALUE.fullmatch(key.get_secret_value()):
            raise ValueError("the key must be visible ASCII characters without spaces")
        return key


class EncoderSettings(_Group):
    """How the encoder model runs."""

    runtime: Literal["openvino", "torch"] = Field(
        "openvino", description="Inference runtime. Use torch only for a model that OpenVINO cannot convert."
    )
    precision: Literal["auto", "f32", "bf16", "int8"] = Field(
        "auto",
        description="Numeric precision. auto: int8 on a CPU with VNNI or AMX, else bf16 where the CPU supports it, "
        "else f32.",
    )
    prompts: dict[str, Prompts] = Field(
        {},
        description="Prompts of models whose files state none, or other ones, a JSON object: "
        '{"intfloat/multilingual-e5-small": {"query": "query: ", "document": "passage: "}}.',
    )
    remote: RemoteSettings = RemoteSettings()


class CrossEncoderSettings(_Group):
    """A cross-encoder for the method hybrid+cross: it reads the query together with the best documents of hybrid."""

    model: str | None = Field(
        None,
        min_length=1,
        description="A folder with an ONNX model and its tokenizer.json, or the name or folder of a CrossEncoder of "
        "sentence-transformers. It must give each pair one score. Absent: there is no method hybrid+cross.",
    )
    top_k: int = Field(
        10, ge=1, le=1000, description="Maximum number of documents that it reads, as far as the deadline allows."
    )
    max_tokens: int = Field(
        512, ge=16, le=8192, description="Maximum tokens of a query and a document together; the longer one is cut."
    )
    cache_mib: int = Field(
        16, ge=0, le=2**20, description="Memory for its scores, in MiB; 3000 pairs take one. 0: no cache."
    )


class FirstStageSettings(_Group):
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


class ChunkingSettings(_Group):
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


class IndexSettings(_Group):
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


class FusionSettings(_Group):
    """How `hybrid` fuses its rankers; docs/evaluation.md has what each is worth."""

    algorithm: Algorithm = Field(
        DEFAULT,
        description="weighted: weighted mean of z-scores; min_max: of scores from 0 to 1; reciprocal_rank, borda: of "
        "ranks; condorcet: by majority; bayesian: sum of log-odds; stacking: logistic regression; ensemble: the mean "
        "of all these.",
    )
    weighting: Weighting = Field(
        "type",
        description="Weights of the rankers. type: those of text or of programs; fixed: those of text; equal; spread: "
        "times how far a ranker's best stand out; agreement: times how much it agrees with the others.",
    )
    feedback: Share = Field(0.0, description="Share of the similarity to the best three documents in the score.")


class CircuitSettings(_Group):
    """The feature map of the quantum method. Its circuit is checked when the service starts."""

    map: MapName = Field(
        "angle",
        description="Feature map. angle: one RY rotation per qubit; entangled: two RY layers with CX gates between; "
        "amplitude: three features and a bias as amplitudes of two qubits; iqp: phases of features and of products.",
    )
    qubits: int = Field(4, ge=2, le=4, description="Qubits per register.")
    bandwidth: float = Field(
        8**0.5,
        gt=0,
        le=16,
        description="Rotation angle per unit of a feature, in radians. Where unrelated vectors have a mean fidelity "
        "above 0.99, as below 0.14, the map is refused.",
    )
    backend: Literal["exact", "aer"] = Field(
        "exact",
        description="What computes fidelities. aer: Qiskit Aer, which takes seconds for 100 documents; only for "
        "models that have one vector a text. Needs the extra `aer`.",
    )
    shots: int | None = Field(
        None, ge=1, le=2**20, description="Shots of each circuit, with aer. Absent: probabilities are computed."
    )
    seed: int = Field(0, ge=0, le=2**31, description="Of the shots: the same request gets the same ones.")

    @model_validator(mode="after")
    def _refuse_shots_that_are_not_drawn(self) -> Self:
        if self.shots and self.backend == "exact":
            raise ValueError("shots: the backend exact draws none; choose the backend aer, or leave shots out")
        return self


class LimitSettings(_Group):
    """Limits of requests, responses and connections."""

    body_bytes: int = Field(16 * 2**20, ge=1024, le=2**30, description="Maximum size of a request body.")
    upload_bytes: int = Field(
        2 * 2**30,
        ge=1024,
        le=2**50,
        description="Maximum size of an NDJSON stream of documents. `body_bytes` limits each of its lines.",
    )
    job_followers: int = Field(
        100, ge=1, le=100_000, description="Maximum number of clients that follow jobs. One caller may have ¾ of them."
    )
    all_bodies_bytes: int = Field(
        2**28,
        ge=1024,
        le=2**40,
        description="Maximum memory for the bodies of all requests in progress. One caller may use ¾ of it.",
    )
    all_answers_bytes: int = Field(
        2**26,
        ge=2**16,
        le=2**40,
        description="Maximum memory for responses that clients have not read yet. When it is exceeded, the connection "
        "with the most unread bytes is closed.",
    )
    connections: int = Field(
        1000, ge=1, le=1_000_000, description="Maximum number of open connections. One address may hold ¾ of them."
    )
    body_seconds: int = Field(
        60,
        ge=1,
        le=3600,
        description="Maximum time to receive a request body (of an NDJSON stream: the next part), or to send half "
        "of a waiting response.",
    )
    head_bytes: int = Field(
        64 * 2**10,
        ge=1024,
        le=2**24,
        description="Maximum size of the request line and the headers. There may be at most 200 headers.",
    )
    head_seconds: int = Field(
        10, ge=1, le=3600, description="Maximum time to receive the request line and the headers."
    )
    keep_alive_seconds: int = Field(
        75,
        ge=1,
        le=3600,
        description="How long an idle connection stays open. Set it longer than the idle timeout of a proxy in front.",
    )
    documents: int = Field(1000, ge=1, le=100_000, description="Maximum number of documents in one request.")
    queries: int = Field(
        100, ge=1, le=10_000, description="Maximum number of queries in one request that compares many with documents."
    )
    query_characters: int = Field(
        10_000, ge=1, le=1_000_000, description="Maximum length of a query or of an excluded text, in characters."
    )
    excluded_texts: int = Field(16, ge=1, le=256, description="Maximum number of excluded texts in one request.")
    chunks_per_document: int = Field(
        16,
        ge=1,
        le=256,
        description="Maximum number of chunks that a document is split into. A chunk is as long as the model's input.",
    )
    units: int = Field(
        100_000,
        ge=1,
        le=10**9,
        description="Maximum work of one request. One unit: a query compared with a document of up to 1000 characters.",
    )
    socket_requests: int = Field(
        16, ge=1, le=1024, description="Maximum number of requests in progress on one WebSocket."
    )


class EngineSettings(_Group):
    """CPU use, admission control, deadlines and graceful shutdown."""

    processors: int | None = Field(
        None, ge=1, le=1024, description="CPUs that the service may use. Absent: the CPU quota of the control group."
    )
    requests: int = Field(
        32, ge=1, le=1024, description="Maximum number of requests processed at the same time. They share the CPUs."
    )
    queue_requests: int = Field(
        64, ge=0, le=10_000, description="Maximum number of requests that wait. The next one is rejected with 503."
    )
    least_part: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Load shedding: a request is rejected with 503 when it would get less than this share of the "
        "encoding time that it would get alone. 0: no request is rejected for this reason.",
    )
    drain_seconds: float = Field(
        5,
        ge=0,
        le=600,
        description="Time from SIGTERM until no connections are accepted. The service reports not ready meanwhile.",
    )
    deadline_ms: int = Field(
        400, ge=0, le=600_000, description="Deadline of requests that set none. 0: the maximum deadline."
    )
    longest_ms: int = Field(
        60_000, ge=1, le=600_000, description="Maximum deadline. It also applies to requests that set 0."
    )


class ServerSettings(_Group):
    """The proxy before the service."""

    root_path: str = Field(
        "",
        pattern=r"^((/[A-Za-z0-9._~-]+)+)?$",
        max_length=256,
        description="Path below which the proxy serves the service, such as /ranking. Requests are served with and "
        "without it, so the proxy may remove it or not.",
    )
    proxies: tuple[str, ...] = Field(
        (),
        description='Addresses and networks of proxies, a JSON list: ["10.0.0.5", "10.1.0.0/16"]. Only from them '
        "X-Forwarded-For and X-Forwarded-Proto count. Absent: from those that FORWARDED_ALLOW_IPS names, if it is set.",
    )

    @field_validator("root_path")
    @classmethod
    def _refuse_our_own_paths(cls, path: str) -> str:
        if path.split("/")[1:2] and path.split("/")[1] in OWN_PATHS:
            raise ValueError(f"the service has paths of its own below /{path.split('/')[1]}: choose another one")
        if {".", ".."} & set(path.split("/")):
            raise ValueError("clients resolve the parts . and ..: choose another one")
        return path

    @field_validator("proxies")
    @classmethod
    def _refuse_what_is_no_address(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"{proxy!r} is neither an address nor a network: {error}") from None
        return proxies

    @property
    def trusted(self) -> list[str]:
        """The proxies whose headers count, as uvicorn takes them."""
        named = os.environ.get("FORWARDED_ALLOW_IPS", "")
        return list(self.proxies) or [name.strip() for name in named.split(",") if name.strip()]


class CorsSettings(_Group):
    """Cross-origin requests from browsers."""

    origins: tuple[str, ...] = Field(
        (),
        description='Origins whose pages may call the service, a JSON list: ["https://…"], or ["*"]. '
        "Requests with cookies or passwords are not allowed.",
    )


class PageSettings(_Group):
    """The pages for people: the playground at / and the admin page at /admin."""

    enabled: bool = Field(
        True,
        description="Whether the pages are served. They need no key themselves; what they show takes their user's key.",
    )


class CacheSettings(_Group):
    """The cache of encoded texts."""

    max_bytes: int = Field(256 * 2**20, ge=0, le=2**40, description="Memory for encoder states. 0: no cache in memory.")
    redis_url: SecretStr | None = Field(
        None, description="redis://… of a cache that replicas share. Without it requests only take longer."
    )
    redis_ttl_s: int = Field(86_400, ge=1, le=10**8, description="How long Redis keeps the states of a text.")


class HealthSettings(_Group):
    """Health probes and integrity checks."""

    probe_every_s: float = Field(5, ge=0, le=3600, description="How long the result of a probe is reused.")
    probe_deadline_ms: int = Field(
        2000, ge=1, le=600_000, description="Time within which the models must rerank the probe's documents."
    )
    certify_every_s: float = Field(
        300,
        ge=0,
        le=10**6,
        description="Time between integrity checks of the open collections. 0: only when a collection is opened.",
    )


class LogSettings(_Group):
    """Content and format of the logs."""

    format: Literal["auto", "json", "pretty"] = Field("auto", description="auto: pretty on a terminal, else JSON.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")
    access_sample: Share = Field(
        1.0, description="Share of requests that get a line in the access log. Server errors (5xx) are always logged."
    )
    errors: Literal["frames", "full"] = Field(
        "frames",
        description="Tracebacks. frames: without messages; full: with messages, which may contain client data. "
        "Use full only in development.",
    )


# Packages of the extra `tracing`, parents first: find_spec fails for a package whose parent is missing.
_EXTRA = (
    "opentelemetry",
    "opentelemetry.exporter",
    "opentelemetry.exporter.otlp",
    "opentelemetry.exporter.otlp.proto",
    "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry.sdk",
)


class TracingSettings(_Group):
    """OpenTelemetry tracing."""

    endpoint: AnyHttpUrl | None = Field(
        None, description="URL of an OTLP/HTTP collector, http://…:4318. Absent: no tracing."
    )
    sample: Share = Field(1.0, description="Share of requests that are traced when the caller sent no trace context.")
    service: str = Field("quantum-rerank", min_length=1, max_length=128, description="Service name in spans.")

    @model_validator(mode="after")
    def _refuse_without_the_extra(self) -> Self:
        if self.endpoint and not all(find_spec(name) for name in _EXTRA):
            raise ValueError("endpoint: spans need the extra `tracing`: pip install 'quantum-rerank[tracing]'")
        return self


class OperationsSettings(_Group):
    """Access to metrics and detailed health."""

    access: Literal["open", "admin"] = Field(
        "open", description="Who may read /metrics and /health/detailed. open: everybody; admin: keys with that role."
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port on which `qrerank serve` serves /metrics, without authentication and on this port only.",
    )
    metrics_host: str | None = Field(None, description="Address of the metrics port. Absent: the service's address.")


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

    data_dir: Path = Field(
        default_factory=lambda: user_data_path(_NAME),
        description="Persistent data: collections, keys, usage.",
    )
    model_dir: Path = Field(
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
    calibration: Path | None = Field(
        None, description="Parameter file of the scores, from `qrerank fit --calibration`. Absent: the default model's."
    )
    parameters: Path | None = Field(
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
    hosts: tuple[str, ...] = Field(
        (),
        description='Host names that requests may use, a JSON list: ["a.example.org"], ["*.example.org"], ["*"]. '
        "Absent: any name with authentication; without it, only IP addresses and names that no public site can have.",
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
