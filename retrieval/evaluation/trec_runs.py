"""TREC run files: rankings in the form that trec_eval and ranx read, one "query Q0 document rank score tag" a line."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from retrieval.errors import DataError
from retrieval.evaluation.text_files import finite, read_lines

ScoredRun = Mapping[str, Sequence[tuple[str, float]]]  # query id -> (document id, score), best first

_SPACE = re.compile(r"\s")


def read_run(path: Path, queries: Container[str], documents: Container[str]) -> dict[str, list[tuple[str, float]]]:
    """Read the rankings of the given queries, as trec_eval orders them: by score, equal scores by falling document id.

    Scores are compared as 32-bit numbers, which are what trec_eval reads.

    Args:
        path: The file; its ranks and tags are not looked at.
        queries: Ids of the queries that count; lines of others are left out.
        documents: Ids of all documents.

    Raises:
        DataError: A malformed line, a score that is no finite number, a document twice for one query or one that is not
            in the corpus, or no ranking of any of the queries.
    """
    found: dict[str, dict[str, float]] = {}
    others = None
    for place, line in read_lines(path):
        query, document, score = _fields(line, place)
        if query not in queries:
            others = others or query
            continue
        if document not in documents:
            raise DataError(f"{place}: document {document!r} is not in corpus.jsonl; the run is of other documents")
        ranked = found.setdefault(query, {})
        if document in ranked:
            raise DataError(f"{place}: document {document!r} is ranked twice for query {query!r}; keep one line")
        ranked[document] = score
    if not found:
        why = f"{others!r} is not one" if others else "the file is empty"
        raise DataError(f"{path}: no line ranks documents for a judged query: {why}; the run must use the same ids")
    return {
        query: sorted(sorted(ranked.items(), reverse=True), key=lambda item: -_narrow(item[1]))  # sorting is stable
        for query, ranked in found.items()
    }


def _narrow(score: float) -> np.float32:
    """A score as trec_eval reads it, infinite beyond what 32 bits hold."""
    with np.errstate(over="ignore"):
        return np.float32(score)


def write_run(path: Path, run: ScoredRun, tag: str) -> None:
    """Write rankings so that whoever sorts them by score gets the same order.

    Where a score, as the 32-bit number that trec_eval reads, is not below the one before it, the next lower number is
    written instead.

    Args:
        path: The file, which is replaced.
        run: The rankings; scores fall or stay equal.
        tag: The name of the run; white space becomes "_".

    Raises:
        DataError: An id with white space, which separates the columns.
    """
    tag = _SPACE.sub("_", tag) or "_"
    path.write_text("".join(_lines(run, tag)), encoding="utf-8")


def check_ids(ids: Iterable[str]) -> None:
    """DataError for an id that no run can hold."""
    for name in ids:
        if _SPACE.search(name):
            raise DataError(f"the id {name!r} has white space, which separates the columns of a TREC run")


def _lines(run: ScoredRun, tag: str) -> Iterator[str]:
    for query, ranked in run.items():
        last = np.float32(np.inf)
        for rank, (document, score) in enumerate(ranked, 1):
            check_ids((query, document))
            last = min(np.float32(score), np.nextafter(last, np.float32(-np.inf)))
            yield f"{query} Q0 {document} {rank} {last} {tag}\n"


def _fields(line: str, place: str) -> tuple[str, str, float]:
    columns = line.split()
    if len(columns) != 6 or columns[1].upper() not in {"Q0", "0"}:
        raise DataError(f'{place}: expected "query Q0 document rank score tag", separated by white space')
    score = finite(columns[4])
    if score is None:
        raise DataError(f"{place}: the score {columns[4]!r} is not a finite number, so nothing can be ordered by it")
    return columns[0], columns[2], score
