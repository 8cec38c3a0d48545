import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.dialects.detect import dialect_of
from scripts.rollout.questions import LARGE, OVER_HTTP, Question, Wrong, check, final_of, question, rows_of

ASKED = Question("owl", ("a road", "an owl", "a river"), 1)
RIGHT = [(1, 0.9), (0, 0.5), (2, 0.5)]


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(2, 60))
def test_no_text_is_in_two_questions(one, other, documents):
    first, second = question(one, documents), question(other, documents)
    texts = {*first.documents, first.query}
    assert len(texts) == documents + 1
    assert (one == other) == bool(texts & {*second.documents, second.query})


@given(st.integers(1, 10**6), st.integers(2, 60))
def test_one_document_alone_has_the_words_of_the_query(number, documents):
    asked = question(number, documents)
    case = asked.query.rsplit(" ", 1)[1]
    assert [at for at, text in enumerate(asked.documents) if case in text] == [asked.right]


def test_the_right_one_is_not_always_in_one_place():
    assert {question(number, 8).right for number in range(100)} == set(range(8))


def test_a_right_answer_passes():
    check(ASKED, RIGHT)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([(1, 0.9), (0, 0.5)], "3 documents were sent, 2 came back"),
        ([(1, 0.9), (0, 0.5), (0, 0.4)], "not each once"),
        ([(1, 0.9), (0, 0.5), (3, 0.4)], "not each once"),
        ([(1, 0.5), (0, 0.9), (2, 0.4)], "not in order"),
        ([(0, 0.9), (1, 0.5), (2, 0.4)], "document 0 came first, and 1 has"),
    ],
)
def test_a_wrong_answer_does_not(rows, why):
    with pytest.raises(Wrong, match=why):
        check(ASKED, rows)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_stream_ends_with_the_answer(end):
    events = ["event: order", 'data: {"a":1}', "", "event: final", 'data: {"b": 2}', "id: 5", "", ""]
    assert final_of(end.join(events).encode()) == b'{"b": 2}'


@pytest.mark.parametrize("stream", [b"", b'event: order\ndata: {"a":1}\n\n', b'event: error\ndata: {"a":1}\n\n'])
def test_a_stream_that_ends_otherwise_is_no_answer(stream):
    with pytest.raises(Wrong, match="the stream ended with"):
        final_of(stream)


def test_rows_are_read_by_the_names_that_a_dialect_has():
    assert rows_of([{"index": 1, "score": 0.5}], "score") == [(1, 0.5)]
    with pytest.raises(KeyError):
        rows_of([{"index": 1, "score": 0.5}])


def test_bodies_are_of_the_dialects_that_they_are_meant_to_be():
    found = {each.name: dialect_of(each.body(ASKED), each.path, {}).name for each in OVER_HTTP}
    assert found == {
        "Cohere": "standard",
        "Jina": "standard",
        "TEI": "tei",
        "Voyage": "voyage",
        "mixedbread": "mixedbread",
        "stream": "standard",
        "large": "standard",
    }
    assert LARGE.documents > 50
