"""What it costs to verify a collection of 100 000 passages: `python -m benchmarks.certificate` prints it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.report import number, table
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.protocol import Role
from retrieval.encoder.states import Encoded, quantise, unit_rows
from retrieval.index.collection import Collection, build
from retrieval.index.integrity import verify
from retrieval.text.passages import Passage

PASSAGES, DIMENSION, TIMES = 100_000, 384, 5


class Random(HashEncoder):
    """Vectors as wide as the default model's, two tokens a text, all of them random."""

    def __init__(self) -> None:
        """The same in every run."""
        self._chance = np.random.default_rng(1)

    def encode(self, texts: Sequence[str], role: Role = "document") -> Encoded:  # noqa: ARG002 - of whatever
        """States of n texts."""
        n = len(texts)
        pooled = unit_rows(self._chance.standard_normal((n, DIMENSION), dtype=np.float32))
        tokens = quantise(self._chance.standard_normal((2 * n, DIMENSION), dtype=np.float32))
        return Encoded(pooled, tokens, np.arange(0, 2 * n + 1, 2), np.full(n, 4))


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as data:
        folder = Path(data) / "random"
        passages = [Passage(str(at), "", f"text {at}") for at in range(PASSAGES)]
        build(folder, passages, Random(), lambda *_: None)
        collection = Collection(folder)
        found = [verify(collection) for _ in range(TIMES)]
        assert all(certificate.holds for certificate in found)
        ms = sorted(1e3 * certificate.seconds for certificate in found)
        print(f"\nCertifying {PASSAGES:,} passages of {DIMENSION} dimensions, {TIMES} times\n")
        print(table(["median ms", "most ms", "recall@10"], [[number(median(ms)), number(ms[-1]), "1.000"]]))


if __name__ == "__main__":
    main()
