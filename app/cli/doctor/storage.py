"""What is on the disk: folders, prepared models, collections."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from app.cli.collection_access import serves
from app.cli.doctor.finding import Finding, Status, judged
from app.engine.loader import fitted_with, reranker_of
from app.engine.self_test import check_order
from app.errors import NotReady, ServiceError
from app.ranking.reranker import Reranker
from app.settings import Settings
from quantum.errors import QuantumError
from retrieval.encoder import weights
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.prepare import open_prepared, prepared_copies
from retrieval.encoder.protocol import Encoder
from retrieval.errors import CollectionError, ModelError, RetrievalError, SegmentUnreadable
from retrieval.index.milvus_client import Milvus
from retrieval.states.source import StateSource
from retrieval.store import compaction
from retrieval.store.collection import Collection
from retrieval.store.file_systems import network_file_system

_LEAST_FREE = 2**30  # bytes
_SHOWN = 16  # hexadecimal digits of a checksum


def folders(settings: Settings) -> Iterator[Finding]:
    """Whether the folders can be written, what is free there, and whether they are on a network file system."""
    for variable, folder in (("QRERANK_DATA_DIR", settings.data_dir), ("QRERANK_MODEL_DIR", settings.model_dir)):
        there = _existing(folder)
        free = shutil.disk_usage(there).free
        found = f"{folder}, {free / 2**30:.1f} GiB free" + ("" if folder.exists() else ", made when it is needed")
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            why = "it cannot be written" if there.is_dir() else f"{there} is no folder"
            yield Finding(variable, "error", f"{found}: {why}", f"set {variable} to a folder that can be written")
            continue
        fault = "less than 1 GiB" if free < _LEAST_FREE else None
        remedy = f"make room, or set {variable} to another folder"
        kind = network_file_system(there) if folder == settings.data_dir else None
        if kind and not fault:
            fault = f"on a network file system ({kind})"
            remedy = "docs/collections.md#network-file-systems says what that costs"
        yield judged(variable, found, fault, remedy)


def authentication(settings: Settings) -> Iterator[Finding]:
    """Whether the audit log can be written, and whether the file of the tokens' issuer has keys."""
    audit, jwks = settings.auth.audit_file, settings.auth.jwt.jwks_file
    if audit is not None:
        there = _existing(audit)
        is_right = there.is_dir() != (there == audit)  # the file itself, or a folder where it is made
        fault = None if is_right and os.access(there, os.W_OK) else "it cannot be written"
        remedy = "name a file in a folder that can be written"
        yield judged("QRERANK_AUTH__AUDIT_FILE", str(audit), fault, remedy, status="error")
    if jwks is not None:
        from app.auth.jwks import parse  # imported on use: cryptography takes memory

        fault = None
        try:
            found = f"{jwks}: {len(parse(jwks.read_bytes()))} keys"
        except (OSError, ValueError) as error:
            found, fault = str(jwks), getattr(error, "strerror", None) or str(error)
        yield judged("QRERANK_AUTH__JWT__JWKS_FILE", found, fault, "name the issuer's JWKS document", status="error")


def _existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def models(settings: Settings) -> Iterator[Finding]:
    """Whether each model that runs here is prepared, whole, and ranks two texts by the circuit and the fitted files."""
    names = dict.fromkeys((settings.model, *settings.models))  # each once
    encoders: list[Encoder] = [HashEncoder()] if "hash" in names else []
    for model in (name for name in names if name not in {"hash", settings.remote_model}):
        try:
            finding, encoder = _model(settings, model)
        except (RetrievalError, NotReady) as error:
            finding, encoder = Finding("model", "error", f"{model}: {error}", "`qrerank prepare` makes it anew"), None
        yield finding
        encoders += [encoder] if encoder else []
    if len(encoders) == len(names):  # else nobody knows here what the others are
        yield _ranking(settings, encoders)


def _ranking(settings: Settings, encoders: Sequence[Encoder]) -> Finding:
    """Whether all models rank with what is configured: the circuit, and the files of `qrerank fit`."""
    remedy = "correct QRERANK_CIRCUIT__…, QRERANK_PARAMETERS or QRERANK_CALIBRATION: the service would never be ready"
    try:
        fitted = fitted_with(settings, encoders)
        for encoder in encoders:
            check_order(reranker_of(settings, StateSource(encoder), None, fitted), 0)
    except (QuantumError, RetrievalError, ServiceError) as error:
        return Finding("ranking", "error", str(error), remedy)
    return Finding("ranking", "ok", "the circuit and what was fitted suit the models")


def _model(settings: Settings, model: str) -> tuple[Finding, Encoder | None]:
    at_hand = weights.find_local(model)
    digest = weights.digest(model, at_hand) if at_hand else None
    copies = prepared_copies(model, settings.model_dir)
    if not copies and at_hand is None:
        remedy = "run `qrerank prepare` where it can be downloaded, or set QRERANK_MODEL to a folder"
        return Finding("model", "error", f"{model} is not prepared in {settings.model_dir}", remedy), None
    if digest:
        copies = [folder for folder in copies if folder.name.endswith(f"-{digest[:16]}")]
    if not copies:
        remedy = "`qrerank prepare` does it; else the next start"
        return Finding("model", "warning", f"{model} is not prepared yet", remedy), None
    if len(copies) > 1:
        raise ModelError(f"{settings.model_dir} holds {len(copies)} prepared copies; delete all but one")
    return _prepared(settings, model, copies[0])


def _prepared(settings: Settings, model: str, folder: Path) -> tuple[Finding, Encoder]:
    """What a prepared folder holds, after its model has ranked two texts."""
    begun = time.perf_counter()
    encoder = open_prepared(folder, precision=settings.encoder.precision)
    if not folder.name.endswith(encoder.digest[:16]):
        raise ModelError(f"{folder} holds another model than its name says; delete it")
    check_order(Reranker(encoder), 0)
    seconds = time.perf_counter() - begun
    checksum = weights.digest_of(folder, sorted(path for path in folder.iterdir() if path.is_file()))
    found = f"{model}: {encoder.arithmetic}, ranks as it should ({seconds:.1f} s), SHA-256 {checksum[:_SHOWN]}…"
    return Finding("model", "ok", found), encoder


def cross_encoder(settings: Settings) -> Iterator[Finding]:
    """Whether the cross-encoder of hybrid+cross is there; it is not opened."""
    model = settings.cross_encoder.model
    if model is None:
        yield Finding("cross-encoder", "off", "not configured")
        return
    from retrieval.cross_encoder.prepare import CROSS_ENCODER, find_onnx  # most services have none

    try:
        is_there = bool(find_onnx(Path(model)) or prepared_copies(model, settings.model_dir, CROSS_ENCODER))
    except ModelError as error:
        yield Finding("cross-encoder", "error", str(error), "leave one model in the folder")
        return
    if not is_there and model.startswith(("/", "./", "../", "~")):
        yield Finding("cross-encoder", "error", f"{model} is no folder", "correct QRERANK_CROSS_ENCODER__MODEL")
        return
    fault = None if is_there else f"not prepared in {settings.model_dir}"
    yield judged("cross-encoder", model, fault, "`qrerank prepare` does it; else the next start")


def collections(settings: Settings) -> Iterator[Finding]:
    """Whether every collection can be opened and is whole, and whether the default one is there."""
    folder, default = settings.collections_dir, settings.default_collection
    paths = [path for path in sorted(folder.iterdir()) if path.name[0] != "."] if folder.is_dir() else []
    names, milvus = {path.name for path in paths}, settings.index.open(1)
    for path in paths:
        if not path.is_symlink():  # else it is an alias
            yield _collection(settings, path, milvus)
    if milvus:
        milvus.close()
    if default and default not in names and not settings.index.url:
        remedy = f"`qrerank index build {default} SOURCE`, or another QRERANK_DEFAULT_COLLECTION"
        yield Finding("collection", "error", f"{default}, the default collection, is not there", remedy)
    elif not names:
        yield Finding("collection", "off", f"none in {folder}")


def _damaged(collection: Collection) -> dict[int, str]:
    """The segments that are damaged, and why; CollectionError if the documents are, which nothing mends."""
    if lost := collection.fault():
        raise CollectionError(lost)
    return compaction.misplaced(collection) | compaction.damaged(collection)


def _collection(settings: Settings, path: Path, milvus: Milvus | None) -> Finding:
    try:
        with closing(Collection(path, milvus)) as collection:
            counts, model = collection.counts(), collection.settings.model.name
            faults = _damaged(collection)
    except SegmentUnreadable as error:  # perhaps whole
        return Finding("collection", "error", f"{path.name}: {error.fault}", error.remedy)
    except OSError as error:
        found = f"{path.name}: it cannot be read: {error.strerror}"
        return Finding("collection", "error", found, "let the user of this process read its files")
    except CollectionError as error:
        return Finding("collection", "error", f"{path.name}: {error}", "restore it, or build it again")
    found = f"{path.name}: {counts.documents:,} documents, {counts.passages:,} passages"
    if faults:
        remedy = f"`qrerank index verify {path.name} --repair`"
        return Finding("collection", "error", f"{found}: {'; '.join(faults.values())}", remedy)
    if not serves(settings, model):
        default = settings.default_collection
        is_default = default is not None and (path.parent / default).resolve() == path.resolve()
        encode = f"`qrerank index encode {path.name} --model {settings.model}`"
        remedy = f"add {model} to QRERANK_MODELS, or encode the collection with a model that is served: {encode}"
        status: Status = "error" if is_default else "warning"  # without the default one the service is not ready
        return Finding("collection", status, f"{found}: made with {model}, which is not served", remedy)
    return Finding("collection", "ok", f"{found}, whole")
