"""From settings to a reranker: the model, the checked circuit, and the fusion."""

from __future__ import annotations

from app.reranker import Reranker
from app.settings import Settings
from quantum.feature_maps import feature_map
from retrieval.encoder import Encoder
from retrieval.prepare import Progress, load_encoder


def open_encoder(settings: Settings, progress: Progress) -> Encoder:
    """The configured model, prepared now if it never was."""
    return load_encoder(
        settings.model,
        settings.model_dir,
        progress,
        runtime=settings.encoder.runtime,
        precision=settings.encoder.precision,
    )


def open_reranker(settings: Settings, progress: Progress) -> Reranker:
    """The configured reranker; CircuitTooLarge or ModelError where the settings cannot be met."""
    circuit = settings.circuit
    states = feature_map(circuit.map, circuit.qubits, circuit.bandwidth)
    return Reranker(open_encoder(settings, progress), states)
