"""The stage after fusion: a cross-encoder reads the best documents, and their order changes among themselves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.ranking.job import Job, Scored
from retrieval.deadline import Cancelled
from retrieval.fusion.cascade import reorder
from retrieval.fusion.normalization import first_of_each, ranking, zscore

if TYPE_CHECKING:
    from retrieval.cross_encoder.cross_encoder import CrossEncoder

log = logging.getLogger(__name__)

NAME = "cross_encoder"
_MOST = 0.6  # weight of its z-scores where it agrees with fusion altogether; best on seven collections, for each eighth


@dataclass(frozen=True)
class CrossEncoding:
    """A cross-encoder, and how many documents it may read."""

    encoder: CrossEncoder
    top_k: int = 10

    def logits(
        self, job: Job, scored: Scored, chunks: Sequence[str], copies: NDArray[np.int64], until: float
    ) -> NDArray[np.float64]:
        """The (n,) logits of the documents that stand highest, NaN for the others. Copies are read once.

        Where texts are excluded or documents should differ, those stand highest that do so then.

        What is not read in time, or cannot be read, is left out, and the job says so.

        Args:
            job: The request.
            scored: The n documents.
            chunks: What is read of each of the n documents.
            copies: (n,) of `Candidates.copies`.
            until: Time limit, in `time.monotonic()` seconds.
        """
        of_texts = np.full(len(chunks), np.nan)  # at the place where each text comes first
        was_read, order = scored.chunks_read > 0, ranking(scored.scores)
        known = order[was_read[order]]
        best = known[first_of_each(copies[known])][: self.top_k]
        with job.watch(NAME):
            try:
                read = self.encoder.scores(job.query, [chunks[at] for at in best.tolist()], until, job.deadline)
                of_texts[copies[best]] = read
            except Cancelled:
                raise
            except Exception:  # the answer is given without it
                log.exception("the cross-encoder failed; requests are answered without it")
        if not len(best) or np.isnan(of_texts[copies[best]]).any():
            job.dropped.append(NAME)
        return np.where(was_read, of_texts[copies], np.nan)


def add(fused: NDArray[np.float64], logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reorder the documents that were read, by fused scores and logits together.

    Logits count as much as they agree with the fused scores, by correlation: a cross-encoder that does not know the
    language or the subject changes little.

    Args:
        fused: (n,) scores.
        logits: (n,), NaN if not read.
    """
    read = np.isfinite(logits)
    agreement = float(np.mean(zscore(fused[read]) * zscore(logits[read]))) if read.any() else 0.0
    return reorder(fused, logits, _MOST * max(0.0, agreement))
