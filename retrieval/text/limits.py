"""How much of a text is looked at, and how many texts between two looks at the clock.

Whatever is done to a text takes time and memory in proportion to its length. So its length is bounded before it is
normalised, hashed, tokenised or stemmed, and whoever goes through many texts looks at the clock between them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

# Written language takes fewer than ten, in any script. More is taken by runs of white space, invisible characters and
# words without end only.
CODE_POINTS_PER_TOKEN = 32

AT_ONCE = 2**16  # code points that are tokenised between two looks at the clock: 20 ms of English, 100 of Chinese
_ALWAYS = 2**18  # code points that are looked at however late it is: those of 200 usual documents


def most_code_points(tokens: int) -> int:
    """How much of a text is looked at to find so many tokens; a usual text has them in a third of it."""
    return CODE_POINTS_PER_TOKEN * tokens


def runs(lengths: Sequence[int], code_points: int = AT_ONCE, count: int | None = None) -> Iterator[slice]:
    """Cut n texts of these lengths into runs of at most so many code points, or of one text, and of at most `count`."""
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
    """Says of one text after the other whether there is time for it.

    There always is for the first 2**18 code points, so that what a usual request gets does not depend on the clock; for
    the rest until a point in time.
    """

    def __init__(self, until: float) -> None:
        """until: `time.monotonic()` seconds."""
        self._until, self._free = until, _ALWAYS

    def covers(self, text: str) -> bool:
        """Whether there is time for this text, which is counted."""
        self._free -= len(text)
        return self._free >= 0 or time.monotonic() < self._until
