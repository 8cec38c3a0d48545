"""Reads test collections in BEIR's layout, exclusion queries, and passages to index.

BEIR: Thakur et al. 2021, arXiv 2104.08663. A folder with corpus.jsonl ({"_id", "title", "text"} per line),
queries.jsonl ({"_id", "text"}) and qrels/SPLIT.tsv (query-id, corpus-id, score; optional header).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from retrieval.errors import DataError
from retrieval.evaluation.metrics import Qrels
from retrieval.evaluation.qrels import qrels_file, read_qrels
from retrieval.evaluation.text_files import add_once, id_of, read_records, read_text, text_of, title_of
from retrieval.store.rows import Document, check_metadata
from retrieval.text.passages import Passage, split_passages
from retrieval.text.sentences import VISIBLE

JSON_LINES = {".jsonl", ".ndjson"}  # the ends of names of files with a JSON object a line
_TEXTS = {".txt", ".md"}
_FIELDS = {"_id", "id", "title", "text", "metadata"}


@dataclass(frozen=True)
class BeirDataset:
    """A test collection; it holds only the judged queries, in the order of queries.jsonl."""

    name: str
    document_ids: list[str]
    documents: list[str]  # title and text, stripped; blank where the corpus has a blank document
    query_ids: list[str]
    queries: list[str]
    qrels: Qrels
    notes: tuple[str, ...] = ()  # caveats for its metrics
    corpus: Sequence[Passage] = ()  # the documents with their titles apart; empty if they are not known

    @property
    def passages(self) -> Sequence[Passage]:
        """The documents, with their titles apart if they are known."""
        return self.corpus or [Passage(i, "", text) for i, text in zip(self.document_ids, self.documents, strict=True)]


@dataclass(frozen=True)
class Query:
    """A query and the topics that it excludes."""

    id: str
    text: str
    exclude: tuple[str, ...]


def load(path: Path, split: str = "test", more: Sequence[Query] = ()) -> BeirDataset:
    """Read a folder in BEIR's layout. more: queries whose judgements count, too, besides those in queries.jsonl.

    A judged document that is not in the corpus, as in some BEIR sets, stays in the qrels and so in the ideal ranking,
    like in trec_eval. A judged query that is not in queries.jsonl is skipped. `notes` count both.

    Raises:
        DataError: A file is missing or malformed, an id is missing or occurs twice, a document has two different grades
            for one query, or no query has a relevant document in the corpus.
    """
    file = qrels_file(path, split)
    corpus = list(read_passages(path / "corpus.jsonl", numbered=False))
    queries: dict[str, str] = {}
    for place, record in read_records(path / "queries.jsonl"):
        add_once(queries, id_of(record, place), text_of(record, "text", place, blank=False), place)
    queries.update({query.id: query.text for query in more})
    judged = read_qrels(file, queries)
    qrels = {query: judged[query] for query in queries if query in judged}
    document_ids = [passage.id for passage in corpus]
    return BeirDataset(
        path.resolve().name,
        document_ids,
        [passage.content for passage in corpus],
        list(qrels),
        [queries[query] for query in qrels],
        qrels,
        tuple(_check(file, judged, qrels, document_ids)),
        corpus,
    )


def _check(file: Path, judged: Qrels, qrels: Qrels, document_ids: Sequence[str]) -> Iterator[str]:
    """Yield notes on missing queries and documents; DataError if no relevant document is left.

    judged: all judgements. qrels: those of queries in queries.jsonl.
    """
    if not judged:
        raise DataError(
            f"{file}: there is no judgement; write one query-id, corpus-id and score per line, separated by tabs"
        )
    if not qrels:
        raise DataError(
            f"{file}: none of the {len(judged)} judged queries is in queries.jsonl, as {next(iter(judged))!r} is not; "
            "both must use the same ids"
        )
    relevant = {document for grades in qrels.values() for document, grade in grades.items() if grade > 0}
    if not relevant:
        raise DataError(f"{file}: no document is relevant, since no score is above 0")
    missing = relevant.difference(document_ids)
    if len(missing) == len(relevant):
        raise DataError(
            f"{file}: none of the {len(relevant)} relevant documents is in corpus.jsonl, as {min(missing)!r} is not; "
            "both must use the same ids"
        )
    if unknown := len(judged) - len(qrels):
        yield f"{unknown} of {len(judged)} judged queries are not in queries.jsonl, and are left out"
    if missing:
        yield f"{len(missing)} of {len(relevant)} relevant documents are not in corpus.jsonl, and count as not found"


def load_exclusions(path: Path) -> list[Query]:
    """Read one {"_id", "text", "exclude": [text, …]} per line; DataError for a malformed line or a repeated id."""
    queries: dict[str, Query] = {}
    for place, record in read_records(path):
        exclude = record.get("exclude")
        if not isinstance(exclude, list) or any(
            not isinstance(text, str) or not VISIBLE.search(text) for text in exclude
        ):
            raise DataError(f'{place}: "exclude" must be a list of texts, none of them blank')
        query_id = id_of(record, place)
        query = Query(query_id, text_of(record, "text", place, blank=False), tuple(exclude))
        add_once(queries, query_id, query, place)
    if not queries:
        raise DataError(f'{path}: no queries; write one {{"_id", "text", "exclude"}} object per line')
    return list(queries.values())


def read_passages(path: Path, *, numbered: bool = True) -> Iterator[Passage]:
    """Read passages from a .jsonl or .ndjson file, or split a .txt or .md file, or all of a folder, into passages.

    In the first two, "text" is required and "title" is optional. numbered: whether "_id" is optional; it is then "id",
    or the line number. In .txt and .md, the ids are the file name, in a folder with the path to it, and a number.
    Raises DataError for other file types at once, and while iterating for a malformed line or a repeated id.
    """
    if path.is_dir():
        return _folder_passages(path)
    if path.suffix.lower() in JSON_LINES:
        return (
            Passage(each.id, each.title, each.text) for each in _jsonl_documents(path, numbered=numbered, others=set())
        )
    if path.suffix.lower() in _TEXTS:
        return _text_passages(path, path.name)
    raise DataError(f"{path}: passages can be read from .jsonl, .ndjson, .txt and .md files; convert this one")


def read_documents(path: Path, others: set[str]) -> Iterator[Document]:
    """Read what `read_passages` reads, with the "metadata" of each line of a .jsonl file.

    others: gets the names of all other fields, which are not kept, while this iterates.
    """
    if path.suffix.lower() in JSON_LINES:
        return _jsonl_documents(path, numbered=True, others=others)
    return (Document(each.id, each.text, each.title) for each in read_passages(path))


def _jsonl_documents(path: Path, *, numbered: bool, others: set[str]) -> Iterator[Document]:
    ids: dict[str, None] = {}
    for place, record in read_records(path):
        text = text_of(record, "text", place)
        others |= record.keys() - _FIELDS
        if numbered and record.get("_id") is None:  # documents that the service exported have `id`
            record["_id"] = place.rpartition(":")[2] if record.get("id") is None else record["id"]
        passage_id = id_of(record, place)
        add_once(ids, passage_id, None, place)
        metadata = {} if record.get("metadata") is None else record["metadata"]
        if not isinstance(metadata, dict):
            raise DataError(f"{place}: metadata is no object; write one, or leave it out")
        try:
            check_metadata(metadata)
        except ValueError as error:
            raise DataError(f"{place}: metadata {error}; change it") from error
        yield Document(passage_id, text, title_of(record, place), metadata)


def _folder_passages(folder: Path) -> Iterator[Passage]:
    """All .txt and .md files below a folder, but for hidden ones: two of one name must not replace each other."""
    found = ((each.relative_to(folder), each) for each in folder.rglob("*") if each.suffix.lower() in _TEXTS)
    files = sorted((name, each) for name, each in found if not any(part[0] == "." for part in name.parts))
    if not files:
        raise DataError(
            f"{folder}: there is no .txt or .md file in this folder; `index` reads a .jsonl file that is named itself"
        )
    return chain.from_iterable(_text_passages(each, name.as_posix()) for name, each in files)


def _text_passages(path: Path, name: str) -> Iterator[Passage]:
    name = name.encode("utf-8", "backslashreplace").decode()  # a file name may not be UTF-8, but an id must be
    for number, passage in enumerate(split_passages(read_text(path)), 1):
        yield Passage(f"{name}-{number}", "", passage)
