"""A collection that every machine has: Python's own language reference, as `help()` shows it."""

from __future__ import annotations

import re
from pydoc_data.topics import topics

from retrieval.text.passages import Passage, split_passages

# A line of one repeated mark under a heading; it says nothing to a reader of passages.
_UNDERLINE = re.compile(r"^[ ]*([*=~^\-])\1{2,}[ ]*\n?", re.MULTILINE)


def demo_passages() -> list[Passage]:
    """The help topics of the running Python as passages, always in the same order.

    Each has the id "topic-number" ("with-2" is the second passage of `help("with")`) and the topic's heading as title.
    """
    passages = []
    for topic in sorted(topics):
        heading, _, body = topics[topic].strip().partition("\n")
        for number, text in enumerate(split_passages(_UNDERLINE.sub("", body)), 1):
            passages.append(Passage(f"{topic}-{number}", heading.strip(), text))
    return passages
