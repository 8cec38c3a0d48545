"""Folders that appear whole or not at all."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Names of our own begin with a dot, as no collection's or model's does.
_PARTIAL = ".partial-"
_REPLACED = ".replaced-"
_ABANDONED_AFTER_S = 3600.0
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def whole_folder(final: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends well it becomes `final` by one rename.

    If the block raises, or the process is killed, `final` is as it was. Without `replace`, a `final` that another
    process finished first is kept and this one's work is dropped. With it, the two change places at once, so that
    whoever looks finds one of them; where the file system cannot do that the old one is moved aside first, and a kill
    between the two renames leaves it in `.replaced-` and its name.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep(final.parent)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=final.parent))
    try:
        yield partial
        _sync(partial)
        partial.chmod(0o755)
        _put(partial, final, replace=replace)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # or what was there before, once they changed places


def _put(partial: Path, final: Path, *, replace: bool) -> None:
    try:
        partial.rename(final)
    except OSError:
        if not final.exists():
            raise
        if replace and not _exchange(partial, final):
            aside = final.with_name(_REPLACED + final.name)
            shutil.rmtree(aside, ignore_errors=True)
            final.rename(aside)
            partial.rename(final)
            shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Have two folders change places at once; False where this system or its file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2  # Linux; Python has no call of its own for it
    except (OSError, AttributeError):
        return False
    failed: int = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return not failed


def _sync(folder: Path) -> None:
    """Have the files on disk before the rename is, or a power cut could leave a named folder of empty files."""
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sweep(parent: Path) -> None:
    """Remove what killed processes left; younger leftovers may belong to a process at work."""
    for left in parent.glob(f"{_PARTIAL}*"):
        with suppress(FileNotFoundError):  # another process is done with it
            if time.time() - left.stat().st_mtime > _ABANDONED_AFTER_S:
                shutil.rmtree(left, ignore_errors=True)
