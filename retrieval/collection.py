"""A collection on disk: passages, their states and a FAISS index, in one folder that is read by memory mapping."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Encoder
from retrieval.encoding import Encoded
from retrieval.errors import CollectionError
from retrieval.faiss_index import FaissIndex
from retrieval.folders import whole_folder
from retrieval.lexical import tokenize
from retrieval.passage import Passage

SPEC = "spec.json"  # the file that says what the others are
FORMAT = "v2"  # of the folder, and of the terms in it: a change to either makes collections be built anew
_BLOCK = 256  # passages encoded at once: enough to batch by length, little enough to hold


@dataclass(frozen=True)
class CollectionSpec:
    """What a collection's folder says of itself."""

    format: str
    passages: int
    tokens: int
    token_dimension: int
    model: str
    digest: str
    arithmetic: str


class Collection:
    """An opened collection; safe to read from several threads."""

    def __init__(self, folder: Path) -> None:
        """Open a folder that `build` made; CollectionError says what is wrong with it otherwise."""
        self.name = folder.name
        self.spec = _read_spec(folder)
        rows = (self.spec.tokens, self.spec.token_dimension)
        try:
            self.files = HeldFiles(folder)
            self.texts = Lines(folder, "passages.jsonl")
            self.term_lines = Lines(folder, "terms.txt")
            self.stored = Encoded(
                np.load(folder / "pooled.npy", mmap_mode="r"),
                np.memmap(folder / "tokens.i8", dtype=np.int8, mode="r", shape=rows),
                np.load(folder / "offsets.npy"),
                np.load(folder / "lengths.npy"),
            )
        except (OSError, ValueError, EOFError) as error:
            raise CollectionError(f"collection {folder} is damaged: {error}; build it again") from error
        self.index = FaissIndex.load(folder / "index.faiss")

    def __len__(self) -> int:
        return self.spec.passages

    def search(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions (k',) of the passages of highest cosine to a (P,) unit vector, and the cosines, k' = min(k, n)."""
        ids, scores = self.index.search(query[None, :], k)
        return ids[0], scores[0]

    def states(self, positions: NDArray[np.int64]) -> Encoded:
        """The stored states of the passages at (m,) positions."""
        return self.stored.take(positions)

    def passages(self, positions: NDArray[np.int64]) -> list[Passage]:
        """The passages at (m,) positions."""
        return [Passage(**json.loads(line)) for line in self.texts.at(positions)]

    def terms(self, positions: NDArray[np.int64]) -> list[list[str]]:
        """The lexical terms of the passages at (m,) positions."""
        return [line.decode().split() for line in self.term_lines.at(positions)]


def check_encoder(collection: Collection, encoder: Encoder) -> None:
    """Refuse to compare the collection's states with those of another model."""
    if collection.spec.digest != encoder.digest:
        raise CollectionError(
            f"collection {collection.name!r} was built with model {collection.spec.model!r} and cannot be searched "
            f"with {encoder.name!r}; build it again with `qrerank index build`"
        )


def build(
    folder: Path, passages: Sequence[Passage], encoder: Encoder, progress: Callable[[int, int], None]
) -> CollectionSpec:
    """Encode n ≥ 1 passages into a new collection, in place of one that stood there.

    Memory holds the pooled vectors and one block's states. `progress` is called with passages done and passages in all.
    """
    if not passages:
        raise CollectionError("there are no passages to build a collection from")
    with whole_folder(folder, replace=True) as partial:
        _write_lines(partial, "passages.jsonl", (json.dumps(asdict(p), ensure_ascii=False) for p in passages))
        _write_lines(partial, "terms.txt", (" ".join(tokenize(p.content)) for p in passages))
        pooled, counts, lengths = [], [], []
        progress(0, len(passages))
        with (partial / "tokens.i8").open("wb") as file:
            for start in range(0, len(passages), _BLOCK):
                block = passages[start : start + _BLOCK]
                states = encoder.encode([passage.content for passage in block])
                states.tokens.tofile(file)
                pooled.append(states.pooled)
                counts.append(np.diff(states.offsets))
                lengths.append(states.lengths)
                progress(start + len(block), len(passages))
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
        vectors = np.concatenate(pooled)
        np.save(partial / "pooled.npy", vectors)
        np.save(partial / "offsets.npy", offsets)
        np.save(partial / "lengths.npy", np.concatenate(lengths))
        FaissIndex.build(vectors).save(partial / "index.faiss")
        dimension = states.tokens.shape[1]
        spec = CollectionSpec(
            FORMAT, len(passages), int(offsets[-1]), dimension, encoder.name, encoder.digest, encoder.arithmetic
        )
        (partial / SPEC).write_text(json.dumps(asdict(spec), indent=1), encoding="utf-8")
    return spec


class HeldFiles:
    """The files of a folder, held open: what they are called, how large they were, and whether they still are.

    A mapped file that is cut short kills whoever reads beyond its new end, so this is asked before each search. A
    folder that was replaced does no harm: what is held is the old one.
    """

    def __init__(self, folder: Path) -> None:
        """Hold every file of the folder; OSError if one cannot be read."""
        self._files = {path.name: path.open("rb", buffering=0) for path in sorted(folder.iterdir()) if path.is_file()}
        self.sizes = {name: os.fstat(file.fileno()).st_size for name, file in self._files.items()}

    def changed(self) -> str | None:
        """What is wrong if a file is not as large as it was; None if all are."""
        for name, file in self._files.items():
            size = os.fstat(file.fileno()).st_size
            if size != self.sizes[name]:
                return f"{name} has {size} bytes, and had {self.sizes[name]} when it was opened"
        return None

    def read(self, name: str, start: int, count: int) -> bytes:
        """So many bytes of a file, or as many as there are: unlike a mapping this never kills."""
        return os.pread(self._files[name].fileno(), count, start)


class Lines:
    """A text file of which any line can be read at once: where each begins is kept beside it."""

    def __init__(self, folder: Path, name: str) -> None:
        """Map the file `build` wrote."""
        self._bytes = np.memmap(folder / name, dtype=np.uint8, mode="r")
        self.offsets: NDArray[np.int64] = np.load((folder / name).with_suffix(".npy"))  # (n + 1,) the last is the end

    def at(self, positions: NDArray[np.int64]) -> list[bytes]:
        """The lines at (m,) positions."""
        ends = zip(self.offsets[positions], self.offsets[positions + 1], strict=True)
        return [self._bytes[start:end].tobytes() for start, end in ends]


def _write_lines(folder: Path, name: str, lines: Iterable[str]) -> None:
    ends = [0]
    with (folder / name).open("wb") as file:
        for line in lines:
            file.write(line.encode() + b"\n")
            ends.append(file.tell())
    np.save((folder / name).with_suffix(".npy"), np.array(ends, dtype=np.int64))


def _read_spec(folder: Path) -> CollectionSpec:
    try:
        spec = CollectionSpec(**json.loads((folder / SPEC).read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise CollectionError(f"there is no collection at {folder}; build one with `qrerank index build`") from error
    except (ValueError, TypeError) as error:
        raise CollectionError(f"collection {folder} is damaged or of another version; build it again") from error
    if spec.format != FORMAT:
        raise CollectionError(f"collection {folder} is of format {spec.format}, not {FORMAT}; build it again")
    return spec
