"""`qrerank threshold`: which `min_score` gives a wanted precision, from a few judged pairs."""

from __future__ import annotations

import csv
import math
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import typer
from numpy.typing import NDArray

from app.cli.options import AsJson, options_of, readable, reading_of
from app.cli.progress import bar
from app.cli.terminal import note, show
from app.engine.loader import open_reranker
from app.ranking.reranker import Reranker
from app.settings import Settings
from retrieval.encoder.prepare import Progress
from retrieval.errors import DataError
from retrieval.evaluation.text_files import read_text
from retrieval.text.sentences import VISIBLE

_FEW = 20  # pairs
_Z = 1.959964  # of a two-sided 95 % interval
_RESAMPLES = 2000
_DIGITS = Decimal("0.000001")  # of the score that is printed
_NAMES = ("query", "document", "relevant")
_ANSWERS = dict.fromkeys(("yes", "y", "true", "1", "1.0"), True) | dict.fromkeys(
    ("no", "n", "false", "0", "0.0"), False
)


@dataclass(frozen=True)
class Pair:
    """A query, a document, and whether it is relevant."""

    query: str
    document: str
    relevant: bool


@dataclass(frozen=True)
class Threshold:
    """The least score that gives the wanted precision."""

    score: float
    low: float  # 95 % of resampled pairs give a score between these
    high: float
    precision: float  # of the pairs that reach the score
    precision_low: float  # 95 % confidence (Wilson 1927, DOI 10.1080/01621459.1927.10502953)
    precision_high: float
    recall: float  # share of the relevant pairs that reach the score


def threshold(
    file: Annotated[
        Path,
        typer.Argument(
            callback=readable, help='Lines {"query", "document", "relevant"}, or CSV/TSV with these columns.'
        ),
    ],
    precision: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of returned documents to be relevant.")
    ] = 0.9,
    as_json: AsJson = False,
) -> None:
    """Find the min_score for a wanted precision.

    It takes 20 to 50 lines of query, document and yes or no. Each document is scored alone. Send the result as
    `min_score`, or set QRERANK_MIN_SCORE.
    """
    pairs = read_pairs(file)
    if len(pairs) < _FEW:
        note(f"{len(pairs)} pairs are few; with {_FEW} to 50 the interval becomes useful")
    settings = Settings()
    with bar("scoring") as report:
        scores = score(open_reranker(settings, report), settings, pairs, report)
    relevant = np.array([pair.relevant for pair in pairs])
    found = choose(scores, relevant, precision)
    if found is None:
        best = _precisions(scores, relevant)[1].max()
        raise DataError(f"no score gives a precision of {precision:.0%} on these pairs; the best is {best:.0%}")
    # Rounded up, or to the nearest, it would leave out the pair that defines it.
    min_score = Decimal(found.score).quantize(_DIGITS, ROUND_FLOOR)
    told = (
        f"min_score {min_score} (95 % interval {found.low:.3f} to {found.high:.3f})\n"
        f"precision {found.precision:.0%} ({found.precision_low:.0%} to {found.precision_high:.0%}), "
        f"recall {found.recall:.0%}, on {len(pairs)} pairs"
    )
    show(vars(found), told, as_json=as_json)


def read_pairs(file: Path) -> list[Pair]:
    """Read the pairs; DataError naming the line if one is not complete."""
    text = read_text(file)
    if not text.strip():
        raise DataError(f"{file} holds no pairs; write lines of query, document, yes or no")
    rows = _json_rows(file, text) if text.lstrip().startswith("{") else _table_rows(file, text)
    pairs = [_pair(file, number, row) for number, row in enumerate(rows, 1)]
    if len({pair.relevant for pair in pairs}) < 2:
        raise DataError(f"{file} needs relevant and irrelevant pairs; all of its {len(pairs)} are alike")
    return pairs


def _json_rows(file: Path, text: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: a text may hold U+2028
        if line.strip():
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DataError(f"{file}, line {number}: not JSON ({error})") from error
            yield row if isinstance(row, dict) else {}


def _table_rows(file: Path, text: str) -> Iterator[dict[str, Any]]:
    delimiter = "\t" if "\t" in text.lstrip().partition("\n")[0] else ","
    try:
        rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
        table = [cells for cells in rows if any(map(str.strip, cells))]
    except csv.Error as error:
        raise DataError(f"{file}: not CSV or TSV ({error}); write lines of JSON") from error
    names = [cell.strip().lower() for cell in table[0]] if table else []
    if set(_NAMES) <= set(names):
        if len(set(names)) < len(names):
            raise DataError(f"{file} names a column twice; only one of them could count")
        table = table[1:]
    else:
        names = list(_NAMES)
    for cells in table:
        yield dict(zip(names, cells, strict=False))


def _pair(file: Path, number: int, row: dict[str, Any]) -> Pair:
    relevant = _ANSWERS.get(str(row.get("relevant")).strip().lower())
    query, document = row.get("query"), row.get("document")
    if relevant is None or not isinstance(query, str) or not isinstance(document, str) or not VISIBLE.search(query):
        raise DataError(
            f"{file}, pair {number}: it needs a query, a document, and yes or no for `relevant`; "
            f"it has {', '.join(f'{name}: {reprlib.repr(row.get(name))}' for name in _NAMES)}"
        )
    return Pair(query, document, relevant)


def score(reranker: Reranker, settings: Settings, pairs: Sequence[Pair], report: Progress) -> NDArray[np.float64]:
    """The (p,) scores of the pairs, each document alone."""
    scores, reading, options = np.empty(len(pairs)), reading_of(settings), options_of(settings)
    for at, pair in enumerate(pairs):
        report("scoring pairs", at, len(pairs))
        scores[at] = reranker.rerank(pair.query, [pair.document], reading=reading, **options).scores[0]
    report("scoring pairs", len(pairs), len(pairs))
    return scores


def choose(scores: NDArray[np.float64], relevant: NDArray[np.bool_], precision: float) -> Threshold | None:
    """The least score from which at least this share of the (p,) pairs is relevant; None if there is none."""
    score = _least(scores, relevant, precision)
    if score is None:
        return None
    chance = np.random.default_rng(0)
    draws = (chance.integers(0, len(scores), len(scores)) for _ in range(_RESAMPLES))
    resampled = [_least(scores[draw], relevant[draw], precision) for draw in draws]
    low, high = np.quantile([each for each in resampled if each is not None], [0.025, 0.975])
    kept = scores >= score
    hits, total = int((kept & relevant).sum()), int(kept.sum())
    bounds = wilson(hits, total)
    return Threshold(float(score), float(low), float(high), hits / total, *bounds, hits / max(1, int(relevant.sum())))


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share of `total` ≥ 1, by Wilson's score."""
    share, spread = hits / total, _Z**2 / total
    middle = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def _least(scores: NDArray[np.float64], relevant: NDArray[np.bool_], precision: float) -> float | None:
    """The least of the scores at which the precision is reached."""
    different, precisions = _precisions(scores, relevant)
    reached = different[precisions >= precision - 1e-12]
    return float(reached.min()) if len(reached) else None


def _precisions(
    scores: NDArray[np.float64], relevant: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The different scores, rising, and the precision of the pairs that reach each."""
    order = np.argsort(scores)
    different, starts = np.unique(scores[order], return_index=True)
    hits = np.cumsum(relevant[order][::-1])[::-1]
    return different, hits[starts] / (len(scores) - starts)
