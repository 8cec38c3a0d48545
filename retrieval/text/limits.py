"""Limits on the length of texts, and on the work between two checks of a time limit.

Processing a text takes time and memory proportional to its length. So texts are truncated before they are normalised,
hashed, tokenised or stemmed, and loops over many texts check the time in between.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

# Natural language has fewer than ten, in any script. Only runs of white space, invisible characters and extremely long
# words have more.
CODE_POINTS_PER_TOKEN = 32

AT_ONCE = 2**16  # code points tokenised between two checks of the time: 20 ms of English, 100 ms of Chinese
_ALWAYS = 2**18  # code points that are always processed: about 200 typical documents


def most_code_points(tokens: int) -> int:
    """Return the code points after which to truncate a text for this many tokens; typical texts need a third."""
    return CODE_POINTS_PER_TOKEN * tokens


def runs(lengths: Sequence[int], code_points: int = AT_ONCE, count: int | None = None) -> Iterator[slice]:
    """Group n consecutive texts into batches, as slices.

    Args:
        lengths: (n,) lengths of the texts in code points.
        code_points: The most code points in a batch of more than one text.
        count: The most texts in a batch; None for no limit.
    """
    start = total = 0
    for at, length in enumerate(lengths):
        if at > start and (at - start == count or total + length > code_points):
            yield slice(start, at)
            start = at
            total = 0
        total += length
    if lengths:
        yield slice(start, len(lengths))


class Allowance:
    """Decides for each text in turn whether there is time to process it.

    The first 2**18 code points are always allowed, so that results of typical requests do not depend on timing; later
    texts are allowed until a time limit.
    """

    def __init__(self, until: float) -> None:
        """until: the time limit, in `time.monotonic()` seconds."""
        self._until, self._free = until, _ALWAYS

    def covers(self, text: str) -> bool:
        """Whether there is time for this text; its length is counted."""
        self._free -= len(text)
        return self._free >= 0 or time.monotonic() < self._until
