import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.dialects.documents import as_object, as_text, text_of, with_text
from app.errors import InvalidRequest


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
        ({"text": None, "content": None, "image": None, "title": "t"}, None, "title: t"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, None, "a\nb"),
        ({"content": {"type": "text", "text": "a"}}, None, "a"),
    ],
)
def test_the_ranked_text(document, fields, text):
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


def test_a_document_in_another_field_is_named_there():
    with pytest.raises(InvalidRequest, match="document 7") as error:
        text_of({}, 7, field=("input", "documents"))
    assert error.value.where == ("input", "documents", 7)


def test_a_string_is_returned_as_its_text():
    assert as_object("a", "a") == with_text("a", "a") == {"text": "a"}
    assert as_text("a", "a") == "a"


@pytest.mark.parametrize("text", [None, 3, ["a"]])
def test_a_text_that_is_none_is_returned_as_what_was_ranked(text):
    assert with_text({"text": text, "title": "t"}, "title: t") == {"text": "title: t", "title": "t"}


names = st.sampled_from(["text", "title", "content"]) | st.text()
plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()


@given(st.dictionaries(names, plain | st.lists(plain), min_size=1))
def test_any_object_is_ranked_or_refused_and_never_modified(document):
    sent = dict(document)
    try:
        text = text_of(document, 0)
    except InvalidRequest:
        return
    assert as_object(document, text) == sent
    assert with_text(document, text) == sent | {"text": sent["text"] if isinstance(sent.get("text"), str) else text}
    assert as_text(document, text) == text
    assert document == sent
