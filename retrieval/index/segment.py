"""A segment on disk: passages, their states and an inverted index in one folder that never changes.

FAISS holds the pooled vectors in memory. Tokens, texts and postings are read from files on demand. The files are not
memory mapped: reading a mapped file that was truncated kills the process (SIGBUS), a short read is only an error.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.array_files import save_array, write_entries
from retrieval.atomic_dir import whole_folder
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.states import Encoded, no_states
from retrieval.errors import CollectionError, SegmentDamaged, SegmentUnreadable
from retrieval.index import checksums, postings
from retrieval.index.checksums import check_blocks, read_checksums, write_checksums
from retrieval.index.faiss import FaissIndex
from retrieval.index.held_files import HeldFiles, Lines, load_integers, load_records, load_vectors
from retrieval.index.passage_index import Find, Model, PendingVector
from retrieval.index.postings import InvertedIndex, Postings, QueryWords, WordSearch
from retrieval.index.token_rows import pack, row_bytes, scales_of, unpack
from retrieval.text.bm25 import QueryTerms, Terms
from retrieval.text.languages import AUTO
from retrieval.text.passages import TRAITS, Passage, traits_of

SPEC = "spec.json"  # a `SegmentSpec`
FORMAT = "v8"  # version of the folder's layout and of its terms; collections of other versions must be rebuilt
TOKENS = "tokens.bin"
_BY_POSITION = ("passages.jsonl", "terms.bin", TOKENS, "pooled.npy", postings.FILE)  # not checked when it is opened
_FILES = (*_BY_POSITION, checksums.FILE)
_TOO_MANY, _NO_RIGHT = "raise the limit of open files", "let the user of this process read its files"
_PASSING = {  # the files may be as they were: what helps
    errno.EMFILE: _TOO_MANY,
    errno.ENFILE: _TOO_MANY,
    errno.ENOMEM: "free memory",
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
}
BLOCK = 256  # passages encoded at once: enough to batch by length, few enough for memory


@dataclass(frozen=True)
class SegmentSpec:
    """The metadata of a segment, stored in its folder."""

    format: str
    passages: int
    tokens: int
    token_dimension: int
    model: Model
    language: str  # a code, "none" or "auto"
    languages: Mapping[str, int]  # passages in each language


@dataclass(frozen=True)
class Block:
    """n ≥ 1 passages of a segment with what is stored of each, few enough for memory."""

    passages: Sequence[Passage]
    terms: Sequence[Terms]
    states: Encoded


class Segment:
    """An open segment. Thread-safe."""

    is_remote, is_whole, finds_words = False, True, True

    def __init__(self, folder: Path) -> None:
        """Open a folder that `build` created; SegmentDamaged if it is missing or damaged."""
        self.name = folder.name
        self.spec = _read_spec(folder)
        try:
            self.files = HeldFiles(folder, _FILES)
            self.checksums = read_checksums(self.files)
            for name in self.checksums.keys() - set(_BY_POSITION):  # before any of them is parsed
                check_blocks(self.files, self.checksums, name)
            self.texts = Lines(self.files, "passages.jsonl", load_integers(folder / "passages.npy"))
            self.term_records = Lines(self.files, "terms.bin", load_integers(folder / "terms.npy"))
            # (n + 1,) the token rows of passage i are offsets[i]:offsets[i + 1]
            self.offsets = load_integers(folder / "offsets.npy")
            self.counts = np.diff(self.offsets)  # (n,)
            # (n,) rising: the passages of one document have one number
            self.documents = load_integers(folder / "documents.npy")
            # (n,) tokens of each passage, including special tokens
            self.lengths = load_integers(folder / "lengths.npy")
            # (n,) of them, those that the model does not know
            self.unknown = load_integers(folder / "unknown.npy")
            self.text_traits = load_records(folder / "traits.npy", TRAITS)  # (n,)
            _check_size(self.files, self.spec)
            lengths = Terms.count(np.diff(self.term_records.offsets))
            self.postings = Postings(folder, self.files, lengths)
            self.index = FaissIndex(load_vectors(folder / "pooled.npy"))
        except (OSError, ValueError, EOFError, SegmentDamaged) as error:
            if isinstance(error, OSError) and error.errno in _PASSING:
                raise _unreadable(folder, error) from error
            raise SegmentDamaged(f"segment {folder.name} is damaged: {error}") from error

    def __len__(self) -> int:
        return self.spec.passages

    @property
    def model(self) -> Model:
        """What encoded the passages."""
        return self.spec.model

    @property
    def language(self) -> str:
        """The language that was asked for: a code, "none" or "auto"."""
        return self.spec.language

    def nearest(self, query: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Return the positions (k',) of the passages with the highest cosine to a (P,) unit vector, best first.

        k' = min(k, n) for n passages.
        """
        positions: NDArray[np.int64] = self.index.search(query[None, :], k)[0][0]
        return positions

    def announce(self, query: PendingVector, k: int) -> Find:  # noqa: ARG002 - nothing is joined
        """See `PassageIndex.announce`."""
        return lambda count: self.nearest(query(), count)

    def words(self, query: QueryTerms) -> QueryWords:
        """See `PassageIndex.words`."""
        return QueryWords(self._word_search, query)

    @cached_property
    def _word_search(self) -> WordSearch:
        return WordSearch([self.postings], [None])

    def states(self, positions: NDArray[np.int64]) -> Encoded:
        """Return the stored states of the passages at (m,) positions; SegmentDamaged if tokens.bin is too short."""
        return states_of([(self, np.arange(len(positions)), positions)], len(positions))

    def read_tokens(self, packed: NDArray[np.uint8], starts: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        """Read the token rows of the passages at (m,) positions into (T, `row_bytes`), each from its (m,) start."""
        width, buffer = packed.shape[1], packed.reshape(-1).data
        first, ends = self.offsets[positions], starts + self.offsets[positions + 1] - self.offsets[positions]
        places = zip((first * width).tolist(), (starts * width).tolist(), (ends * width).tolist(), strict=True)
        for place, start, end in places:
            self.files.read_into(buffer[start:end], TOKENS, place)

    def owners(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for the passages at (m,) positions the numbers of their documents."""
        return self.documents[positions]

    def traits(self, positions: NDArray[np.int64]) -> NDArray[np.void]:
        """See `PassageIndex.traits`."""
        return self.text_traits[positions]

    def is_cut(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether the passages at (m,) positions are, or may be, longer than the model reads."""
        return self.lengths[positions] >= self.spec.model.max_tokens

    def passages(self, positions: NDArray[np.int64]) -> list[Passage]:
        """Return the passages at (m,) positions; SegmentDamaged if they cannot be read."""
        try:
            return [Passage.of(orjson.loads(line)) for line in self.texts.at(positions)]
        except (ValueError, TypeError, KeyError):  # without the cause, whose message may quote a passage
            raise SegmentDamaged("passages.jsonl holds lines that cannot be read") from None

    def terms(self, positions: NDArray[np.int64]) -> list[Terms]:
        """Return the lexical terms of the passages at (m,) positions; SegmentDamaged if they cannot be read."""
        try:
            return [Terms.from_bytes(record) for record in self.term_records.at(positions)]
        except ValueError:
            raise SegmentDamaged("terms.bin holds terms that cannot be read") from None


# Of one segment: (k,) positions, and before them the (k,) places of those passages among m of several segments.
Rows = tuple[Segment, NDArray[np.int64], NDArray[np.int64]]


def column(of_each: Sequence[Rows], m: int, of: Callable[[Segment], NDArray[Any]]) -> NDArray[Any]:
    """Return the rows of an array that each segment has, for m passages of one or more segments, at their places."""
    like = of(of_each[0][0])
    rows = np.empty((m, *like.shape[1:]), dtype=like.dtype)
    for segment, places, positions in of_each:
        rows[places] = of(segment)[positions]
    return rows


def states_of(of_each: Sequence[Rows], m: int) -> Encoded:
    """Return the stored states of m passages of one or more segments; SegmentDamaged if they cannot be read."""
    if not of_each:
        return no_states(1, 1)  # of a collection without segments
    counts = column(of_each, m, lambda segment: segment.counts)
    offsets, dimension = np.concatenate([[0], np.cumsum(counts)]), of_each[0][0].spec.token_dimension
    packed = np.empty((offsets[-1], row_bytes(dimension)), dtype=np.uint8)
    for segment, places, positions in of_each:
        segment.read_tokens(packed, offsets[places], positions)
    pooled, lengths, unknown = (
        column(of_each, m, of) for of in (lambda s: s.index.rows, lambda s: s.lengths, lambda s: s.unknown)
    )
    return Encoded(pooled, unpack(packed, dimension), offsets, lengths, unknown, scales_of(packed, dimension))


def build(
    folder: Path,
    passages: Sequence[Passage],
    encoder: Encoder,
    progress: Callable[[int, int], None],
    language: str = AUTO,
) -> SegmentSpec:
    """Encode n ≥ 1 passages into a new segment, which atomically replaces an old one.

    Memory holds the pooled vectors, the terms, and the states of one block.

    Args:
        folder: The folder of the segment.
        passages: The passages.
        encoder: Encodes the passages.
        progress: Called with the number of encoded passages and the total.
        language: That of the passages, as for `Terms.of`.

    Raises:
        CollectionError: There are no passages, or the index cannot be written.
    """
    if not passages:
        raise CollectionError("there are no passages to build a collection from")

    def blocks() -> Iterator[Block]:
        progress(0, len(passages))
        for start in range(0, len(passages), BLOCK):
            block = passages[start : start + BLOCK]
            texts = [passage.content for passage in block]
            yield Block(block, Terms.of_each(texts, language), encoder.encode(texts))
            progress(start + len(block), len(passages))

    return write(folder, blocks(), Model.of(encoder), language)


def write(folder: Path, blocks: Iterable[Block], model: Model, language: str, *, parents: bool = True) -> SegmentSpec:
    """Write n ≥ 1 passages into a new segment, which atomically replaces an old one.

    Args:
        folder: The folder of the segment.
        blocks: The passages; those of one document follow each other.
        model: What encoded them.
        language: That was asked for.
        parents: Make the folder above it if it is missing.
    """
    with whole_folder(folder, replace=True, parents=parents) as partial:
        inverted, ids, columns, traits = InvertedIndex(), list[str](), list[Encoded](), list[NDArray[np.void]]()
        with (
            _Records(partial / "passages.jsonl") as texts,
            _Records(partial / "terms.bin") as terms,
            (partial / TOKENS).open("wb") as tokens,
        ):
            for block in blocks:
                texts.write(orjson.dumps(passage) + b"\n" for passage in block.passages)
                terms.write(each.to_bytes() for each in block.terms)
                inverted.add(block.terms)
                write_entries(tokens, pack(block.states.tokens))
                ids += (passage.id for passage in block.passages)
                traits.append(traits_of([passage.content for passage in block.passages]))
                columns.append(replace(block.states, tokens=np.empty((0, block.states.tokens.shape[1]), np.int8)))
        counts = [np.diff(states.offsets) for states in columns]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
        begins = [at > 0 and one != ids[at - 1] for at, one in enumerate(ids)]
        save_array(partial / "documents.npy", np.cumsum(begins, dtype=np.int64))
        save_array(partial / "pooled.npy", np.concatenate([states.pooled for states in columns]))
        save_array(partial / "offsets.npy", offsets)
        save_array(partial / "lengths.npy", np.concatenate([states.lengths for states in columns]))
        save_array(partial / "unknown.npy", np.concatenate([states.unknown for states in columns]))
        save_array(partial / "traits.npy", np.concatenate(traits))
        dimension, languages = columns[0].tokens.shape[1], inverted.write(partial)
        spec = SegmentSpec(FORMAT, len(ids), int(offsets[-1]), dimension, model, language, languages)
        (partial / SPEC).write_text(json.dumps(asdict(spec), indent=1), encoding="utf-8")
        write_checksums(partial)
    return spec


class _Records:
    """A file of records, and beside it where each ends."""

    def __init__(self, path: Path) -> None:
        self._path, self._ends = path, [0]

    def __enter__(self) -> _Records:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        save_array(self._path.with_suffix(".npy"), np.array(self._ends, dtype=np.int64))

    def write(self, records: Iterable[bytes]) -> None:
        for record in records:
            self._file.write(record)
            self._ends.append(self._file.tell())


def _read_spec(folder: Path) -> SegmentSpec:
    try:
        content = json.loads((folder / SPEC).read_text(encoding="utf-8"))
        spec = SegmentSpec(**content | {"model": Model(**content["model"])})
    except FileNotFoundError as error:
        raise SegmentDamaged(f"segment {folder.name} is missing") from error
    except OSError as error:
        raise _unreadable(folder, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise SegmentDamaged(f"segment {folder.name} is damaged or of another version") from error
    if spec.format != FORMAT:
        raise SegmentDamaged(f"segment {folder.name} has format {spec.format}, not {FORMAT}")
    if not all(isinstance(size, int) and size > 0 for size in (spec.passages, spec.tokens, spec.token_dimension)):
        raise SegmentDamaged(f"segment {folder.name} is damaged: {SPEC} has invalid sizes")
    return spec


def _unreadable(folder: Path, error: OSError) -> SegmentUnreadable | SegmentDamaged:
    text, remedy = f"segment {folder.name} cannot be read: {error.strerror}", _PASSING.get(error.errno or 0)
    return SegmentUnreadable(text, remedy) if remedy else SegmentDamaged(text)


def _check_size(files: HeldFiles, spec: SegmentSpec) -> None:
    size, expected = files.sizes[TOKENS], spec.tokens * row_bytes(spec.token_dimension)
    if size < expected:  # the integrity check reports a file that is too long
        raise ValueError(f"{TOKENS} has {size} bytes, and should have {expected}")
