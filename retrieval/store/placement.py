"""Making collections: where their passages are kept, in segments beside their documents or in Milvus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from retrieval.errors import CollectionTaken
from retrieval.index import milvus as engine
from retrieval.index.milvus import About
from retrieval.index.milvus_client import Milvus
from retrieval.store.collection import Collection, CollectionSettings
from retrieval.store.remote import Place


class Dimensions(Protocol):
    """What is known of a model's vectors."""

    @property
    def pooled_dimension(self) -> int:
        """The dimension of pooled vectors."""

    @property
    def token_dimension(self) -> int:
        """The dimension of token vectors."""


def create(folder: Path, settings: CollectionSettings, dimensions: Dimensions, milvus: Milvus | None) -> None:
    """Make an empty collection, atomically.

    Args:
        folder: The folder of the collection.
        settings: What is decided once.
        dimensions: Of its model's vectors.
        milvus: Where passages are kept; None: in segments.

    Raises:
        FileExistsError: The folder exists.
        CollectionTaken: Another machine has a collection of this name in Milvus.
    """
    if folder.exists():
        raise FileExistsError(folder)
    if milvus and engine.collection_of(milvus, folder.name):
        raise CollectionTaken(
            f"Milvus holds a collection {folder.name!r} of another machine; write to it there, or choose another name"
        )
    with placed(folder.name, settings, dimensions, milvus) as settled:
        Collection.create(folder, settled)
    publish(folder, milvus)


@contextmanager
def placed(
    name: str, settings: CollectionSettings, dimensions: Dimensions, milvus: Milvus | None
) -> Iterator[CollectionSettings]:
    """Yield the settings with a place in Milvus, if there is one; it is given back if the block fails."""
    if milvus is None:
        yield settings
        return
    about = About(name, settings.model, settings.language, dimensions.pooled_dimension, dimensions.token_dimension)
    collection = engine.create(milvus, about)
    try:
        yield replace(settings, remote=Place(collection, name, about.pooled_dimension, about.token_dimension))
    except BaseException:
        engine.drop(milvus, collection)
        raise


def publish(folder: Path, milvus: Milvus | None) -> None:
    """Let other machines find a collection that is new, or took the place of another."""
    if milvus:
        collection = Collection(folder, milvus)
        if collection.remote:
            collection.remote.publish()
        collection.close()
