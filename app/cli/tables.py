"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Column, Table

from app.cli.results import AT, MRR, NDCG, UNJUDGED, Comparison, Evaluation
from app.ranking.reranker import Ranking
from app.telemetry.printable import escaped
from retrieval.text.passages import Passage

_EXCERPT = 100


def ranked(passages: Sequence[Passage], ranking: Ranking, top_n: int | None) -> Table:
    """The best `top_n` passages with the score of each ranker.

    Args:
        passages: That were ranked. They are told apart by the ids of their documents, without these by their places.
        ranking: Of these passages.
        top_n: Number of rows; None for all.
    """
    have_ids = any(passage.id for passage in passages)
    table = Table("rank", "score", *ranking.rankers, "id" if have_ids else "index", "document", title_justify="left")
    for rank, index in enumerate(ranking.order[:top_n].tolist(), start=1):
        ranker_scores = [f"{values[index]:z.3f}" for values in ranking.rankers.values()]
        passage = passages[index]
        text = " ".join(passage.text.split())
        excerpt = text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
        document = escaped(f"{passage.title}: {excerpt}" if passage.title else excerpt)
        which = escaped(passage.id) if have_ids else str(index)
        table.add_row(str(rank), f"{ranking.scores[index]:.4f}", *ranker_scores, which, document)
    return table


def evaluations(results: Sequence[Evaluation]) -> Iterator[Table]:
    """All tables of an evaluation: of each collection, and the means over several."""
    for result in results:
        yield evaluated(result)
        yield details(result)
        if any(AT in each.one for each in result.paired):
            yield configured(result)
    if len(results) > 1:
        yield mean_gains(results)


def evaluated(result: Evaluation) -> Table:
    """The metrics of all methods on one collection, compared with the baseline."""
    setup = f"{len(result.queries)} queries, at most {result.candidates} candidates ({result.first_stage}) reranked"
    k, versus = result.candidates, escaped(f"vs {result.baseline}")
    table = Table(_method(), "nDCG@10", versus, "p (Holm)", "MRR@10", f"MAP@{k}", f"recall@{k}")
    table.title = f"{escaped(result.dataset)}: {setup}, {result.encoder}"
    for name, scores in result.methods.items():
        paired = result.versus(name)
        change = gain(result, name, result.baseline) if paired else None
        table.add_row(
            escaped(name),
            f"{scores.ndcg:.4f}",
            "" if change is None else f"{change:+.1%}",
            p_of(paired),
            *(f"{scores.mean(metric):.4f}" for metric in (MRR, f"map@{k}", f"recall@{k}")),
        )
    return table


def details(result: Evaluation) -> Table:
    """What to know of the figures: queries, judgements, the retriever's limit, and times."""
    columns = (_method(), "better", "worse", "unjudged@10", "best nDCG@10", "p50 ms", "p95 ms")
    table = Table(*columns, title=f"{escaped(result.dataset)}: queries, judgements, reranking")
    for name, scores in result.methods.items():
        paired = result.versus(name)
        times = (scores.percentile(percent) for percent in (50, 95))
        table.add_row(
            escaped(name),
            str(paired.better) if paired else "",
            str(paired.worse) if paired else "",
            f"{scores.mean(UNJUDGED):.1%}",
            f"{scores.ceiling:.4f}",
            *("" if ms is None else f"{ms:.1f}" for ms in times),
        )
    return table


def configured(result: Evaluation) -> Table:
    """Each configuration against the same method with the settings as they are."""
    table = Table(_method(), "vs", "nDCG@10", "change", "p (Holm)", "better", "worse")
    table.title = f"{escaped(result.dataset)}: configurations"
    for each in result.paired:
        if AT not in each.one or each.other != each.one.rpartition(AT)[0]:
            continue
        change = gain(result, each.one, each.other)
        table.add_row(
            each.one,
            each.other,
            f"{result.methods[each.one].ndcg:.4f}",
            "" if change is None else f"{change:+.1%}",
            p_of(each),
            str(each.better),
            str(each.worse),
        )
    return table


def mean_gains(results: Sequence[Evaluation]) -> Table:
    """Each method's mean nDCG@10 over several collections, and its gain over the baseline: mean and least."""
    baseline = results[0].baseline
    table = Table(_method(), "nDCG@10", f"vs {baseline}", "least", title=f"Mean of {len(results)} collections")
    for name in results[0].methods:
        found = [gain(result, name, baseline) for result in results if baseline in result.methods]
        gains = [each for each in found if each is not None]
        shown = (f"{sum(gains) / len(gains):+.1%}", f"{min(gains):+.1%}") if gains and name != baseline else ("", "")
        table.add_row(name, f"{sum(result.methods[name].ndcg for result in results) / len(results):.4f}", *shown)
    return table


def gain(result: Evaluation, one: str, other: str) -> float | None:
    """The relative change of nDCG@10; None where it would be of 0."""
    base = result.methods[other].by_query[NDCG].mean()
    return float(result.methods[one].ndcg / base - 1) if base > 0 else None


def p_of(paired: Comparison | None) -> str:
    """The corrected p-value as tables show it."""
    return "" if paired is None or paired.p_holm is None else f"{paired.p_holm:.4f}"


def _method() -> Column:
    """The first column, whose names are shown whole."""
    return Column("method", overflow="fold")
