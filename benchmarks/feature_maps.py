"""What each feature map is worth, at its own best bandwidth: `python -m benchmarks feature_maps`.

The same candidates of each query are ordered by late interaction, and by one vector a text, with every map, size and
bandwidth. The bandwidth of a row is chosen on the other collections than the one it is reported on, by mean nDCG@10.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from app.cli.evaluation import judged_queries, open_dataset, own_documents
from app.cli.fitting import chosen
from app.cli.progress import bar
from app.engine.loader import open_encoder, processors_of
from app.ranking import Reranker
from app.settings import Settings
from benchmarks.quality import COLLECTIONS, ENCODED
from benchmarks.report import table
from quantum.feature_maps import FeatureMap, feature_map
from quantum.maxsim import score_documents
from retrieval.encoder.prepare import Progress
from retrieval.encoder.states import Encoded
from retrieval.evaluation.beir import load
from retrieval.evaluation.metrics import ndcg
from retrieval.fusion import ranking

NAMES = ("cacm", "cisi", "cranfield", "scifact", "hotpotqa", "noveleval", "cosqa")
MAPS = (("angle", 4), ("amplitude", 4), *((name, n) for name in ("entangled", "iqp") for n in (2, 4)))
BANDWIDTHS = tuple(8**0.5 * factor for factor in (0.5, 0.5**0.5, 1, 2**0.5, 2))
COSINE = ("cosine", 0)
CANDIDATES = 50  # the nearest and the best by words

Values = NDArray[np.float64]
Key = tuple[str, int]


def judged(
    reranker: Reranker, name: str, most: int, progress: Progress
) -> Iterator[tuple[Encoded, Encoded, Callable[[Values], float]]]:
    """Of each query: its state, those of its candidates, and the nDCG@10 of candidates ordered by their (n,) scores."""
    dataset = load(COLLECTIONS / name)
    collection, own = open_dataset(dataset, reranker.encoder, ENCODED, progress), own_documents(dataset)
    queries = chosen(dataset, judged_queries(dataset), most)
    for done, query in enumerate(queries):
        progress(name, done, len(queries))
        search = partial(reranker.search, query.text, collection, candidates=CANDIDATES, method="classical")
        positions, _ = search(leave_out=own.get(query.id))
        ids = [passage.id for passage in collection.passages(positions)]
        asked = reranker.encoder.encode([query.text], "query")
        yield asked, collection.states(positions), partial(_ndcg, ids, dataset.qrels[query.id])


def _ndcg(ids: Sequence[str], grades: dict[str, float], of: Values) -> float:
    return ndcg({"": [ids[at] for at in ranking(of)]}, {"": grades}, 10)[""]


def scores(fm: FeatureMap, query: Encoded, documents: Encoded) -> tuple[Values, Values]:
    """The (n,) scores by late interaction, and by one vector a text."""
    return (
        score_documents(fm, query.tokens, documents.tokens, documents.offsets),
        fm.log_fidelity(query.pooled, documents.pooled)[0].astype(np.float64),
    )


def measured(reranker: Reranker, name: str, most: int, progress: Progress) -> dict[Key, Values]:
    """(bandwidths, 2, queries) nDCG@10 of every map on one collection, and of the cosine."""
    found: dict[Key, list[list[tuple[float, float]]]] = {key: [[] for _ in BANDWIDTHS] for key in MAPS}
    found[COSINE] = [[]]
    for query, documents, value in judged(reranker, name, most, progress):
        cosines = value((documents.pooled @ query.pooled[0]).astype(np.float64))
        found[COSINE][0].append((cosines, cosines))
        for key in MAPS:
            for at, bandwidth in enumerate(BANDWIDTHS):
                tokens, pooled = scores(feature_map(*key, bandwidth), query, documents)
                found[key][at].append((value(tokens), value(pooled)))
    return {key: np.moveaxis(np.array(values), 1, 2) for key, values in found.items()}


def row(found: Sequence[dict[Key, Values]], key: Key, way: int) -> tuple[list[Values], list[int]]:
    """Of each collection the (queries,) nDCG@10 at the bandwidth that is best on the others, and that bandwidth."""
    means = np.stack([each[key][:, way].mean(axis=-1) for each in found])  # (collections, bandwidths)
    best = [int(np.delete(means, at, axis=0).mean(axis=0).argmax()) for at in range(len(found))]
    return [each[key][at, way] for each, at in zip(found, best, strict=True)], best


def report(found: Sequence[dict[Key, Values]]) -> str:
    """The table: means over collections, and differences to `angle` with the standard error over queries."""
    lines = []
    base = [row(found, MAPS[0], way)[0] for way in (0, 1)]
    for key in (COSINE, *MAPS):
        cells = [key[0], str(key[1] or "")]
        for way in (0, 1):
            values, best = row(found, key, way)
            differences = [mine - other for mine, other in zip(values, base[way], strict=True)]
            mean = np.mean([each.mean() for each in differences])
            error = np.sqrt(sum(each.var(ddof=1) / len(each) for each in differences)) / len(found)
            common = BANDWIDTHS[Counter(best).most_common(1)[0][0]]
            cells += [f"{np.mean([each.mean() for each in values]):.4f}", f"{mean:+.4f} ± {error:.4f}"]
            cells.append("" if key == COSINE else f"{common:.2f} ({Counter(best).most_common(1)[0][1]}/{len(best)})")
        lines.append(cells)
    heads = ("nDCG@10, {}", "to `angle`", "bandwidth h (chosen by)")
    return table(("map", "qubits", *(head.format(way) for way in ("tokens", "one vector") for head in heads)), lines)


def by_bandwidth(found: Sequence[dict[Key, Values]]) -> str:
    """The table of the mean nDCG@10 of tokens at each bandwidth, the same for all collections."""
    rows = [(f"{name} {n}", np.mean([each[name, n][:, 0].mean(axis=-1) for each in found], axis=0)) for name, n in MAPS]
    lines = [(name, *(f"{mean:.4f}" for mean in means)) for name, means in rows]
    return table(("map, qubits", *(f"h = {bandwidth:.2f}" for bandwidth in BANDWIDTHS)), lines)


def main(
    queries: Annotated[int, typer.Option(min=2, help="At most so many of each collection, chosen at random.")] = 20,
) -> None:
    """Print the tables."""
    with bar("feature maps") as progress:
        settings = Settings()
        reranker = Reranker(open_encoder(settings, progress), processors=processors_of(settings))
        threadpool_limits(1)  # threads of BLAS that wait for each other cost more than they compute
        found = [measured(reranker, name, queries, progress) for name in NAMES]
    print(f"{report(found)}\n\n{by_bandwidth(found)}")
