"""The demo collection: large enough to search, clean and deterministic."""

import re

from retrieval.text.demo import demo_passages


def test_passages_are_many_named_and_bounded() -> None:
    passages = demo_passages()
    assert len(passages) > 500
    assert len({passage.id for passage in passages}) == len(passages)
    assert all(re.fullmatch(r"[\w-]+-\d+", passage.id) and passage.title for passage in passages)
    assert all(1 <= len(passage.text.split()) <= 120 for passage in passages)
    assert demo_passages() == passages


def test_underlines_are_gone_and_the_text_is_there() -> None:
    passages = {passage.id: passage for passage in demo_passages()}
    assert not any(re.search(r"^\s*(\*{3,}|={3,}|~{3,})\s*$", p.text, re.MULTILINE) for p in passages.values())
    assert passages["with-1"].title == 'The "with" statement'
    assert "context manager" in passages["with-1"].text
