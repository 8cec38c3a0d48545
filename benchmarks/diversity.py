"""What `diversity` does to copies and to relevance: `python -m benchmarks diversity` prints the table of the docs.

Of each query, the best 50 passages are ranked as they are, and with three more copies of each of the best five.
Passages that have near duplicates in the collection itself count as distinct.
"""

from functools import partial
from typing import Annotated

import numpy as np
import typer

from app.cli.evaluation import judged_queries, open_dataset
from app.cli.progress import bar
from app.engine.loader import open_encoder
from app.ranking import Reranker
from app.settings import Settings
from benchmarks.quality import COLLECTIONS, ENCODED
from benchmarks.report import table
from retrieval.evaluation.beir import load
from retrieval.evaluation.metrics import mean, ndcg
from retrieval.index.segment import Segment

NAMES = ("cranfield", "cisi", "cacm", "scifact", "hotpotqa", "noveleval", "cosqa", "jaquad")
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
PASSAGES, COPIED, COPIES = 50, 5, 3


def measure(reranker: Reranker, place: Segment, query: str) -> list[tuple[list[str], float]]:
    """For each share, a query's documents in order, and the share of distinct ones among the top five with copies."""
    positions, plain = reranker.search(query, place, candidates=PASSAGES)
    repeated = np.concatenate([positions, np.repeat(positions[plain.order[:COPIED]], COPIES)])
    found = []
    for share in SHARES:
        search = partial(reranker.search, query, place, diversity=share)
        order, copied = (search(positions=of)[1].order for of in (positions, repeated))
        ids = [passage.id for passage in place.passages(positions[order])]
        found.append((ids, len({*repeated[copied[:5]].tolist()}) / 5))
    return found


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Collections; absent: all eight.")] = None,
    queries: Annotated[int, typer.Option(min=1, help="Of each collection, evenly spread.")] = 30,
) -> None:
    """Print nDCG@10 without copies and, in brackets, the share of distinct passages among the top five with copies."""
    rows = []
    with bar("measuring") as report:
        encoder = open_encoder(Settings(), report)
        reranker = Reranker(encoder)
        for name in names or NAMES:
            dataset = load(COLLECTIONS / name)
            place = open_dataset(dataset, encoder, ENCODED, report)
            judged = judged_queries(dataset)
            judged = judged[:: max(1, len(judged) // queries)][:queries]
            found = {}
            for done, query in enumerate(judged):
                report(name, done, len(judged))
                found[query.id] = measure(reranker, place, query.text)
            row = [name]
            for at in range(len(SHARES)):
                quality = mean(ndcg({i: f[at][0] for i, f in found.items()}, {i: dataset.qrels[i] for i in found}))
                row.append(f"{quality:.3f} ({np.mean([each[at][1] for each in found.values()]):.2f})")
            rows.append(row)
    print(table(["", *map(str, SHARES)], rows))
