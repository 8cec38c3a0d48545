"""Reading judgements: BEIR's three columns between tabs, or TREC's four between white space.

A grade is a document's gain, and nDCG's gains are linear here (`metrics.py`): 0.5 counts half as much as 1.
What is above 0 is relevant; TREC's negative grades are not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container
from pathlib import Path

from retrieval.errors import DataError
from retrieval.evaluation.metrics import Qrels
from retrieval.evaluation.text_files import read_lines

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_GRADE_NAMES = {"score", "relevance", "rel", "grade", "label", "judgement", "judgment"}
_ITERATIONS = {"0", "Q0"}  # what TREC's second column says; nobody reads it


def qrels_file(folder: Path, split: str) -> Path:
    """The file of a split's judgements; DataError names the splits that there are where it is missing."""
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        splits = sorted(found.stem for found in path.parent.glob("*.tsv"))
        remedy = (
            f"the splits that it has are {', '.join(splits)}"
            if splits
            else "a folder in BEIR layout holds corpus.jsonl, queries.jsonl and qrels/test.tsv"
        )
        raise DataError(f"{path}: there is no such file; {remedy}")
    return path


def read_qrels(path: Path, queries: Container[str]) -> Qrels:
    """Judgements by query; DataError for a line that is none, and a document that a query grades twice differently.

    queries: the ids of all queries; a header names none of them.
    """
    qrels: Qrels = {}
    for place, line in read_lines(path):
        judgement = _judgement(line)
        if judgement is None:
            if place.endswith(":1") and _is_header(line, queries):
                continue
            raise DataError(f"{place}: expected query-id, corpus-id and a number between tabs, or TREC's four columns")
        query, document, grade = judgement
        if qrels.setdefault(query, {}).setdefault(document, grade) != grade:
            raise DataError(f"{place}: document {document!r} has another score for query {query!r} above; keep one")
    return qrels


def _judgement(line: str) -> tuple[str, str, float] | None:
    """Query, document and grade; None where the line is no judgement."""
    spaced = line.split()
    trec = [spaced[0], *spaced[2:]] if len(spaced) == 4 and spaced[1] in _ITERATIONS else []
    for fields in (line.split("\t"), trec):
        if len(fields) == 3 and fields[0].strip() and fields[1].strip() and _NUMBER.fullmatch(fields[2].strip()):
            grade = float(fields[2])
            return (fields[0], fields[1], grade) if math.isfinite(grade) else None
    return None


def _is_header(line: str, queries: Container[str]) -> bool:
    """Whether the names of three columns stand here: the third is one for grades, and the first is no query's id."""
    fields = line.split("\t")
    return len(fields) == 3 and fields[2].strip().lower() in _GRADE_NAMES and fields[0] not in queries
