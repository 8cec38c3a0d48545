import pytest

from app.errors import MalformedBody
from app.wire.body import fields_of


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_json_may_be_nested_as_deep_as_an_answer_can_repeat():
    fields_of(nested(240))
    for depth in (241, 1024, 10**5):
        with pytest.raises(MalformedBody, match=r"depth|deeper"):
            fields_of(nested(depth))


def test_brackets_in_texts_are_no_levels():
    assert fields_of(b'["' + b"[{" * 10**5 + b'"]') == ["[{" * 10**5]
