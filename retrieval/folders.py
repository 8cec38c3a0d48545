"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PARTIAL = ".partial-"
_ABANDONED_AFTER_S = 3600.0


@contextmanager
def whole_folder(final: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends well it becomes `final` by one rename.

    If the block raises, or the process is killed, `final` is as it was. Without `replace`, a `final` that another
    process finished first is kept and this one's work is dropped. With it, the old folder is moved aside first; a kill
    between the two renames leaves it beside `final`, under its name with ".old".
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep(final.parent)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=final.parent))
    try:
        yield partial
        _sync(partial)
        partial.chmod(0o755)
        old = final.with_name(final.name + ".old")
        if replace and final.exists():
            shutil.rmtree(old, ignore_errors=True)
            final.rename(old)
        if not final.exists():
            partial.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
        if time.time() - left.stat().st_mtime > _ABANDONED_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)
