"""Verification of responses in rehearsals: lost, wrong and incomplete ones must fail."""

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.rehearsal.load import DOCUMENTS, RERANK, SEARCH, STREAM, Failed, Load, Question
from scripts.trial import free_port
from tests.app.live import live
from tests.waiting import eventually

ASKED = Question(RERANK, DOCUMENTS + 1)  # about document 1
RIGHT = [1, 0, *range(2, DOCUMENTS)]


def answer(indexes, scores=None):
    scores = scores or [1 - at / 100 for at in range(len(indexes))]
    results = [{"index": index, "relevance_score": score} for index, score in zip(indexes, scores, strict=True)]
    return json.dumps({"results": results}).encode()


def judge(body, status=200):
    ASKED.judge(httpx.Response(status, content=body, request=httpx.Request("POST", "http://a")))


def stream(*events):
    return "".join(f"event: {name}\ndata: {data.decode()}\nid: 1\n\n" for name, data in events).encode()


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_no_document_is_in_two_questions_and_one_alone_has_the_words_of_the_query(one, other):
    first, second = (Question(RERANK, number).body["documents"] for number in (one, other))
    assert len({*first}) == DOCUMENTS
    assert (one == other) == bool({*first} & {*second})
    case = Question(RERANK, one).body["query"].rsplit(" ", 1)[1]
    assert [at for at, text in enumerate(first) if case in text] == [Question(RERANK, one).right]


@pytest.mark.parametrize("body", [answer(RIGHT), stream(("order", answer([0])), ("final", answer(RIGHT)))])
def test_a_right_answer_passes_in_every_form(body):
    judge(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (answer(RIGHT[:-1]), "expected 10 different documents"),
        (answer([*RIGHT[:-1], 0]), "expected 10 different documents"),
        (answer(RIGHT, [*[0.5] * 9, 0.6]), "in order of score"),
        (answer(range(DOCUMENTS)), "document 0 is first, but 1 contains"),
        (b'{"detail": "no"}', "KeyError"),
        (b"nonsense", "JSONDecodeError"),
        (stream(("order", answer(RIGHT)), ("error", b"{}")), "JSONDecodeError"),
    ],
)
def test_a_wrong_answer_does_not(body, why):
    with pytest.raises(Failed, match=why):
        judge(body)
    with pytest.raises(Failed, match="503"):
        judge(answer(RIGHT), 503)


def test_the_service_answers_rightly_and_what_one_server_does_not_the_next_one_does(hash_settings, monkeypatch):
    with live(hash_settings, monkeypatch) as here:
        url, nobody = f"http://127.0.0.1:{here.port}", f"http://127.0.0.1:{free_port()}"
        with Load("any", nobody, url, paths=(RERANK, STREAM), attempts=2) as load:
            eventually(lambda: len(load.sent) >= 8)
        assert load.lossless(), load
        assert 0 < load.failed < len(load.sent)
        assert "Connection refused" in str(load)
        with Load("any", url, paths=[SEARCH]) as lost:  # the collection does not exist
            eventually(lambda: lost.sent)
        assert not lost.lossless()
