"""NumPy's files, opened by one thread at a time.

NumPy parses a file's header as Python, and CPython 3.11 counts the depth of all syntax trees together: if two threads
make one at the same time, `SystemError` says "recursion depth mismatch" (python/cpython#106905).
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

_parsing = Lock()


def load_array(path: Path) -> NDArray[Any]:
    """Load the array of a .npy file; ValueError if it holds none, OSError if it cannot be read."""
    with _parsing, path.open("rb") as file:
        try:
            return np.lib.format.read_array(file)
        except (SyntaxError, TokenError) as error:  # of a damaged header
            raise ValueError(f"the header is damaged: {error}") from error


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Load the arrays of an .npz file by name; ValueError, EOFError, BadZipFile or zlib.error if it is damaged."""
    with _parsing, np.load(path) as file:
        return dict(file)
