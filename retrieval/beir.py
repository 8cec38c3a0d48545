"""Reading test collections in BEIR's layout, exclusion queries, and passages to index.

BEIR: Thakur et al. 2021, arXiv 2104.08663. A folder with corpus.jsonl ({"_id", "title", "text"} a line), queries.jsonl
({"_id", "text"}) and qrels/test.tsv (query-id, corpus-id, score; a header line may come first).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from retrieval.chunking import split_passages
from retrieval.errors import DataError
from retrieval.metrics import Qrels
from retrieval.passage import Passage
from retrieval.sentences import is_blank

V = TypeVar("V")


@dataclass(frozen=True)
class BeirDataset:
    """A test collection; queries and qrels are those of the judged queries, both in the order of queries.jsonl."""

    name: str
    document_ids: list[str]
    documents: list[str]  # title and text, stripped; blank where the corpus has a blank document
    query_ids: list[str]
    queries: list[str]
    qrels: Qrels


@dataclass(frozen=True)
class Exclusion:
    """A query and what its answer must not be about."""

    query_id: str
    text: str
    exclude: tuple[str, ...]


def load(path: Path) -> BeirDataset:
    """Read a folder in BEIR's layout.

    A judged document that the corpus lacks, as in some BEIR sets, stays in the qrels and so in the ideal ranking, as
    trec_eval has it. Raises DataError for a missing or malformed file, an id that occurs twice, a judged query that
    queries.jsonl lacks, and a document graded twice differently.
    """
    corpus = list(read_passages(path / "corpus.jsonl"))
    queries: dict[str, str] = {}
    for place, record in _records(path / "queries.jsonl"):
        _add(queries, _id(record, place), _text(record, "text", place, blank=False), place)
    judged = _read_qrels(path / "qrels" / "test.tsv", queries)
    qrels = {query: judged[query] for query in queries if query in judged}
    return BeirDataset(
        path.resolve().name,
        [passage.id for passage in corpus],
        [passage.content for passage in corpus],
        list(qrels),
        [queries[query] for query in qrels],
        qrels,
    )


def load_exclusions(path: Path) -> list[Exclusion]:
    """Read {"_id", "text", "exclude": [text, …]} a line; DataError says which line is malformed or repeats an id."""
    found: dict[str, Exclusion] = {}
    for place, record in _records(path):
        exclude = record.get("exclude")
        if not isinstance(exclude, list) or any(not isinstance(text, str) or is_blank(text) for text in exclude):
            raise DataError(f'{place}: "exclude" must be a list of texts, none of them blank')
        query = _id(record, place)
        _add(found, query, Exclusion(query, _text(record, "text", place, blank=False), tuple(exclude)), place)
    if not found:
        raise DataError(f'{path}: no queries; write one {{"_id", "text", "exclude"}} object a line')
    return list(found.values())


def read_passages(path: Path) -> Iterator[Passage]:
    """Read passages from a .jsonl file as they stand, or cut a .txt or .md file into passages.

    In .jsonl, "text" is required, "title" is "" and "_id" the line's number unless given. In the others, the ids are
    the file's name and a number. Raises DataError when it comes to a line that is malformed or repeats an id, and at
    once for another kind of file.
    """
    if path.suffix == ".jsonl":
        return _jsonl_passages(path)
    if path.suffix in {".txt", ".md"}:
        return _text_passages(path)
    raise DataError(f"{path}: passages are read from .jsonl, .txt and .md files; convert this one")


def _jsonl_passages(path: Path) -> Iterator[Passage]:
    seen: dict[str, None] = {}
    for place, record in _records(path):
        name = _id(record, place) if "_id" in record else place.rpartition(":")[2]
        _add(seen, name, None, place)
        title = _text(record, "title", place) if record.get("title") is not None else ""
        yield Passage(name, title, _text(record, "text", place))


def _text_passages(path: Path) -> Iterator[Passage]:
    try:
        text = _read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    for number, passage in enumerate(split_passages(text), 1):
        yield Passage(f"{path.name}-{number}", "", passage)


def _read_qrels(path: Path, queries: dict[str, str]) -> Qrels:
    qrels: Qrels = {}
    for place, line in _lines(path):
        try:
            query, document, grade = line.decode().split("\t")
            value = int(grade)
        except ValueError as error:  # UnicodeDecodeError is one
            if place.endswith(":1") and line.count(b"\t") == 2 and not line.strip()[-1:].isdigit():
                continue  # the header
            raise DataError(f"{place}: expected query-id, corpus-id and an integer score between tabs") from error
        if query not in queries:
            raise DataError(f"{place}: query {query!r} is not in queries.jsonl; add it there or remove this line")
        if qrels.setdefault(query, {}).setdefault(document, value) != value:
            raise DataError(f"{place}: document {document!r} has another score for query {query!r} above; keep one")
    return qrels


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a .jsonl file, each with its place, "file:line"; blank lines are passed over."""
    for place, line in _lines(path):
        try:
            record = orjson.loads(line)  # refuses what is not UTF-8, and lone surrogates, which cannot be written again
        except orjson.JSONDecodeError as error:
            raise DataError(f"{place}: not JSON ({error}); each line must be one object in UTF-8") from error
        if not isinstance(record, dict):
            raise DataError(f"{place}: each line must be one JSON object, this is something else")
        yield place, record


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(_read(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.strip():
            yield f"{path}:{number}", line.rstrip(b"\r")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); is the path right?") from error


def _id(record: dict[str, Any], place: str) -> str:
    name = record.get("_id")
    # Some converters write numbers; the qrels name them by their digits.
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise DataError(f'{place}: "_id" must be a non-empty string')
    return str(name)


def _text(record: dict[str, Any], key: str, place: str, *, blank: bool = True) -> str:
    text = record.get(key)
    if not isinstance(text, str) or (is_blank(text) and not blank):
        raise DataError(f'{place}: "{key}" must be a {"" if blank else "non-blank "}string')
    return text


def _add(found: dict[str, V], name: str, value: V, place: str) -> None:
    if name in found:
        raise DataError(f"{place}: id {name!r} occurs twice; give each its own")
    found[name] = value
