"""Collections of long documents: some documents of a collection in BEIR layout joined into one, by chance.

    python -m benchmarks long_documents ../shared/collections/cacm /tmp/long-cacm
    qrerank evaluate /tmp/long-cacm --chunks none

A joined document is as relevant to a query as the most relevant of its parts.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import orjson

from retrieval.evaluation.beir import load
from retrieval.text.passages import Passage

PARTS = 8
_SEED = 17


def join(passages: Sequence[Passage], parts: int = PARTS) -> dict[str, list[Passage]]:
    """Passages in an order by chance, in groups of `parts`, by the ids of the joined documents."""
    shuffled = random.Random(_SEED).sample(passages, len(passages))  # noqa: S311 - the same in every run
    return {f"long-{at}": shuffled[at * parts : (at + 1) * parts] for at in range(-(-len(shuffled) // parts))}


def main(source: Path, target: Path, parts: int = PARTS) -> None:
    """Write a collection of joined documents beside the queries of its source."""
    dataset = load(source)
    groups = join(dataset.passages, parts)
    place = {passage.id: name for name, members in groups.items() for passage in members}
    (target / "qrels").mkdir(parents=True, exist_ok=True)
    with (target / "corpus.jsonl").open("wb") as file:
        for name, members in groups.items():
            text = "\n\n".join(f"{each.title}\n{each.text}".strip() for each in members)
            file.write(orjson.dumps({"_id": name, "title": "", "text": text}) + b"\n")
    shutil.copy(source / "queries.jsonl", target)
    with (target / "qrels" / "test.tsv").open("w", encoding="utf-8") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for query, grades in dataset.qrels.items():
            best: dict[str, float] = {}
            for document, grade in grades.items():
                if document in place:
                    best[place[document]] = max(grade, best.get(place[document], 0))
            file.writelines(f"{query}\t{name}\t{grade}\n" for name, grade in best.items())
