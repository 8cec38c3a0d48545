"""glibc malloc: keep freed memory between requests, and return it to the system every few seconds."""

from __future__ import annotations

import ctypes
import platform

_MIB = 2**20
# mallopt's parameters, from malloc.h. Without the first two, every large array is mapped and unmapped page by page,
# which takes a large part of the scoring time. Without the third, every thread keeps freed memory in its own arena.
_SETTINGS = {
    -3: 32 * _MIB,  # M_MMAP_THRESHOLD: larger blocks are mapped separately
    -1: 64 * _MIB,  # M_TRIM_THRESHOLD: free memory kept at the top of the heap
    -8: 2,  # M_ARENA_MAX
}

GIVE_BACK_EVERY_S = 5.0


def keep_memory() -> bool:
    """Set malloc's parameters; False, without a change, if the C library is not glibc.

    Must be called before threads start: arenas that exist are kept.
    """
    if not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(parameter, value) for parameter, value in _SETTINGS.items())


def give_back() -> bool:
    """Return free memory to the system (`malloc_trim`); whether any was returned. False if not on glibc.

    Without it, fragmentation makes resident memory grow for hours under a steady load, while memory in use does not.
    """
    return _is_glibc() and bool(ctypes.CDLL(None).malloc_trim(0))


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
