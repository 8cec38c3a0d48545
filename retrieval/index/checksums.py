"""Checksums of the files of a folder that never changes, by blocks, so that a part of a large file can be checked."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from retrieval.errors import SegmentDamaged
from retrieval.index.held_files import HeldFiles

FILE = "blocks.json"  # by name of a file the CRC-32 of each of its blocks
BLOCK = 2**20  # bytes

Checksums = Mapping[str, Sequence[int]]


def write_checksums(folder: Path) -> None:
    """Write the checksums of all files that are in the folder now."""
    sums = {path.name: list(_sums(path)) for path in sorted(folder.iterdir()) if path.name != FILE}
    (folder / FILE).write_text(json.dumps(sums), encoding="utf-8")


def _sums(path: Path) -> Iterator[int]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield zlib.crc32(block)


def read_checksums(files: HeldFiles) -> Checksums:
    """Read what `write_checksums` wrote; ValueError if it is damaged, SegmentDamaged if it cannot be read."""
    try:
        sums = json.loads(files.read(FILE, 0, files.sizes[FILE]))
        return {str(name): [int(each) for each in blocks] for name, blocks in sums.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{FILE} cannot be read") from error


def check_blocks(files: HeldFiles, checksums: Checksums, name: str, most: int | None = None) -> None:
    """Compare a file with its checksums; SegmentDamaged if it was cut, grew or holds other bytes.

    Args:
        files: The open files of the folder.
        checksums: Of the folder.
        name: The file.
        most: Check this many random blocks; None: all of them.
    """
    size, sums = files.sizes.get(name), checksums[name]
    if size is None:
        raise SegmentDamaged(f"{name} is missing")
    if -(-size // BLOCK) != len(sums):
        raise SegmentDamaged(f"{name} has {size} bytes, and should have {len(sums)} blocks of {BLOCK}")
    chosen = range(len(sums)) if most is None else np.random.default_rng().permutation(len(sums))[:most].tolist()
    last = len(sums) - 1  # which shows that the file was cut short or grew
    for at in {*chosen, last} - {-1}:
        content = files.read(name, at * BLOCK, min(BLOCK, size - at * BLOCK))
        if zlib.crc32(content) != sums[at]:
            raise SegmentDamaged(f"{name} holds other bytes than were written")
