"""Files held open and read by position, so that one that is cut short is an error and not the end of the process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import CollectionError


class HeldFiles:
    """The files of a folder, held open: how large they were, whether they still are, and what is in them.

    A folder that was replaced does no harm: what is held is the old one. Safe to use from several threads.
    """

    def __init__(self, folder: Path, wanted: Sequence[str]) -> None:
        """Hold every file of the folder; OSError if one cannot be read, ValueError if a wanted one is missing."""
        self._files = {path.name: path.open("rb", buffering=0) for path in sorted(folder.iterdir()) if path.is_file()}
        self.sizes = {name: os.fstat(file.fileno()).st_size for name, file in self._files.items()}
        if missing := set(wanted) - self.sizes.keys():
            raise ValueError(f"{', '.join(sorted(missing))} is missing")

    def changed(self) -> str | None:
        """What is wrong if a file is not as large as it was; None if all are."""
        for name, file in self._files.items():
            try:
                size = os.fstat(file.fileno()).st_size
            except OSError as error:  # of a disk that is gone
                return str(_unreadable(name, error))
            if size != self.sizes[name]:
                return f"{name} has {size} bytes, and had {self.sizes[name]} when it was opened"
        return None

    def fill(self, name: str, buffer: memoryview, start: int) -> None:
        """Read a file from this byte on until the buffer is full; CollectionError where it ends before."""
        file, size = self._files[name].fileno(), len(buffer)
        try:
            done = os.preadv(file, [buffer], start)
            while done < size and (more := os.preadv(file, [buffer[done:]], start + done)):  # a read may end early
                done += more
        except (OSError, OverflowError) as error:
            raise _unreadable(name, error) from error
        if done < size:
            raise _cut_short(name)

    def read(self, name: str, start: int, count: int) -> bytes:
        """So many bytes of a file from this one on; CollectionError where it ends before."""
        try:
            found = os.pread(self._files[name].fileno(), count, start)
        except (OSError, OverflowError, ValueError) as error:
            raise _unreadable(name, error) from error
        if len(found) < count:
            raise _cut_short(name)
        return found


class Lines:
    """A text file of which any line can be read at once, since it is known where each begins."""

    def __init__(self, files: HeldFiles, name: str, offsets: NDArray[np.int64]) -> None:
        """offsets: (n + 1,) bytes where the lines begin; the last is the end."""
        self._files, self._name, self.offsets = files, name, offsets

    def at(self, positions: NDArray[np.int64]) -> list[bytes]:
        """The lines at (m,) positions; CollectionError where the file ends before."""
        starts = self.offsets[positions]
        counts = self.offsets[positions + 1] - starts
        where = zip(starts.tolist(), counts.tolist(), strict=True)
        return [self._files.read(self._name, start, count) for start, count in where]


def _unreadable(name: str, error: Exception) -> CollectionError:
    return CollectionError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}")


def _cut_short(name: str) -> CollectionError:
    return CollectionError(f"{name} was cut short while it was open")
