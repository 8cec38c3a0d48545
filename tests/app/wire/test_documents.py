import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.wire.documents import as_object, text_of


@pytest.mark.parametrize(
    ("document", "fields", "text"),
    [
        ("plain", None, "plain"),
        ("plain", ["title"], "plain"),
        ("", None, ""),
        ({"text": "t", "title": "x"}, None, "t"),
        ({"text": "t", "title": "x"}, ["title", "text"], "x\nt"),
        ({"text": "t", "title": "x"}, ["text", "title", "nope"], "t\nx"),
        ({"year": 1926, "tags": ["a"]}, ["year", "tags"], '1926\n["a"]'),
        ({"text": "t"}, [], "t"),
        ({"title": "x", "body": "b", "none": None}, None, "title: x\nbody: b"),
        ({"text": 3, "n": 1}, None, "text: 3\nn: 1"),
        ({"content": "c"}, None, "c"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, None, "a\nb"),
        ({"content": {"type": "text", "text": "a"}}, None, "a"),
    ],
)
def test_what_is_ranked(document, fields, text):
    assert text_of(document, 0, fields) == text


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({}, None),
        ({"image": "x.png"}, None),
        ({"content": []}, None),
        ({"content": [{"type": "image_url", "image_url": "x"}]}, None),
        ({"content": [{"text": "a"}, {"image": "b"}]}, None),
        ({"text": "t"}, ["title"]),
        ({"title": None}, ["title"]),
    ],
)
def test_a_document_without_text_is_named(document, fields):
    with pytest.raises(InvalidRequest, match="document 7") as error:
        text_of(document, 7, fields)
    assert error.value.where == ("documents", 7)


def test_shown_as_an_object_with_its_text():
    assert as_object("a", "a") == {"text": "a"}
    assert as_object({"text": "a", "page": 3}, "other") == {"text": "a", "page": 3}
    assert as_object({"title": "a"}, "title: a") == {"title": "a", "text": "title: a"}


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), min_size=1))
def test_any_object_has_a_text_or_is_refused(document):
    try:
        text = text_of(document, 0)
    except InvalidRequest:
        return
    assert as_object(document, text)["text"] == text
