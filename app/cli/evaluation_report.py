"""The report of an evaluation: one HTML file that fetches nothing, and the plots as PNG files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path

import numpy as np

from app.cli.errors import naming
from app.cli.evaluation_plots import INK, differences, drawing, overview, png, svg
from app.cli.results import AT, MRR, NDCG, UNJUDGED, Comparison, Evaluation
from app.cli.tables import gain, p_of
from app.telemetry.printable import escaped

_MOST = 5  # queries that gained and lost the most
_SIGNIFICANT = 0.05
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --line: #ccc; --soft: #666; --good: #0a6b3d; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #161616; --line: #444; --soft: #a5a5a5; --good: #5fd39a; }
}
body { color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif; max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-top: 1px solid var(--line);
  padding-top: 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .45rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; min-width: 8rem; overflow-wrap: break-word; }
.wide { overflow-x: auto; } .soft { color: var(--soft); } .good { color: var(--good); font-weight: 600; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; color: var(--ink); fill: currentColor; }
summary { cursor: pointer; margin: .3rem 0; }
"""
_READING = """<h2>How to read it</h2>
<p>nDCG@10 weighs the relevant documents among the first ten by their rank and compares with the best order of all
judged ones; 1 is best. MRR@10 is the reciprocal rank of the first relevant document, MAP the mean over the relevant
documents of the precision at each, recall the share of them among the candidates.</p>
<p>p is the chance that a difference at least as large comes about if the two rankings do not differ: by a two-sided
paired randomisation test on nDCG@10 with 10 000 permutations, corrected for all comparisons of this report by Holm's
method. Differences with p below .05 are green.</p>
<p>Unjudged: the share of the first ten documents that nobody judged. They count as not relevant; where rows differ much
in it, their figures are not comparable. Best possible: nDCG@10 of the same candidates in the best order, which no
reranking exceeds. Milliseconds: median and 95th percentile of reranking one query's candidates, without encoding the
query and retrieving.</p>"""


def write_plots(results: Sequence[Evaluation], folder: Path) -> None:
    """Write overview.png, and COLLECTION.differences.png of each collection, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with drawing():
        png(overview(results), folder / "overview.png")
        for result in results:
            if figure := differences(result):
                png(figure, folder / f"{result.dataset}.differences.png")


def write_report(results: Sequence[Evaluation], path: Path, *, times: bool) -> None:
    """Write the report. times: whether with milliseconds, which differ between two runs."""
    with drawing(INK), naming(path):
        path.write_text("".join(_page(results, times=times)), encoding="utf-8")


def _page(results: Sequence[Evaluation], *, times: bool) -> Iterator[str]:
    first = results[0]
    title = f"Evaluation of {', '.join(result.dataset for result in results)}"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{_text(title)}</h1>\n"
    )
    setup = (
        f"quantum-rerank {version('quantum-rerank')}, {first.model} ({first.encoder}), at most "
        f"{first.candidates} candidates of the first stage “{first.first_stage}”, reranked"
        + (f"; compared with {first.baseline}." if first.baseline in first.methods else ".")
    )
    yield f"<p>{_text(setup)}</p>\n{_figure(svg(overview(results)), 'nDCG@10 of every row on every collection')}"
    if len(results) > 1:
        yield _means(results)
    for result in results:
        yield from _collection(result, times=times)
    yield f"{_READING}\n</body>\n</html>\n"


def _means(results: Sequence[Evaluation]) -> str:
    baseline, rows = results[0].baseline, []
    for name in results[0].methods:
        gains = [gain(result, name, baseline) for result in results if baseline in result.methods]
        known = [each for each in gains if each is not None and name != baseline]
        shown = (f"{np.mean(known):+.1%}", f"{min(known):+.1%}") if known else ("", "")
        rows.append((_text(name), f"{np.mean([result.methods[name].ndcg for result in results]):.4f}", *shown))
    return f"<h2>Mean of {len(results)} collections</h2>\n" + _table(
        ("method", "nDCG@10", f"vs {_text(baseline)}", "least"), rows
    )


def _collection(result: Evaluation, *, times: bool) -> Iterator[str]:
    yield f"<h2>{_text(result.dataset)}</h2>\n"
    yield f"<p class=soft>{len(result.queries)} queries; {_text(result.judgements)}</p>\n"
    k = result.candidates
    header = ["method", "nDCG@10", f"vs {_text(result.baseline)}", "p", "better", "worse", "MRR@10", f"MAP@{k}"]
    header += [f"recall@{k}", "unjudged", "best possible", *(["ms, median", "ms, 95 %"] if times else [])]
    rows = []
    for name, scores in result.methods.items():
        means = [f"{scores.mean(metric):.4f}" for metric in (MRR, f"map@{k}", f"recall@{k}")]
        row = [_text(name), f"{scores.ndcg:.4f}", *_compared(result, result.versus(name)), *means]
        row += [f"{scores.mean(UNJUDGED):.0%}", f"{scores.ceiling:.4f}"]
        ms = [scores.percentile(percent) for percent in (50, 95)] if times else []
        rows.append([*row, *("" if each is None else f"{each:.1f}" for each in ms)])
    yield _table(header, rows)
    configured = [each for each in result.paired if AT in each.one and each.other == each.one.rpartition(AT)[0]]
    if configured:
        rows = [[_text(f"{each.one} vs {each.other}"), *_compared(result, each)] for each in configured]
        yield _table(("configuration", "change", "p", "better", "worse"), rows)
    if figure := differences(result):
        yield _figure(svg(figure), f"{result.dataset}: difference to {result.baseline} by query")
    for each in result.paired:
        if each.other == result.baseline:
            yield _extremes(result, each)


def _compared(result: Evaluation, paired: Comparison | None) -> list[str]:
    """Change, p, and how many queries are better and worse."""
    if paired is None:
        return [""] * 4
    change = gain(result, paired.one, paired.other)
    shown = "" if change is None else f"{change:+.1%}"
    if paired.p_holm is not None and paired.p_holm < _SIGNIFICANT and paired.delta > 0:
        shown = f"<span class=good>{shown}</span>"
    return [shown, p_of(paired), str(paired.better), str(paired.worse)]


def _extremes(result: Evaluation, paired: Comparison) -> str:
    """The queries that differ most, which unfold."""
    one, other = (result.methods[name].by_query[NDCG] for name in (paired.one, paired.other))
    queries, falling = list(result.queries.items()), np.argsort(other - one, kind="stable")
    most = [*falling[:_MOST].tolist(), *falling[_MOST:][-_MOST:].tolist()]
    rows = [
        [
            f"{_text(queries[at][0])}: {_text(queries[at][1])}",
            f"{other[at]:.3f}",
            f"{one[at]:.3f}",
            f"{one[at] - other[at]:+.3f}",
        ]
        for at in most
        if one[at] != other[at]
    ]
    if not rows:
        return ""
    table = _table(("query", _text(paired.other), _text(paired.one), "difference"), rows)
    return f"<details><summary>{_text(paired.one)}: the queries that gain and lose most</summary>{table}</details>\n"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<div class=wide><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"


def _figure(picture: str, label: str) -> str:
    return f'<figure role="img" aria-label="{_text(label)}">{picture}</figure>\n'


def _text(text: str) -> str:
    """A text as HTML, on one line; what must not be printed is escaped."""
    return escape(escaped(" ".join(text.split())))
