"""Documents in a field that no dialect has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.dialects.misnamed import refuse_misnamed
from app.errors import InvalidRequest

KNOWN = {"query", "exclude", "rank_fields", "relevant_spans", "model", "documents"}


@pytest.mark.parametrize(
    "value",
    [["secret"], [{"text": "secret"}], [{"title": "secret"}], [1, "secret"], [["q", "secret"]], [[{"text": "secret"}]]],
)
@pytest.mark.parametrize(
    "name", ["passages", "docs", "contexts", "inputs", "chunks", "candidates_list", "Documents", "x"]
)
def test_a_list_of_texts_or_objects_is_refused_under_any_name(name, value):
    with pytest.raises(InvalidRequest, match=f"`{name}` holds texts.*send them as `documents`") as refused:
        refuse_misnamed({"query": "q", "exclude": ["a"], name: value}, KNOWN)
    assert refused.value.where == (name,)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("docs", {"1": "secret", "2": "secret"}),
        ("docs", {"1": {"text": "secret"}}),
        ("docs", {"items": [{"title": "secret"}]}),
        ("passage", {"title": "secret"}),
        ("payload", {"documents": ["secret"]}),
        ("payload", {"text": "secret"}),
        ("document", "secret"),
        ("Text", "secret"),
        ("docs", []),
        ("contexts", []),
    ],
)
def test_an_object_or_a_text_is_refused_under_a_name_for_texts(name, value):
    with pytest.raises(InvalidRequest, match=f"`{name}` holds texts"):
        refuse_misnamed({name: value}, KNOWN)


@pytest.mark.parametrize(
    "fields",
    [
        {"exclude": ["a"], "rank_fields": ["text"], "relevant_spans": {"mode": "enabled"}, "model": {"text": "m"}},
        {"instruction": "find birds", "user": "me", "truncate_prompt_tokens": -1, "kwargs": "{}", "priority": 1},
        {"user": {"id": 3, "groups": [1]}, "metadata": {"team": "search"}, "filter": {"lang": ["en"]}},
        {"vectors": [[0.1, 0.2]], "ids": [1, 2], "flags": [True, None], "tags": [], "docs": None},
        {"text": "", "docs": {}, "context": {"session": 3}, "chunks": 5, "document": False},
    ],
)
def test_other_unknown_fields_are_ignored(fields):
    refuse_misnamed(fields, KNOWN)


@given(st.text(min_size=1), st.lists(st.integers() | st.text(), min_size=1))
def test_the_error_names_any_field_and_never_repeats_a_text(name, values):
    values = [f"secret {value}" for value in values]
    with pytest.raises(InvalidRequest) as refused:
        refuse_misnamed({name: values}, ())
    assert refused.value.where == (name[:64],)
    assert len(str(refused.value)) < 400
