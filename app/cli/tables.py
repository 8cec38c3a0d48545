"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from app.cli.evaluation import BASELINE, Evaluation
from app.ranking.reranker import Ranking
from app.telemetry.printable import escaped

_EXCERPT = 100


def ranked(titles: Sequence[str], texts: Sequence[str], ranking: Ranking, top_n: int | None) -> Table:
    """The best `top_n` documents with the score of each ranker.

    Args:
        titles: One per document; may be empty.
        texts: One per document.
        ranking: Of these documents.
        top_n: Number of rows; None for all.
    """
    table = Table("rank", "score", *ranking.rankers, "index", "document", title_justify="left")
    for rank, index in enumerate(ranking.order[:top_n].tolist(), start=1):
        ranker_scores = [f"{values[index]:.3f}" for values in ranking.rankers.values()]
        text = " ".join(texts[index].split())
        excerpt = text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
        document = escaped(f"{titles[index]}: {excerpt}" if titles[index] else excerpt)
        table.add_row(str(rank), f"{ranking.scores[index]:.4f}", *ranker_scores, str(index), document)
    return table


def evaluated(result: Evaluation) -> Table:
    """The metrics of all methods on one collection, compared with cosine."""
    setup = f"{result.queries} queries, {result.candidates} candidates ({result.first_stage}) reranked"
    title = f"{escaped(result.dataset)}: {setup}, {result.encoder}"
    recall = f"recall@{result.candidates}"
    table = Table("method", "nDCG@10", f"vs {BASELINE}", "p", "MRR@10", recall, "ms/query", title=title)
    base = result.methods.get(BASELINE)
    for name, scores in result.methods.items():
        paired = result.paired.get(f"{name} vs {BASELINE}")
        table.add_row(
            name,
            f"{scores.ndcg:.4f}",
            f"{scores.ndcg / base.ndcg - 1:+.1%}" if base and paired and base.ndcg > 0 else "",
            f"{paired.p:.4f}" if paired else "",
            f"{scores.mrr:.4f}",
            f"{scores.recall:.4f}",
            f"{scores.ms_per_query:.1f}",
        )
    return table


def mean_gains(results: Sequence[Evaluation]) -> Table:
    """Each method's mean nDCG@10 over several collections, and its gain over cosine: mean and least."""
    table = Table("method", "nDCG@10", f"vs {BASELINE}", "least", title=f"Mean of {len(results)} collections")
    for name in results[0].methods:
        scores = [result.methods[name].ndcg for result in results]
        bases = [result.methods[BASELINE].ndcg for result in results if BASELINE in result.methods]
        gains = [score / base - 1 for score, base in zip(scores, bases, strict=False) if base > 0]
        shown = (f"{sum(gains) / len(gains):+.1%}", f"{min(gains):+.1%}") if gains and name != BASELINE else ("", "")
        table.add_row(name, f"{sum(scores) / len(scores):.4f}", *shown)
    return table
