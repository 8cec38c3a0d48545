"""A collection on disk: passages, their states and a FAISS index, in one folder.

Pooled vectors are in memory, in the index. Tokens and texts are read from the files when they are needed, and not
mapped: a mapped file that is cut short kills the process that reads it, and a read that comes up short is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.atomic_dir import whole_folder
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.states import Encoded
from retrieval.errors import CollectionError
from retrieval.index.faiss import FaissIndex
from retrieval.index.held_files import HeldFiles, Lines
from retrieval.text.bm25 import tokenize
from retrieval.text.passages import Passage

SPEC = "spec.json"  # the file that says what the others are
FORMAT = "v2"  # of the folder, and of the terms in it: a change to either makes collections be built anew
_TOKENS = "tokens.i8"
_FILES = ("passages.jsonl", "terms.txt", _TOKENS, "pooled.npy", "index.faiss")
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
        try:
            self.files = HeldFiles(folder, _FILES)
            self.texts = Lines(self.files, "passages.jsonl", _numbers(folder / "passages.npy"))
            self.term_lines = Lines(self.files, "terms.txt", _numbers(folder / "terms.npy"))
            self.offsets = _numbers(folder / "offsets.npy")  # (n + 1,) passage i owns rows offsets[i]:offsets[i + 1]
            self.lengths = _numbers(folder / "lengths.npy")  # (n,) tokens that the model read
            _check_size(self.files, self.spec)
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
        """The stored states of the passages at (m,) positions; CollectionError where tokens.i8 ends before them."""
        width, starts = self.spec.token_dimension, self.offsets[positions]
        counts = self.offsets[positions + 1] - starts
        offsets = np.concatenate([[0], np.cumsum(counts)])
        tokens = np.empty((offsets[-1], width), dtype=np.int8)
        into = tokens.reshape(-1).data
        parts = pairwise((offsets * width).tolist())
        for (begin, end), start in zip(parts, (starts * width).tolist(), strict=True):
            self.files.fill(_TOKENS, into[begin:end], start)
        return Encoded(self.index.rows[positions], tokens, offsets, self.lengths[positions])

    def passages(self, positions: NDArray[np.int64]) -> list[Passage]:
        """The passages at (m,) positions; CollectionError where they cannot be read."""
        try:
            return [Passage(**orjson.loads(line)) for line in self.texts.at(positions)]
        except (ValueError, TypeError):  # without the cause, whose text may hold a passage's
            raise CollectionError("passages.jsonl holds lines that cannot be read") from None

    def terms(self, positions: NDArray[np.int64]) -> list[list[str]]:
        """The lexical terms of the passages at (m,) positions; CollectionError where they cannot be read."""
        try:
            return [line.decode().split() for line in self.term_lines.at(positions)]
        except ValueError:
            raise CollectionError("terms.txt holds lines that cannot be read") from None


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
        with (partial / _TOKENS).open("wb") as file:
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
    if not all(isinstance(size, int) and size > 0 for size in (spec.passages, spec.tokens, spec.token_dimension)):
        raise CollectionError(f"collection {folder} is damaged: {SPEC} has sizes that are none; build it again")
    return spec


def _check_size(files: HeldFiles, spec: CollectionSpec) -> None:
    found, wanted = files.sizes[_TOKENS], spec.tokens * spec.token_dimension
    if found < wanted:  # what is too long is for the self-check
        raise ValueError(f"{_TOKENS} has {found} bytes, and should have {wanted}")


def _numbers(path: Path) -> NDArray[np.int64]:
    """The (n,) whole numbers of a file; ValueError where it holds anything else."""
    numbers = np.load(path)
    if not (isinstance(numbers, np.ndarray) and numbers.ndim == 1 and numbers.dtype == np.int64):
        raise ValueError(f"{path.name} holds no list of whole numbers")
    return numbers
