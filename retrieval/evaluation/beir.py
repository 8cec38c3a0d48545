"""Reading test collections in BEIR's layout, exclusion queries, and passages to index.

BEIR: Thakur et al. 2021, arXiv 2104.08663. A folder with corpus.jsonl ({"_id", "title", "text"} a line), queries.jsonl
({"_id", "text"}) and qrels/test.tsv (query-id, corpus-id, score; a header line may come first), or another split's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from retrieval.errors import DataError
from retrieval.evaluation.metrics import Qrels
from retrieval.evaluation.qrels import qrels_file, read_qrels
from retrieval.evaluation.text_files import add_once, id_of, read_records, read_text, text_of
from retrieval.text.passages import Passage, split_passages
from retrieval.text.sentences import VISIBLE


@dataclass(frozen=True)
class BeirDataset:
    """A test collection; queries and qrels are those of the judged queries, both in the order of queries.jsonl."""

    name: str
    document_ids: list[str]
    documents: list[str]  # title and text, stripped; blank where the corpus has a blank document
    query_ids: list[str]
    queries: list[str]
    qrels: Qrels
    notes: tuple[str, ...] = ()  # what to know of its figures


@dataclass(frozen=True)
class Query:
    """A query and what its answer must not be about."""

    id: str
    text: str
    exclude: tuple[str, ...]


def load(path: Path, split: str = "test") -> BeirDataset:
    """Read a folder in BEIR's layout.

    A judged document that the corpus lacks, as in some BEIR sets, stays in the qrels and so in the ideal ranking, as
    trec_eval has it. A judged query that queries.jsonl lacks is left out. `notes` count both.
    Raises DataError for a missing or malformed file, an id that is missing or occurs twice, a document graded twice
    differently, and judgements by which every ranking would be as good: none of them is about a query of queries.jsonl,
    none grades a document above 0, or the corpus holds no document that they do.
    """
    file = qrels_file(path, split)
    corpus = list(read_passages(path / "corpus.jsonl", numbered=False))
    queries: dict[str, str] = {}
    for place, record in read_records(path / "queries.jsonl"):
        add_once(queries, id_of(record, place), text_of(record, "text", place, blank=False), place)
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
    )


def _check(file: Path, judged: Qrels, qrels: Qrels, document_ids: Sequence[str]) -> Iterator[str]:
    """What is missing on either side of the judgements; DataError where nothing is left that a ranking can be told by.

    judged: all of them; qrels: those about queries of queries.jsonl.
    """
    if not judged:
        raise DataError(f"{file}: there is no judgement; write one query-id, corpus-id and score a line, between tabs")
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
    """Read {"_id", "text", "exclude": [text, …]} a line; DataError says which line is malformed or repeats an id."""
    found: dict[str, Query] = {}
    for place, record in read_records(path):
        exclude = record.get("exclude")
        if not isinstance(exclude, list) or any(
            not isinstance(text, str) or not VISIBLE.search(text) for text in exclude
        ):
            raise DataError(f'{place}: "exclude" must be a list of texts, none of them blank')
        query = id_of(record, place)
        add_once(found, query, Query(query, text_of(record, "text", place, blank=False), tuple(exclude)), place)
    if not found:
        raise DataError(f'{path}: no queries; write one {{"_id", "text", "exclude"}} object a line')
    return list(found.values())


def read_passages(path: Path, *, numbered: bool = True) -> Iterator[Passage]:
    """Read passages from a .jsonl file as they stand, or cut a .txt or .md file into passages.

    In .jsonl, "text" is required and "title" is "" unless given. numbered: whether a line may lack "_id", which is then
    the line's number. In the others, the ids are the file's name and a number. Raises DataError when it comes to a line
    that is malformed or repeats an id, and at once for another kind of file.
    """
    if path.suffix == ".jsonl":
        return _jsonl_passages(path, numbered=numbered)
    if path.suffix in {".txt", ".md"}:
        return _text_passages(path)
    raise DataError(f"{path}: passages are read from .jsonl, .txt and .md files; convert this one")


def _jsonl_passages(path: Path, *, numbered: bool) -> Iterator[Passage]:
    seen: dict[str, None] = {}
    for place, record in read_records(path):
        name = place.rpartition(":")[2] if numbered and "_id" not in record else id_of(record, place)
        add_once(seen, name, None, place)
        title = text_of(record, "title", place) if record.get("title") is not None else ""
        yield Passage(name, title, text_of(record, "text", place))


def _text_passages(path: Path) -> Iterator[Passage]:
    name = path.name.encode("utf-8", "backslashreplace").decode()  # a file's name need not be UTF-8, an id must
    for number, passage in enumerate(split_passages(read_text(path)), 1):
        yield Passage(f"{name}-{number}", "", passage)
