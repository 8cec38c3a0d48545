"""Passages in Milvus: what a search needs of them, and how they are written there.

One entity is one passage. Its primary key is its position: the number of its document, which rises with each new
content, and its place in the document. The vector is searched exhaustively, as in a segment; the state, the terms and
the passage itself are one record in text fields.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from secrets import token_hex
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.encoder.states import Encoded, join, no_states
from retrieval.errors import CollectionError, PassageTooLarge
from retrieval.index.exact import as_rows, at_least_one
from retrieval.index.milvus_client import Milvus, MilvusNotFound
from retrieval.index.passage_index import Find, Model, PendingVector, Words
from retrieval.states.record import CorruptState, TextState, from_bytes, to_bytes
from retrieval.text.bm25 import Matches, QueryTerms, Terms, bm25
from retrieval.text.passages import Passage, traits_of

FORMAT = 1  # version of the fields below
PLACES = 2**16  # of passages in one document; a position is its number times this, and the passage's place
_END = 2**62  # above all positions
_PREFIX = "qrerank_"
_LONGEST_NAME = 200  # Milvus takes 255 characters
_PARTS = [f"part_{at}" for at in range(16)]
_PART_CHARACTERS = 65_535  # the most that a text field of Milvus takes
_FIELDS = ["number", "id", *_PARTS]
_SIZE = struct.Struct("<I")
_MOST_FOUND = 16_384  # the most that Milvus returns
_AT_ONCE_BYTES = 16 * 2**20  # of one request; Milvus takes 64 MiB
# Milvus shows a write to such a read once `settle` has returned, and the read waits for nothing.
_AT_ONCE = "Eventually"


@dataclass(frozen=True)
class About:
    """What is decided when a collection is made in Milvus. It is kept there, as its description."""

    name: str  # of the collection, for people
    model: Model
    language: str
    pooled_dimension: int
    token_dimension: int
    format: int = FORMAT

    def to_text(self) -> str:
        """Return it as JSON."""
        return orjson.dumps(asdict(self)).decode()

    @staticmethod
    def of(text: str) -> About:
        """Return what `to_text` wrote; CollectionError for another version."""
        try:
            values = orjson.loads(text)
            about = About(**values | {"model": Model(**values["model"])})
        except (ValueError, TypeError, KeyError):
            raise CollectionError("a collection of Milvus is not one of ours; rename it there") from None
        if about.format != FORMAT:
            raise CollectionError(f"a collection of Milvus has format {about.format}, not {FORMAT}; build it again")
        return about


@dataclass(frozen=True)
class Entity:
    """A passage with its state."""

    number: int
    passage: Passage
    state: TextState


def alias_of(name: str) -> str:
    """Return what a collection is called in Milvus: the same for the same name only.

    Milvus takes ASCII letters, digits and underscores. Any other byte is written as an underscore and two hexadecimal
    digits. A name that gets too long is written as its hash.
    """
    text = "".join(chr(c) if chr(c).isascii() and chr(c).isalnum() else f"_{c:02x}" for c in name.encode())
    if len(_PREFIX + text) > _LONGEST_NAME:
        text = "_h" + hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    return _PREFIX + text


class MilvusIndex:
    """The passages of one collection as one request sees them: what it found stays at hand until it is done."""

    is_remote = True
    finds_words = False  # Milvus has sparse vectors since 2.4, and an inverted index for arrays
    is_whole = True

    def __init__(self, milvus: Milvus, collection: str, about: About) -> None:
        """collection: its name in Milvus, never an alias, which may become another collection meanwhile."""
        self._milvus, self._collection, self._about = milvus, collection, about
        self.name, self.model, self.language = about.name, about.model, about.language
        self._found: dict[int, Entity] = {}
        self._only: list[int] | None = None

    def only(self, rows: Mapping[int, NDArray[np.int64]]) -> MilvusIndex:
        """Return an index of some passages alone, as if there were no others. rows: their positions, under 0."""
        selected = MilvusIndex(self._milvus, self._collection, self._about)
        selected._only = [number for numbers in rows.values() for number in numbers.tolist()]
        return selected

    def __len__(self) -> int:
        return _END

    def positions(self) -> NDArray[np.int64]:
        """Return the positions of all passages of a selection, rising. They stay at hand."""
        self._fetch(self._only or [])
        return np.array(sorted(_newest(iter(self._found.values()))), dtype=np.int64)

    def nearest(self, query: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """See `PassageIndex.nearest`."""
        as_rows(query[None], self._about.pooled_dimension)
        limit = min(at_least_one(k), _MOST_FOUND)
        if self._only is not None and not self._only:
            return np.zeros(0, dtype=np.int64)
        with self._present():
            [hits] = self._milvus.read(
                "search",
                self._collection,
                data=[query],
                limit=limit,
                filter="" if self._only is None else f"number in {self._only}",
                output_fields=_FIELDS,
                search_params={"metric_type": "IP"},
                consistency_level=_AT_ONCE,
            )
        rows = [(hit["distance"], self._parsed(hit["entity"])) for hit in hits]
        current = _newest(entity for _, entity in rows)
        found = sorted((-score, entity.number) for score, entity in rows if entity.number in current)
        return np.array([number for _, number in found], dtype=np.int64)

    def announce(self, query: PendingVector, k: int) -> Find:  # noqa: ARG002 - nothing is joined
        """See `PassageIndex.announce`."""
        return lambda count: self.nearest(query(), count)

    def words(self, query: QueryTerms) -> Words:
        """See `PassageIndex.words`."""
        return _Words(self, query)

    def states(self, positions: NDArray[np.int64]) -> Encoded:
        """See `PassageIndex.states`."""
        if not len(positions):
            return no_states(self._about.pooled_dimension, self._about.token_dimension)
        return join([entity.state.encoded for entity in self._entities(positions)])

    def passages(self, positions: NDArray[np.int64]) -> list[Passage]:
        """See `PassageIndex.passages`."""
        return [entity.passage for entity in self._entities(positions)]

    def owners(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `PassageIndex.owners`."""
        return positions // PLACES

    def terms(self, positions: NDArray[np.int64]) -> list[Terms]:
        """Return the lexical terms of the passages at (m,) positions; CollectionError if they cannot be read."""
        return [entity.state.terms for entity in self._entities(positions)]

    def traits(self, positions: NDArray[np.int64]) -> NDArray[np.void]:
        """See `PassageIndex.traits`."""
        return traits_of([passage.content for passage in self.passages(positions)])

    def is_cut(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """See `PassageIndex.is_cut`."""
        lengths = [entity.state.encoded.lengths[0] for entity in self._entities(positions)]
        return np.array(lengths, dtype=np.int64) >= self.model.max_tokens

    def _entities(self, positions: NDArray[np.int64]) -> list[Entity]:
        numbers: list[int] = positions.tolist()
        self._fetch([number for number in numbers if number not in self._found])
        try:
            return [self._found[number] for number in numbers]
        except KeyError:
            raise CollectionError(f"passages of the collection {self.name} were deleted meanwhile; try again") from None

    def _fetch(self, numbers: list[int]) -> None:
        if not numbers:
            return
        with self._present():
            rows = self._milvus.read(
                "query", self._collection, ids=numbers, output_fields=_FIELDS, consistency_level=_AT_ONCE
            )
        for row in rows:
            self._parsed(row)

    def _parsed(self, row: Mapping[str, Any]) -> Entity:
        about, number = self._about, int(row["number"])
        try:
            entity = _parse(number, "".join(row[part] for part in _PARTS), about)
        except (CorruptState, ValueError, TypeError, struct.error):  # without the cause, which may quote a passage
            raise CollectionError(
                f"Milvus holds a damaged record of the collection {self.name}; `qrerank index verify {self.name} "
                "--repair` mends it"
            ) from None
        self._found[number] = entity
        return entity

    @contextmanager
    def _present(self) -> Iterator[None]:
        try:
            yield
        except MilvusNotFound as error:
            raise CollectionError(
                f"the passages of the collection {self.name} are not in Milvus any more; `qrerank index verify "
                f"{self.name} --repair` derives them again"
            ) from error


class _Words:
    """The words of one query in a collection; see `passage_index.Words`."""

    def __init__(self, index: MilvusIndex, query: QueryTerms) -> None:
        self._index, self._query = index, query

    def best(self, k: int) -> NDArray[np.int64]:  # noqa: ARG002
        """CollectionError: passages in Milvus are not found by words."""
        raise CollectionError(
            f"the collection {self._index.name} is in Milvus, where passages are found by meaning only; give "
            "QRERANK_FIRST_STAGE__DENSE a weight above 0"
        )

    def matches(self, positions: NDArray[np.int64]) -> Matches:
        return bm25(self._query, self._index.terms(positions))


def _newest(entities: Iterator[Entity]) -> set[int]:
    """The numbers of those that belong to the newest content of their documents.

    While new content takes the place of old, Milvus holds both for a moment.
    """
    newest: dict[str, int] = {}
    numbers = []
    for entity in entities:
        numbers.append((entity.number, entity.passage.id))
        newest[entity.passage.id] = max(newest.get(entity.passage.id, 0), entity.number // PLACES)
    return {number for number, of in numbers if number // PLACES == newest[of]}


def create(milvus: Milvus, about: About, collection: str | None = None) -> str:
    """Make an empty collection in Milvus and return its name there. collection: its name, if not a new one."""
    from pymilvus import DataType, MilvusClient

    collection = collection or f"{alias_of(about.name)}__g{token_hex(8)}"
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=about.to_text())
    schema.add_field("number", DataType.INT64, is_primary=True)
    schema.add_field("id", DataType.VARCHAR, max_length=_PART_CHARACTERS)
    schema.add_field("pooled", DataType.FLOAT_VECTOR, dim=about.pooled_dimension)
    for part in _PARTS:
        schema.add_field(part, DataType.VARCHAR, max_length=_PART_CHARACTERS)
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index("pooled", index_type="FLAT", metric_type="IP")
    milvus.write("create_collection", collection, schema=schema, index_params=indexes)
    return collection


def drop(milvus: Milvus, collection: str) -> None:
    """Delete a collection; nothing happens if it is not there."""
    for alias in _aliases(milvus, collection):
        milvus.write("drop_alias", alias)
    milvus.write("drop_collection", collection)


def publish(milvus: Milvus, collection: str, name: str) -> None:
    """Let this collection be found under a name, in the place of another, at once."""
    before = collection_of(milvus, name)
    if before is None:
        milvus.write("create_alias", collection, alias_of(name))
    elif before != collection:
        milvus.write("alter_alias", collection, alias_of(name))


def collection_of(milvus: Milvus, name: str) -> str | None:
    """Return what `publish` gave this name to, or None."""
    try:
        found: str = milvus.read("describe_collection", alias_of(name))["collection_name"]
    except MilvusNotFound:
        return None
    return found


def find(milvus: Milvus, name: str) -> MilvusIndex | None:
    """Return what was published under this name, for one request; None if nothing was."""
    try:
        found = milvus.read("describe_collection", alias_of(name))
    except MilvusNotFound:
        return None
    about = About.of(found["description"])
    return MilvusIndex(milvus, found["collection_name"], about) if about.name == name else None


def _aliases(milvus: Milvus, collection: str) -> list[str]:
    try:
        found: list[str] = milvus.read("describe_collection", collection)["aliases"]
    except MilvusNotFound:
        return []
    return found


def put(milvus: Milvus, collection: str, entities: Sequence[Entity]) -> None:
    """Write passages, in place of those of the same numbers. `settle` makes sure that they are found."""
    rows, size = list[dict[str, Any]](), 0
    for entity in entities:
        rows.append(_row(entity))
        size += sum(len(rows[-1][part]) for part in _PARTS)
        if size > _AT_ONCE_BYTES:
            milvus.write("upsert", collection, data=rows)
            rows, size = [], 0
    if rows:
        milvus.write("upsert", collection, data=rows)


def delete(milvus: Milvus, collection: str, numbers: Sequence[int]) -> None:
    """Delete passages. `settle` makes sure that they are not found any more."""
    for at in range(0, len(numbers), _MOST_FOUND):
        milvus.write("delete", collection, ids=list(numbers[at : at + _MOST_FOUND]))


def settle(milvus: Milvus, collection: str) -> None:
    """Wait until every search sees what was written before."""
    milvus.write("query", collection, ids=[0], output_fields=["number"], consistency_level="Strong")


def held(milvus: Milvus, collection: str, numbers: Sequence[int]) -> set[int]:
    """Return those of up to 16,384 numbers whose passages a collection holds."""
    rows = milvus.write("query", collection, ids=list(numbers), output_fields=["number"], consistency_level="Strong")
    return {int(row["number"]) for row in rows}


def count(milvus: Milvus, collection: str) -> int:
    """Return how many passages a collection holds."""
    [row] = milvus.write("query", collection, filter="", output_fields=["count(*)"], consistency_level="Strong")
    return int(row["count(*)"])


def _row(entity: Entity) -> dict[str, Any]:
    passage = orjson.dumps(entity.passage)
    record = _SIZE.pack(len(passage)) + passage + to_bytes(entity.state, _key(entity.number))
    text = base64.b64encode(record).decode()
    if len(text) > len(_PARTS) * _PART_CHARACTERS:
        raise PassageTooLarge(f"a passage of {len(passage)} bytes is too long for Milvus; split it")
    parts = {part: text[at * _PART_CHARACTERS : (at + 1) * _PART_CHARACTERS] for at, part in enumerate(_PARTS)}
    return {"number": entity.number, "id": entity.passage.id, "pooled": entity.state.encoded.pooled[0], **parts}


def _parse(number: int, text: str, about: About) -> Entity:
    record = base64.b64decode(text, validate=True)
    (size,) = _SIZE.unpack_from(record)
    state = from_bytes(record[_SIZE.size + size :], about.pooled_dimension, about.token_dimension, key=_key(number))
    return Entity(number, Passage.of(orjson.loads(record[_SIZE.size : _SIZE.size + size])), state)


def _key(number: int) -> bytes:
    """What a state's seal is made with, so that no record is taken for another's."""
    return number.to_bytes(8, "little")
