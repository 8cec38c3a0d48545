"""How the C library hands memory back: now and then, since each request needs about as much as the one before."""

from __future__ import annotations

import ctypes
import platform

_MIB = 2**20
# mallopt's parameters, from malloc.h. Without the first two, every large array is mapped and unmapped page by page,
# a good part of the time of scoring; without the third, each of many threads keeps freed memory of its own.
_SETTINGS = {
    -3: 32 * _MIB,  # M_MMAP_THRESHOLD: what is larger is mapped by itself
    -1: 64 * _MIB,  # M_TRIM_THRESHOLD: free memory kept at the top of the heap
    -8: 2,  # M_ARENA_MAX
}

GIVE_BACK_EVERY_S = 5.0


def keep_memory() -> bool:
    """Set the C library up; False where it is not glibc, and nothing is changed.

    Before there are threads: a heap that one has made stays.
    """
    if not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(parameter, value) for parameter, value in _SETTINGS.items())


def give_back() -> bool:
    """Hand free memory back to the system, wherever it lies; whether there was any. False where it is not glibc.

    Never done, the process holds what the busiest moments since its start needed together, each in another place, and
    that grows for hours under a steady load, though what is in use does not.
    """
    return _is_glibc() and bool(ctypes.CDLL(None).malloc_trim(0))


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
