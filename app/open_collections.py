"""The collections of a data folder, opened on first use and kept open."""

from __future__ import annotations

import threading
from pathlib import Path

from app.errors import UnknownCollection
from retrieval.collection import Collection


class OpenCollections:
    """Opens each collection once; safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        """Look for collections in this folder, one folder each."""
        self._folder = folder
        self._open: dict[str, Collection] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Collection:
        """The collection of this name (already checked to be a plain name); UnknownCollection if there is none."""
        with self._lock:
            if name not in self._open:
                if not (self._folder / name).is_dir():
                    raise UnknownCollection(f"there is no collection {name!r}; `qrerank index build` makes one")
                self._open[name] = Collection(self._folder / name)
            return self._open[name]
