"""Open files that are read by position: reading a truncated file raises an error instead of killing the process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.array_files import load_array
from retrieval.errors import SegmentDamaged


class HeldFiles:
    """Holds all files of a folder open, knows their sizes at opening, and reads them. Thread-safe.

    If the folder is replaced, the files of the old folder stay readable.
    """

    def __init__(self, folder: Path, required: Sequence[str]) -> None:
        """Open every file of the folder; OSError if one cannot be read, ValueError if a required one is missing."""
        self._files = {path.name: path.open("rb", buffering=0) for path in sorted(folder.iterdir()) if path.is_file()}
        self.sizes = {name: os.fstat(file.fileno()).st_size for name, file in self._files.items()}
        if missing := set(required) - self.sizes.keys():
            raise ValueError(f"{', '.join(sorted(missing))} is missing")

    def changed(self) -> str | None:
        """Return a message if the size of a file has changed since it was opened, else None."""
        for name, file in self._files.items():
            try:
                size = os.fstat(file.fileno()).st_size
            except OSError as error:  # the disk was removed
                return str(_unreadable(name, error))
            if size != self.sizes[name]:
                return f"{name} has {size} bytes, and had {self.sizes[name]} when it was opened"
        return None

    def read(self, name: str, start: int, count: int) -> bytes:
        """Read `count` bytes of a file from offset `start`; SegmentDamaged if it is too short or cannot be read."""
        try:
            file = self._files[name].fileno()
            content = os.pread(file, count, start)
            while len(content) < count and (more := os.pread(file, count - len(content), start + len(content))):
                content += more  # reads may be partial
        except (OSError, OverflowError, ValueError) as error:
            raise _unreadable(name, error) from error
        if len(content) < count:
            raise _cut_short(name)
        return content

    def read_into(self, buffer: memoryview, name: str, start: int) -> None:
        """Fill a buffer from offset `start` of a file; raises what `read` does."""
        try:
            file = self._files[name].fileno()
            there = os.preadv(file, [buffer], start)
            while there < len(buffer) and (more := os.preadv(file, [buffer[there:]], start + there)):
                there += more
        except (OSError, OverflowError, ValueError) as error:
            raise _unreadable(name, error) from error
        if there < len(buffer):
            raise _cut_short(name)


class Lines:
    """A text file with random access to its lines."""

    def __init__(self, files: HeldFiles, name: str, offsets: NDArray[np.int64]) -> None:
        """offsets: (n + 1,) byte offsets of the lines; the last is the end of the file."""
        self._files, self._name, self.offsets = files, name, offsets

    def at(self, positions: NDArray[np.int64]) -> list[bytes]:
        """Return the lines at (m,) positions; SegmentDamaged if the file is too short."""
        starts = self.offsets[positions]
        counts = self.offsets[positions + 1] - starts
        ranges = zip(starts.tolist(), counts.tolist(), strict=True)
        return [self._files.read(self._name, start, count) for start, count in ranges]


def load_integers(path: Path, dtype: type[np.integer[Any]] = np.int64) -> NDArray[Any]:
    """Load (n,) integers of a type from a .npy file; ValueError, which names it, if it holds anything else."""
    return _load(path, 1, dtype)


def load_vectors(path: Path) -> NDArray[np.float32]:
    """Load (n, D) vectors from a .npy file; ValueError, which names it, if it holds anything else."""
    return _load(path, 2, np.float32)


def load_records(path: Path, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """Load (n,) records from a .npy file; ValueError, which names it, if it holds anything else."""
    return _load(path, 1, dtype)


def _load(path: Path, dimensions: int, dtype: type[np.generic] | np.dtype[np.void]) -> NDArray[Any]:
    try:
        numbers = load_array(path)
    except ValueError as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    if numbers.ndim != dimensions or numbers.dtype != dtype:
        raise ValueError(f"{path.name} does not hold {dimensions}-dimensional {np.dtype(dtype)}")
    return numbers


def _unreadable(name: str, error: Exception) -> SegmentDamaged:
    return SegmentDamaged(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}")


def _cut_short(name: str) -> SegmentDamaged:
    return SegmentDamaged(f"{name} was cut short while it was open")
