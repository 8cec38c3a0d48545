"""NumPy's files, read by one thread at a time, and written so that a full disk is told.

NumPy parses a file's header as Python, and CPython 3.11 counts the depth of all syntax trees together: if two threads
make one at the same time, `SystemError` says "recursion depth mismatch" (python/cpython#106905).

`np.save` and `tofile` write with C's functions, and their `OSError` has no number: nobody can tell a full disk from a
bug. Python's files say why a write failed.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_parsing = Lock()


def load_array(path: Path) -> NDArray[Any]:
    """Load the array of a .npy file; ValueError if it holds none, OSError if it cannot be read."""
    with _parsing, path.open("rb") as file:
        try:
            return npy.read_array(file)
        except (SyntaxError, TokenError) as error:  # of a damaged header
            raise ValueError(f"the header is damaged: {error}") from error


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Load the arrays of an .npz file by name; ValueError, EOFError, BadZipFile or zlib.error if it is damaged."""
    with _parsing, np.load(path) as file:
        return dict(file)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as a .npy file; OSError says why it cannot be written."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
        write_entries(file, array)


def write_entries(file: BinaryIO, array: NDArray[Any]) -> None:
    """Write the bytes of an array, row by row, without a header; OSError says why they cannot be written."""
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
