"""Atomic creation and replacement of folders."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Temporary folders start with a dot; collections and models never do.
_PARTIAL = ".partial-"
_REPLACED = ".replaced-"
_REMOVED = ".removed-"
_ABANDONED_AFTER_S = 3600.0
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def whole_folder(final: Path, *, replace: bool = False, parents: bool = True) -> Iterator[Path]:
    """Yield an empty folder of the same name to fill; if the block succeeds, it is moved to `final`.

    If the block raises or the process is killed, `final` is unchanged.

    Args:
        final: The path of the folder.
        replace: Without it, an existing `final` is kept and the new folder is dropped. With it, the two are exchanged
            atomically. If the file system cannot exchange folders, the old one is renamed first, and a kill between the
            two renames leaves it as `.replaced-` plus its name.
        parents: Make the folder above it if it is missing; else that is a FileNotFoundError.
    """
    if parents:
        final.parent.mkdir(parents=True, exist_ok=True)
    sweep(final.parent)
    around = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=final.parent))
    try:
        partial = around / final.name  # so that errors meanwhile name it, and not a temporary folder
        partial.mkdir()
        yield partial
        _sync(partial)
        partial.chmod(0o755)
        _put(partial, final, replace=replace)
    finally:
        shutil.rmtree(around, ignore_errors=True)  # after an exchange, the old folder is in it


def _put(partial: Path, final: Path, *, replace: bool) -> None:
    try:
        partial.rename(final)
    except OSError:
        if not final.exists():
            raise
        if replace and not _exchange(partial, final):
            replaced = final.with_name(_REPLACED + final.name)
            shutil.rmtree(replaced, ignore_errors=True)
            final.rename(replaced)
            partial.rename(final)
            shutil.rmtree(replaced, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders atomically; False if the system or the file system does not support it."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2  # Linux only; Python has no function for it
    except (OSError, AttributeError):
        return False
    failed: int = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return not failed


def _sync(folder: Path) -> None:
    """Flush the files to disk before the rename, or a power failure could leave a folder of empty files."""
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_folder(folder: Path) -> None:
    """Remove a folder. It is gone at once, and its files soon after, at the latest by the next `sweep`."""
    doomed = folder.with_name(f"{_REMOVED}{os.getpid()}-{time.monotonic_ns()}")
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove the folders that killed processes left in one; newer ones may belong to a running process."""
    for removed in parent.glob(f"{_REMOVED}*"):
        shutil.rmtree(removed, ignore_errors=True)
    for leftover in parent.glob(f"{_PARTIAL}*"):
        with suppress(FileNotFoundError):  # another process has finished it, or is at it
            # A long build seldom changes the folder itself, but always something in it.
            newest = max(path.lstat().st_mtime for path in (leftover, *leftover.rglob("*")))
            if time.time() - newest > _ABANDONED_AFTER_S:
                shutil.rmtree(leftover, ignore_errors=True)
