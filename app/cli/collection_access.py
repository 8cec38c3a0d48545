"""Collections as commands open them: by name, with the settings, alone while they write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from app.settings import NAME_RULE, Settings, is_collection_name
from retrieval.encoder.prepare import Progress
from retrieval.errors import CollectionError
from retrieval.index.milvus import find
from retrieval.index.milvus_client import Milvus
from retrieval.index.passage_index import PassageIndex
from retrieval.store import indexer
from retrieval.store.aliases import target
from retrieval.store.collection import Collection
from retrieval.store.filters import Filter


def names(incomplete: str) -> list[str]:
    """The names of collections and aliases that begin so, for the shell; none where the settings are wrong."""
    try:
        folder = Settings().collections_dir
        found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    except (ValidationError, SettingsError, OSError):
        return []
    return [name for name in found if name.startswith(incomplete) and not name.startswith(".")]


Name = Annotated[str, typer.Argument(help="The collection's name.", autocompletion=names)]


def folder_of(settings: Settings, name: str) -> Path:
    """The folder of a collection; an invalid name is a usage error."""
    if not is_collection_name(name):
        raise typer.BadParameter(f"a collection's name {NAME_RULE}")
    return settings.collections_dir / name


def milvus_of(settings: Settings) -> Milvus | None:
    """Where new collections are kept, beside the disk."""
    return settings.index.open(settings.engine.requests)


def serves(settings: Settings, model: str) -> bool:
    """Whether a service with these settings serves a model, under its name or the last part of its path."""
    served = (settings.model, *settings.models)
    return _last_part(model) in map(_last_part, served)


def _last_part(model: str) -> str:
    return model.rstrip("/").rsplit("/", 1)[-1]


def opened(settings: Settings, name: str) -> Collection:
    """A collection whose documents are here."""
    folder = folder_of(settings, name)
    target(settings.collections_dir, name)  # an alias must lead to a collection beside it, and nowhere else
    return Collection(folder, milvus_of(settings))


def searchable(settings: Settings, name: str, wanted: Filter | None = None) -> PassageIndex:
    """What can be searched of a collection, wherever its documents are; only those that a filter leaves."""
    if wanted is not None:
        collection = opened(settings, name)
        collection.snapshot().check_whole()
        return collection.select(wanted)
    milvus = milvus_of(settings)
    if milvus and not folder_of(settings, name).exists() and (found := find(milvus, name)):
        return found
    return whole(opened(settings, name))


def whole(collection: Collection) -> PassageIndex:
    """What can be searched of a collection that is not damaged; CollectionError if it is."""
    collection.snapshot().check_whole()
    return collection.searchable()


@contextmanager
def alone(collection: Collection) -> Iterator[None]:
    """Hold the lock of the collection's indexer."""
    with indexer.indexing(collection) as is_alone:
        if not is_alone:
            raise CollectionError(
                f"another process writes to the collection {collection.name}; try again when it is done"
            )
        yield


def reporting(report: Progress, name: str) -> indexer.Counting:
    """What reports an indexer's steps as steps of a progress bar."""
    return lambda done, total: report(f"indexing {name}", done, total)
