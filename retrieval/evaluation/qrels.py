"""Reads relevance judgements: BEIR's three columns separated by tabs, or TREC's four separated by white space.

A grade is a document's gain in nDCG, which is linear here (`metrics.py`): 0.5 counts half as much as 1.
A document with a grade above 0 is relevant; with TREC's negative grades it is not.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from retrieval.errors import DataError
from retrieval.evaluation.metrics import Qrels
from retrieval.evaluation.text_files import finite, read_lines

_GRADE_NAMES = {"score", "relevance", "rel", "grade", "label", "judgement", "judgment"}
_MOST_GRADE = 1e100  # sums of larger ones might overflow


def qrels_file(folder: Path, split: str) -> Path:
    """Return the qrels file of a split; if it is missing, DataError lists the existing splits."""
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        splits = sorted(file.stem for file in path.parent.glob("*.tsv"))
        remedy = (
            f"the splits that it has are {', '.join(splits)}"
            if splits
            else "a folder in BEIR layout holds corpus.jsonl, queries.jsonl and qrels/test.tsv; for one without "
            "judgements, `qrerank evaluate --known-item title` makes queries"
        )
        raise DataError(f"{path}: there is no such file; {remedy}")
    return path


def read_qrels(path: Path, queries: Container[str]) -> Qrels:
    """Read judgements by query; DataError for an invalid line, or two different grades of a document for one query.

    queries: the ids of all queries; a first line that starts with one of them is not a header.
    """
    qrels: Qrels = {}
    for place, line in read_lines(path):
        judgement = _judgement(line)
        if judgement is None:
            if place.endswith(":1") and _is_header(line, queries):
                continue
            raise DataError(
                f"{place}: expected query-id, corpus-id and a number between tabs, or TREC's four columns; "
                f"a grade lies within ±{_MOST_GRADE:g}"
            )
        query, document, grade = judgement
        if qrels.setdefault(query, {}).setdefault(document, grade) != grade:
            raise DataError(f"{place}: document {document!r} has another score for query {query!r} above; keep one")
    return qrels


def _judgement(line: str) -> tuple[str, str, float] | None:
    """Parse query, document and grade; None if the line is not a judgement."""
    columns = line.split()
    # TREC's second column says nothing: 0, Q0, or the round, as in TREC-COVID.
    is_trec = len(columns) == 4 and (columns[1].upper() == "Q0" or finite(columns[1]) is not None)
    trec = [columns[0], *columns[2:]] if is_trec else []
    for fields in (line.split("\t"), trec):
        if len(fields) == 3 and fields[0].strip() and fields[1].strip():
            grade = finite(fields[2].strip())
            if grade is not None and abs(grade) <= _MOST_GRADE:
                return fields[0], fields[1], grade
    return None


def _is_header(line: str, queries: Container[str]) -> bool:
    """Whether the line is a header of three columns: the third names a grade, and the first is not a query id."""
    fields = line.split("\t")
    return len(fields) == 3 and fields[2].strip().lower() in _GRADE_NAMES and fields[0] not in queries
