import gzip
import tracemalloc
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.dialects.body import check_lists, fields_of, memory_of, validate
from app.api.dialects.cohere import StandardBody
from app.api.dialects.keys import KeyBody, RotationBody
from app.api.dialects.similarity import BatchSimilarityBody, SimilarityBody
from app.errors import InvalidRequest, MalformedBody, TooLarge
from app.service.request import SpanOptions


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_json_may_be_nested_as_deep_as_a_response_can_return():
    fields_of(nested(240))
    for depth in (241, 1024, 10**5):
        with pytest.raises(MalformedBody, match=r"depth|deeper"):
            fields_of(nested(depth))


def test_brackets_in_texts_do_not_count_as_levels():
    assert fields_of(b'["' + b"[{" * 10**5 + b'"]') == ["[{" * 10**5]


def test_a_byte_order_mark_is_skipped_once():
    assert fields_of("\ufeff [1]".encode()) == [1]
    assert fields_of('"\ufeff"'.encode()) == "\ufeff"
    with pytest.raises(MalformedBody):
        fields_of("\ufeff\ufeff[1]".encode())


def test_a_lone_surrogate_is_refused_with_its_document():
    with pytest.raises(
        MalformedBody, match=r"not JSON in UTF-8: document 1 holds half of a character.*cut texts between"
    ):
        fields_of(rb'{"query": "secret", "documents": ["a", "secret \ud83d"]}')


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (gzip.compress(b"{}", mtime=0), "compressed"),
        ("{}".encode("utf-16"), "UTF-16"),
        (b"\xfe\xff\x00{\x00}", "UTF-16"),
    ],
)
def test_what_is_no_text_at_all_is_named(body, what):
    with pytest.raises(MalformedBody, match=f"not JSON in UTF-8: it is {what}"):
        fields_of(body)


# Zero width space, joiners, byte order mark, soft hyphen, left-to-right mark, word joiner, a tag.
INVISIBLE = [
    "\u200b",
    "\u200c\u200d",
    "\ufeff",
    "\xad",
    "\u200e",
    "\u2060",
    "\U000e0041",
    "\x00",
    "\x1b",
    " \u200b\n\xad\t",
]


@pytest.mark.parametrize("text", INVISIBLE)
@pytest.mark.parametrize(
    ("body", "path"),
    [
        (lambda text: (StandardBody, {"query": text, "documents": ["a"]}), "query"),
        (lambda text: (StandardBody, {"query": {"text": text}, "documents": ["a"]}), "query"),
        (lambda text: (StandardBody, {"query": "q", "documents": ["a"], "exclude": ["b", text]}), "exclude.1"),
        (lambda text: (StandardBody, {"query": "q", "documents": ["a"], "exclude": text}), "exclude.0"),
        (lambda text: (SimilarityBody, {"text1": text, "text2": "a"}), "text1"),
        (lambda text: (BatchSimilarityBody, {"queries": ["q", text], "documents": ["a"]}), "queries.1"),
    ],
)
def test_a_text_without_a_visible_character_is_empty(body, path, text):
    with pytest.raises(InvalidRequest, match=f"^{path}: must not be empty$"):
        validate(*body(text))


@given(st.text())
def test_a_query_is_kept_exactly_if_it_has_a_visible_character(text):
    body = {"query": text, "documents": ["a"]}
    if any(unicodedata.category(char)[0] not in "CZ" or unicodedata.category(char) in {"Cn", "Co"} for char in text):
        assert validate(StandardBody, body).query == text.strip()
    else:
        with pytest.raises(InvalidRequest, match="must not be empty"):
            validate(StandardBody, body)


DEFAULTS = SpanOptions()


@pytest.mark.parametrize(
    ("sent", "options"),
    [
        (True, DEFAULTS),
        ("true", DEFAULTS),
        ("True", DEFAULTS),
        (1, DEFAULTS),
        ("enabled", DEFAULTS),
        ({}, DEFAULTS),
        ({"mode": "enabled"}, DEFAULTS),
        ({"mode": None, "max_spans": "2"}, SpanOptions(DEFAULTS.threshold, 2)),
        ({"threshold": 0}, SpanOptions(0.0)),
        (False, None),
        ("false", None),
        (0, None),
        ("disabled", None),
        ({"mode": "disabled", "threshold": 0.5}, None),
        (None, None),
    ],
)
def test_relevant_spans_take_options_or_one_word(sent, options):
    body = validate(StandardBody, {"query": "q", "documents": ["a"], "relevant_spans": sent})
    assert body.to_request().spans == options


def test_null_means_the_same_as_leaving_a_field_out_of_a_key():
    for body in (KeyBody, RotationBody):
        assert validate(body, dict.fromkeys(body.model_fields)) == body()


@pytest.mark.parametrize("sent", ["perhaps", "", 2, 0.5, [], [True]])
def test_other_values_of_relevant_spans_are_refused(sent):
    with pytest.raises(InvalidRequest, match=r"^relevant_spans: must be true, false, or an object with `mode`"):
        validate(StandardBody, {"query": "q", "documents": ["a"], "relevant_spans": sent})


@pytest.mark.parametrize(
    ("model", "field"),
    [
        *((StandardBody, name) for name in ("top_n", "max_tokens_per_doc", "max_chunks_per_doc", "deadline_ms")),
        *((BatchSimilarityBody, name) for name in ("top_k", "threshold", "deadline_ms")),
        (SimilarityBody, "deadline_ms"),
        (KeyBody, "expires_days"),
        (RotationBody, "overlap_hours"),
    ],
)
def test_true_is_not_a_number(model, field):
    """As 1 it would limit documents to one token, or let a key expire after a day."""
    fields = {} if model in {KeyBody, RotationBody} else {"query": "q", "document": "d", "documents": ["a"]}
    assert validate(model, fields | {field: 1})
    with pytest.raises(InvalidRequest, match=f"^{field}: must be a number, not true$"):
        validate(model, fields | {field: True})


@pytest.mark.parametrize(
    ("fields", "noun"),
    [
        ({"documents": ["a"] * 4}, "4 documents"),
        ({"texts": ["a"] * 4}, "4 documents"),
        ({"input": {"documents": [{}] * 4}}, "4 documents"),
        ({"exclude": ["a"] * 4, "documents": ["a"]}, "4 entries of `exclude`"),
        ({"metadata": {"x" * 100: [None] * 4}}, f"4 entries of `{'x' * 64}`"),
    ],
)
def test_a_list_that_is_too_long_is_refused_before_validation(fields, noun):
    check_lists(fields, 5)
    with pytest.raises(TooLarge, match=f"{noun} were sent and at most 3"):
        check_lists(fields, 3)


def test_duplicate_names_count_once():
    body = {"query": "q", "documents": [{"a": "x"}], "rank_fields": ["a"] * 15_000}
    assert validate(StandardBody, body).to_request().texts == ["x"]
    with pytest.raises(InvalidRequest, match="rank_fields"):
        validate(StandardBody, body | {"rank_fields": [f"name{i}" for i in range(65)]})


@pytest.mark.parametrize(
    "value",
    [
        [{"a": 1}] * 50_000,
        [[]] * 200_000,
        [1.5] * 100_000,
        ["ab"] * 100_000,
        {f"key{i}": i for i in range(50_000)},
        "x" * 500_000 + "\U0001f989",
        "\u00e9" * 300_000,
        "plain" * 100_000,
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_memory_of_a_body_is_estimated_before_parsing(value):
    body = orjson.dumps({"value": value})
    tracemalloc.start()
    try:
        fields = fields_of(body)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert fields
    assert used <= 1.2 * memory_of(body) + 10_000
    assert memory_of(body) <= 4 * used + len(body)
