"""A collection on disk: passages, their states and a FAISS index in one folder.

The index holds the pooled vectors in memory. Tokens, texts and postings are read from files on demand. The files are
not memory mapped: reading a mapped file that was truncated kills the process (SIGBUS), a short read is only an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from retrieval.index import postings
from retrieval.index.faiss import FaissIndex
from retrieval.index.held_files import HeldFiles, Lines, load_integers
from retrieval.index.postings import Postings, write_postings
from retrieval.text.bm25 import Terms
from retrieval.text.languages import AUTO
from retrieval.text.passages import Passage

SPEC = "spec.json"  # the metadata of the collection
FORMAT = "v4"  # version of the folder's layout and of its terms; collections of other versions must be rebuilt
_TOKENS = "tokens.i8"
_FILES = ("passages.jsonl", "terms.bin", _TOKENS, "pooled.npy", "index.faiss", postings.FILE)
_BLOCK = 256  # passages encoded at once: enough to batch by length, few enough for memory


@dataclass(frozen=True)
class CollectionSpec:
    """The metadata of a collection, stored in its folder."""

    format: str
    passages: int
    tokens: int
    token_dimension: int
    model: str
    digest: str
    arithmetic: str
    max_tokens: int  # that the model reads of a passage, including special tokens
    language: str  # a code, "none" or "auto"
    languages: Mapping[str, int]  # passages in each language


class Collection:
    """An open collection. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Open a folder that `build` created; CollectionError if it is missing or damaged."""
        self.name = folder.name
        self.spec = _read_spec(folder)
        try:
            self.files = HeldFiles(folder, _FILES)
            self.texts = Lines(self.files, "passages.jsonl", load_integers(folder / "passages.npy"))
            self.term_records = Lines(self.files, "terms.bin", load_integers(folder / "terms.npy"))
            # (n + 1,) the token rows of passage i are offsets[i]:offsets[i + 1]
            self.offsets = load_integers(folder / "offsets.npy")
            # (n,) tokens of each passage, including special tokens
            self.lengths = load_integers(folder / "lengths.npy")
            # (n,) of them, those that the model does not know
            self.unknown = load_integers(folder / "unknown.npy")
            _check_size(self.files, self.spec)
            lengths = Terms.count(np.diff(self.term_records.offsets))
            self.postings = Postings(folder, self.files, lengths, self.spec.languages)
        except (OSError, ValueError, EOFError) as error:
            raise CollectionError(f"collection {folder} is damaged: {error}; build it again") from error
        self.index = FaissIndex.load(folder / "index.faiss")

    def __len__(self) -> int:
        return self.spec.passages

    def search(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the positions (k',) of the passages with the highest cosine to a (P,) unit vector, and the cosines.

        k' = min(k, n) for n passages.
        """
        ids, scores = self.index.search(query[None, :], k)
        return ids[0], scores[0]

    def states(self, positions: NDArray[np.int64]) -> Encoded:
        """Return the stored states of the passages at (m,) positions; CollectionError if tokens.i8 is too short."""
        width, starts = self.spec.token_dimension, self.offsets[positions]
        counts = self.offsets[positions + 1] - starts
        offsets = np.concatenate([[0], np.cumsum(counts)])
        tokens = np.empty((offsets[-1], width), dtype=np.int8)
        buffer = tokens.reshape(-1).data
        slices = pairwise((offsets * width).tolist())
        for (begin, end), start in zip(slices, (starts * width).tolist(), strict=True):
            self.files.fill(_TOKENS, buffer[begin:end], start)
        return Encoded(self.index.rows[positions], tokens, offsets, self.lengths[positions], self.unknown[positions])

    def is_cut(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether the passages at (m,) positions are, or may be, longer than the model reads."""
        return self.lengths[positions] >= self.spec.max_tokens

    def passages(self, positions: NDArray[np.int64]) -> list[Passage]:
        """Return the passages at (m,) positions; CollectionError if they cannot be read."""
        try:
            return [Passage(**orjson.loads(line)) for line in self.texts.at(positions)]
        except (ValueError, TypeError):  # without the cause, whose message may quote a passage
            raise CollectionError("passages.jsonl holds lines that cannot be read") from None

    def terms(self, positions: NDArray[np.int64]) -> list[Terms]:
        """Return the lexical terms of the passages at (m,) positions; CollectionError if they cannot be read."""
        try:
            return [Terms.from_bytes(record) for record in self.term_records.at(positions)]
        except ValueError:
            raise CollectionError("terms.bin holds terms that cannot be read") from None


def check_encoder(collection: Collection, encoder: Encoder) -> None:
    """Raise CollectionError if the collection was built with another model."""
    if collection.spec.digest != encoder.digest:
        raise CollectionError(
            f"collection {collection.name!r} was built with model {collection.spec.model!r} and cannot be searched "
            f"with {encoder.name!r}; build it again with `qrerank index build`"
        )


def build(
    folder: Path,
    passages: Sequence[Passage],
    encoder: Encoder,
    progress: Callable[[int, int], None],
    language: str = AUTO,
) -> CollectionSpec:
    """Encode n ≥ 1 passages into a new collection, which atomically replaces an old one.

    Memory holds the pooled vectors, the terms, and the states of one block.

    Args:
        folder: The folder of the collection.
        passages: The passages.
        encoder: Encodes the passages.
        progress: Called with the number of encoded passages and the total.
        language: That of the passages, as for `Terms.of`.

    Raises:
        CollectionError: There are no passages, or the index cannot be written.
    """
    if not passages:
        raise CollectionError("there are no passages to build a collection from")
    with whole_folder(folder, replace=True) as partial:
        lines = (json.dumps(asdict(passage), ensure_ascii=False).encode() + b"\n" for passage in passages)
        _write_records(partial, "passages.jsonl", lines)
        terms = [Terms.of(passage.content, language) for passage in passages]
        _write_records(partial, "terms.bin", (each.to_bytes() for each in terms))
        languages = write_postings(partial, terms)
        pooled, counts, lengths, unknown = [], [], [], []
        progress(0, len(passages))
        with (partial / _TOKENS).open("wb") as file:
            for start in range(0, len(passages), _BLOCK):
                block = passages[start : start + _BLOCK]
                states = encoder.encode([passage.content for passage in block])
                states.tokens.tofile(file)
                pooled.append(states.pooled)
                counts.append(np.diff(states.offsets))
                lengths.append(states.lengths)
                unknown.append(states.unknown)
                progress(start + len(block), len(passages))
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
        vectors = np.concatenate(pooled)
        np.save(partial / "pooled.npy", vectors)
        np.save(partial / "offsets.npy", offsets)
        np.save(partial / "lengths.npy", np.concatenate(lengths))
        np.save(partial / "unknown.npy", np.concatenate(unknown))
        FaissIndex.build(vectors).save(partial / "index.faiss")
        dimension = states.tokens.shape[1]
        model = (encoder.name, encoder.digest, encoder.arithmetic, encoder.max_tokens)
        spec = CollectionSpec(FORMAT, len(passages), int(offsets[-1]), dimension, *model, language, languages)
        (partial / SPEC).write_text(json.dumps(asdict(spec), indent=1), encoding="utf-8")
    return spec


def _write_records(folder: Path, name: str, records: Iterable[bytes]) -> None:
    ends = [0]
    with (folder / name).open("wb") as file:
        for record in records:
            file.write(record)
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
        raise CollectionError(f"collection {folder} has format {spec.format}, not {FORMAT}; build it again")
    if not all(isinstance(size, int) and size > 0 for size in (spec.passages, spec.tokens, spec.token_dimension)):
        raise CollectionError(f"collection {folder} is damaged: {SPEC} has invalid sizes; build it again")
    return spec


def _check_size(files: HeldFiles, spec: CollectionSpec) -> None:
    size, expected = files.sizes[_TOKENS], spec.tokens * spec.token_dimension
    if size < expected:  # the integrity check reports a file that is too long
        raise ValueError(f"{_TOKENS} has {size} bytes, and should have {expected}")
