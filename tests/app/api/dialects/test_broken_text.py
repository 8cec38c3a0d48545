"""Detection of the field whose text is not Unicode."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.dialects.broken_text import broken_text

HALF, BYTES = "holds half of a character", "holds bytes that are not UTF-8"


@pytest.mark.parametrize(
    ("body", "name", "fault"),
    [
        (rb'{"documents": ["a", "b", "c", "\ud800"]}', "document 3", HALF),
        (rb'{"documents": ["\ud83d\ude00", "cut \ud83d"]}', "document 1", HALF),
        (rb'{"documents": ["a", {"text": "b", "title": "\udfff"}]}', "document 1", HALF),
        (rb'{"documents": [{"a": {"b": [1, "\uDBFF"]}}]}', "document 0", HALF),
        (rb'{"candidates": ["a", "\ude00\ud83d"]}', "document 1", HALF),
        (rb'{"input": {"query": "q", "documents": ["a", "\ud800"]}}', "document 1", HALF),
        (rb'{"texts": ["a", "\ud800"]}', "entry 1 of `texts`", HALF),
        (rb'{"input": ["a", "\ud800"]}', "entry 1 of `input`", HALF),
        (rb'{"passages": [{"text": "\ud800"}]}', "entry 0 of `passages`", HALF),
        (rb'{"queries": ["\ud800"]}', "entry 0 of `queries`", HALF),
        (rb'{"exclude": ["a", "\ud800"]}', "entry 1 of `exclude`", HALF),
        (rb'{"query": "\ud800"}', "`query`", HALF),
        (rb'{"query": {"text": "\ud800"}}', "`query.text`", HALF),
        (rb'{"text2": "\ud800", "text1": "\ud800"}', "`text2`", HALF),
        (rb'{"query": "q", "\ud800": 1}', "the body", HALF),
        (rb'["\ud800"]', "the body", HALF),
        (b'{"documents": ["a", "caf\xe9"]}', "document 1", BYTES),
        (b'{"documents": ["a", "\xed\xa0\x80"]}', "document 1", BYTES),
        (b'{"query": "\xff"}', "`query`", BYTES),
        (rb'{"%s": "\ud800"}' % (b"x" * 100), "`%s`" % ("x" * 64), HALF),
    ],
)
def test_the_field_and_the_fault_are_named(body, name, fault):
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(body)
    assert broken_text(body).startswith(f"{name} {fault}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        rb'{"documents": ["\ud800"]',
        rb'{"query": "\ud83d\ude00", "top_n": NaN}',
        b'{"query": "\xff"',
        b'{"top_n": 01}',
        b"[" * 100_000,
        rb'["\u0000", ' + b"1" * 5000 + b"]",
        rb'["\ud800", "' + b"x" * 2**22 + b'"]',
    ],
)
def test_other_faults_are_not_reported_as_broken_text(body):
    assert broken_text(body) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(values, max_size=3), values, st.text(), st.lists(values, max_size=3))
def test_the_first_broken_document_is_named_among_any_others(before, beside, text, after):
    bad = {"beside": beside, "text": text + "\ud800"}
    body = json.dumps({"query": "q", "documents": [*before, bad, *after, bad]}).encode()
    assert broken_text(body).startswith(f"document {len(before)} {HALF}")


@given(values)
def test_valid_text_is_never_reported(value):
    for ensure_ascii in (False, True):
        assert broken_text(json.dumps(value, ensure_ascii=ensure_ascii).encode()) is None
