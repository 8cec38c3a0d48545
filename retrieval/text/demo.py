"""The demo collection: Python's language reference, as `help()` shows it; available on every machine."""

from __future__ import annotations

import re
from pydoc_data.topics import topics

from retrieval.text.passages import Passage, split_passages

# A line of one repeated character under a heading.
_UNDERLINE = re.compile(r"^[ ]*([*=~^\-])\1{2,}[ ]*\n?", re.MULTILINE)


def demo_passages() -> list[Passage]:
    """Return the help topics of the running Python as passages, in a fixed order.

    The id is "topic-number" ("with-2" is the second passage of `help("with")`), the title is the topic's heading.
    """
    passages = []
    for topic in sorted(topics):
        heading, _, body = topics[topic].strip().partition("\n")
        for number, text in enumerate(split_passages(_UNDERLINE.sub("", body)), 1):
            passages.append(Passage(f"{topic}-{number}", heading.strip(), text))
    return passages
