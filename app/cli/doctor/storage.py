"""What is on the disk: folders, prepared models, collections."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from app.cli.doctor.finding import Finding, judged
from app.engine.self_test import check_order
from app.errors import NotReady
from app.ranking.reranker import Reranker
from app.settings import Settings
from retrieval.encoder import weights
from retrieval.encoder.prepare import open_prepared, prepared_copies
from retrieval.errors import CollectionError, ModelError, RetrievalError, SegmentUnreadable
from retrieval.index.milvus_client import Milvus
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


def _existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def models(settings: Settings) -> Iterator[Finding]:
    """Whether each model that runs here is prepared, whole, and ranks two texts as it should."""
    for model in (settings.model, *settings.models):
        if model in {settings.remote_model, "hash"}:
            continue
        try:
            yield _model(settings, model)
        except (RetrievalError, NotReady) as error:
            yield Finding("model", "error", f"{model}: {error}", "`qrerank prepare` makes it anew")


def _model(settings: Settings, model: str) -> Finding:
    at_hand = weights.find_local(model)
    digest = weights.digest(model, at_hand) if at_hand else None
    copies = prepared_copies(model, settings.model_dir)
    if not copies and at_hand is None:
        remedy = "run `qrerank prepare` where it can be downloaded, or set QRERANK_MODEL to a folder"
        return Finding("model", "error", f"{model} is not prepared in {settings.model_dir}", remedy)
    if digest:
        copies = [folder for folder in copies if folder.name.endswith(f"-{digest[:16]}")]
    if not copies:
        remedy = "`qrerank prepare` does it; else the next start"
        return Finding("model", "warning", f"{model} is not prepared yet", remedy)
    if len(copies) > 1:
        raise ModelError(f"{settings.model_dir} holds {len(copies)} prepared copies; delete all but one")
    return _prepared(settings, model, copies[0])


def _prepared(settings: Settings, model: str, folder: Path) -> Finding:
    """What a prepared folder holds, after its model has ranked two texts."""
    begun = time.perf_counter()
    encoder = open_prepared(folder, precision=settings.encoder.precision)
    if not folder.name.endswith(encoder.digest[:16]):
        raise ModelError(f"{folder} holds another model than its name says; delete it")
    check_order(Reranker(encoder), 0)
    seconds = time.perf_counter() - begun
    checksum = weights.digest_of(folder, sorted(path for path in folder.iterdir() if path.is_file()))
    found = f"{model}: {encoder.arithmetic}, ranks as it should ({seconds:.1f} s), SHA-256 {checksum[:_SHOWN]}…"
    return Finding("model", "ok", found)


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
        remedy = f"`qrerank index build {default} FILE`, or another QRERANK_DEFAULT_COLLECTION"
        yield Finding("collection", "error", f"{default}, the default collection, is not there", remedy)
    elif not names:
        yield Finding("collection", "off", f"none in {folder}")


def _collection(settings: Settings, path: Path, milvus: Milvus | None) -> Finding:
    try:
        with closing(Collection(path, milvus)) as collection:
            counts, model = collection.counts(), collection.settings.model.name
            faults = compaction.damaged(collection)
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
    if model not in (settings.model, *settings.models):
        encode = f"`qrerank index encode {path.name} --model {settings.model}`"
        remedy = f"add {model} to QRERANK_MODELS, or encode the collection with a model that is served: {encode}"
        return Finding("collection", "warning", f"{found}: made with {model}, which is not served", remedy)
    return Finding("collection", "ok", f"{found}, whole")
