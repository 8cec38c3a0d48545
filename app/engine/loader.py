"""Builds the models of a service from its settings: encoders, feature map, caches and rerankers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from app.auth.keys import open_pepper
from app.engine.cpu_quota import granted_cpus, limit_threads
from app.engine.engine import ModelRegistry
from app.ranking.calibration import Calibration
from app.ranking.cpu_slots import CpuSlots
from app.ranking.cross_encoding import CrossEncoding
from app.ranking.hybrid import Fusion
from app.ranking.parameter_file import ParameterFileError
from app.ranking.parameters import Parameters
from app.ranking.reranker import Reranker
from app.settings import RemoteSettings, Settings
from quantum.backends import Backend, cost_of
from quantum.feature_maps import FeatureMap, feature_map
from retrieval.encoder.prepare import Progress, load_encoder
from retrieval.encoder.protocol import Encoder
from retrieval.states.cache import StateCache
from retrieval.states.source import StateSource

if TYPE_CHECKING:
    from retrieval.states.redis import RedisStates

log = logging.getLogger(__name__)


def log_progress(step: str, done: int, total: int) -> None:
    """Log a step of the preparation; for processes without a progress bar."""
    log.info("%s (%d of %d)", step, done, total)


def processors_of(settings: Settings) -> int:
    """The number of CPUs to compute on: as configured, else as granted by the system."""
    return settings.engine.processors or granted_cpus()


def circuit_of(settings: Settings) -> FeatureMap:
    """The configured feature map."""
    circuit = settings.circuit
    return feature_map(circuit.map, circuit.qubits, circuit.bandwidth)


def backend_of(settings: Settings, width: int) -> Backend | None:
    """What runs the circuits, and in the log what that costs; None for the exact kernel. width: of a vector."""
    circuit = settings.circuit
    if circuit.backend == "exact":
        return None
    from quantum.backends.aer import AerBackend  # imported on use: Aer takes memory that most services do not need

    backend = AerBackend(circuit.shots, seed=circuit.seed)
    log.warning(
        "%s runs the circuits: 100 documents take %s", backend.name, cost_of(backend, circuit_of(settings), 100, width)
    )
    return backend


def open_encoder(settings: Settings, progress: Progress, model: str | None = None) -> Encoder:
    """Load a model, which is downloaded and converted on first use, or connect to it where it runs behind a URL.

    model: its name; None for the default model.
    """
    processors, model = processors_of(settings), model or settings.model
    limit_threads(processors)
    prompts = settings.encoder.prompts.get(model)
    if model == settings.remote_model:
        return _connect(settings.encoder.remote, model, prompts.model_dump() if prompts else {}, settings.data_dir)
    return load_encoder(
        model,
        settings.model_dir,
        progress,
        runtime=settings.encoder.runtime,
        precision=settings.encoder.precision,
        streams=processors,
        prompts=prompts.model_dump() if prompts else None,
    )


def open_cross_encoder(settings: Settings, progress: Progress) -> CrossEncoding | None:
    """Load the cross-encoder, which is converted on first use; None if none is configured."""
    configured = settings.cross_encoder
    if configured.model is None:
        return None
    from retrieval.cross_encoder.cross_encoder import CrossEncoder  # imported on use: most services have none
    from retrieval.cross_encoder.prepare import load_cross_encoder

    model = load_cross_encoder(
        configured.model,
        settings.model_dir,
        progress,
        max_tokens=configured.max_tokens,
        streams=processors_of(settings),
    )
    return CrossEncoding(CrossEncoder(model, configured.cache_mib * 2**20), configured.top_k)


def _connect(remote: RemoteSettings, model: str, prompts: Mapping[str, str], data_dir: Path) -> Encoder:
    from retrieval.encoder.embeddings_client import Endpoint  # imported on use: most services have no remote model
    from retrieval.encoder.remote import Reach, connect

    key = remote.api_key.get_secret_value() if remote.api_key else None
    endpoint = Endpoint(str(remote.url), model, key, remote.concurrency, remote.timeout_s)
    return connect(endpoint, Reach(remote.batch, remote.max_tokens, prompts), data_dir / "remote")


def open_models(
    settings: Settings, progress: Progress, encoders: Mapping[str, Encoder] = MappingProxyType({})
) -> ModelRegistry:
    """Load all configured models. They share one state cache and one set of CPU slots.

    Args:
        settings: The service's settings.
        progress: Receives the steps of a model's preparation.
        encoders: Encoders that are loaded already, by model name.

    Raises:
        CircuitTooLarge: The configured circuit exceeds the limits.
        Saturated: With the configured bandwidth all texts look alike.
        QuantumError: The configured backend is not installed, or the model has a vector for each token.
        ModelError: A model cannot be loaded.
        EncoderUnavailable: The server of a remote model does not answer; it may do so later.
        ParameterFileError: The file of parameters cannot be used, or belongs to no model that is served.
    """
    cache, slots = StateCache(settings.cache.max_bytes), CpuSlots(processors_of(settings))
    names = (settings.model, *settings.models)
    remote_first = sorted(names, key=lambda name: name != settings.remote_model)  # it may fail, and is tried again
    opened = {name: encoders.get(name) or open_encoder(settings, progress, name) for name in remote_first}
    cross, fitted = open_cross_encoder(settings, progress), fitted_with(settings, opened.values())
    served = {}
    for name in names:
        source = StateSource(opened[name], cache, _replicas(settings, opened[name]))
        served[name] = reranker_of(settings, source, slots, fitted, cross)
    return ModelRegistry(served, settings.aliases)


def fitted_with(settings: Settings, encoders: Iterable[Encoder]) -> Parameters | Calibration | None:
    """What the configured file of parameters holds; ParameterFileError if it was fitted with none of these encoders."""
    fitted: Parameters | Calibration | None = None
    if settings.parameters:
        fitted = Parameters.read(settings.parameters)
    elif settings.calibration:
        fitted = Calibration.read(settings.calibration)
    if fitted and all(encoder.digest != fitted.digest for encoder in encoders):
        raise ParameterFileError(
            f"{settings.parameters or settings.calibration} was fitted with {fitted.model!r}, which is not served, or "
            "is another version of it; fit it again with `qrerank fit`"
        )
    return fitted


def reranker_of(
    settings: Settings,
    source: StateSource,
    slots: CpuSlots | None,
    fitted: Parameters | Calibration | None,
    cross: CrossEncoding | None = None,
) -> Reranker:
    """The reranker of one model. Weights and bandwidth are those that were fitted with it, else the configured ones."""
    circuit, fusion = circuit_of(settings), Fusion(**settings.fusion.model_dump())
    calibration = fitted.calibration if isinstance(fitted, Parameters) else fitted
    if isinstance(fitted, Parameters) and fitted.digest == source.encoder.digest:
        circuit, fusion = fitted.of_circuit(circuit), fitted.of_fusion(fusion)
    backend = backend_of(settings, source.encoder.token_dimension)
    return Reranker(source, circuit, fusion, slots=slots, calibration=calibration, cross=cross, backend=backend)


def open_reranker(settings: Settings, progress: Progress) -> Reranker:
    """The reranker of the default model alone."""
    return open_models(settings.model_copy(update={"models": (), "aliases": {}}), progress).default


def _replicas(settings: Settings, encoder: Encoder) -> RedisStates | None:
    if settings.cache.redis_url is None:
        return None
    from retrieval.states.redis import RedisStates  # imported on use: redis-py takes 0.3 s to import

    pepper = open_pepper(settings.auth, settings.data_dir)
    return RedisStates(
        settings.cache.redis_url.get_secret_value(),
        encoder.pooled_dimension,
        encoder.token_dimension,
        secret=pepper.derive("states in Redis") if pepper else None,
        ttl_s=settings.cache.redis_ttl_s,
    )
