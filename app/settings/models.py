"""The models, the fusion of their rankings, and the circuit."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator, model_validator

from app.ranking.hybrid import Weighting
from app.settings.values import Group, Share
from retrieval.fusion.algorithms import DEFAULT, Algorithm

MapName = Literal["angle", "entangled", "amplitude", "iqp"]

_HEADER_VALUE = re.compile("[!-~]+")


class Prompts(Group):
    """What a model reads before each text."""

    query: str = Field("", max_length=200, description="Before a query.")
    document: str = Field("", max_length=200, description="Before a document.")


class RemoteSettings(Group):
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


class EncoderSettings(Group):
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


class CrossEncoderSettings(Group):
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


class FusionSettings(Group):
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


class CircuitSettings(Group):
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
