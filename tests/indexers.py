"""Another process that indexes a collection."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from retrieval.store.collection import Collection
from retrieval.store.indexer import indexing
from tests.waiting import eventually


@contextmanager
def indexed_elsewhere(folder: Path) -> Iterator[None]:
    """Hold the lock of a collection's indexer within the block.

    A service says that documents are searchable a little before its indexer lets go of the lock.
    """
    collection = Collection(folder)
    with ExitStack() as held:

        def alone() -> bool:
            with ExitStack() as attempt:
                if attempt.enter_context(indexing(collection)):
                    held.push(attempt.pop_all())
                    return True
            return False

        eventually(alone)
        yield
