"""Search a collection in a cluster of Milvus while one of its query nodes is killed, and judge every answer.

`python -m scripts.milvus_soak --url milvus://127.0.0.1:19630 --kill 'milvus_cluster.sh kill-qn1'`: an answer must be
that of an exact search. During the outage searches may be refused; each is tried again until it is answered.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import CollectionError
from retrieval.index.exact import ExactIndex
from retrieval.index.milvus_client import Milvus
from retrieval.store.collection import Collection, remove
from retrieval.store.indexer import build
from retrieval.text.passages import Passage
from scripts.trial import Findings

_WORDS = ("owl", "dusk", "river", "stone", "song", "market", "cloud", "lamp")
_SEARCHES, _KILLED_AT, _K = 300, 60, 10
_PATIENCE_S, _PAUSE_S = 300, 0.5


def passages() -> list[Passage]:
    """Passages of which no two are equal."""
    return [Passage(f"p{i}", "", f"{i} " + " ".join(_WORDS[(i * j) % 8] for j in range(i % 7))) for i in range(600)]


def _quiet(*_: int) -> None:
    pass


def soak(milvus: Milvus, kill: str, findings: Findings) -> None:
    """Build a collection, search it, kill a node on the way, and delete it."""
    encoder, found = HashEncoder(), passages()
    folder = Path(tempfile.mkdtemp()) / "soak"
    build(folder, found, encoder, _quiet, "en", milvus)
    collection = Collection(folder, milvus)
    query = encoder.encode(["an owl sings by the river"], "query").pooled
    expected = ExactIndex(encoder.encode([each.content for each in found]).pooled).search(query, _K)[1][0]
    right, refused, slowest, until = 0, 0, 0.0, time.monotonic() + _PATIENCE_S
    nodes = 2
    while right < _SEARCHES and time.monotonic() < until:
        if right == _KILLED_AT and nodes == 2:
            nodes = 1
            subprocess.run(kill, shell=True, check=True)  # noqa: S602 - what the caller gave
        start = time.monotonic()
        try:
            index = collection.searchable()
            positions = index.nearest(query[0], _K)
        except CollectionError:
            refused += 1
            time.sleep(_PAUSE_S)
            continue
        slowest = max(slowest, time.monotonic() - start)
        scores = index.states(positions).pooled @ query[0]
        if len(scores) != len(expected) or not np.allclose(scores, expected, atol=1e-6):
            break
        right += 1
    findings.check(
        "every answer is right",
        right == _SEARCHES,
        f"{right} of {_SEARCHES}, {refused} refused, slowest {slowest:.2f} s",
    )
    remove(folder, collection.remote)


def main() -> int:
    """Run it; the exit status is 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="of the cluster, as in QRERANK_INDEX__URL")
    parser.add_argument("--kill", required=True, help="the command that kills a query node")
    arguments = parser.parse_args()
    findings, milvus = Findings(), Milvus(arguments.url, timeout_s=3)
    soak(milvus, arguments.kill, findings)
    milvus.close()
    return findings.verdict()


if __name__ == "__main__":
    raise SystemExit(main())
