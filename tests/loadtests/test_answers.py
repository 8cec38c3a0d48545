import orjson
import pytest

from loadtests.answers import Refused, Wrong, check


def ranked(indices=range(10), scores=None):
    scores = [1 - 0.01 * place for place in range(len(list(indices)))] if scores is None else scores
    results = [{"index": index, "relevance_score": score} for index, score in zip(indices, scores, strict=True)]
    return orjson.dumps({"results": results})


def test_a_right_answer():
    check("small", 200, ranked())
    check("large", 200, ranked(range(90, 100)))
    check("similarity", 200, b'{"similarity":1.0}')


def test_equal_scores_are_in_order():
    check("small", 200, ranked(scores=[0.5] * 10))


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_is_no_failure(status):
    with pytest.raises(Refused, match=f"refused with {status}"):
        check("small", status, b"")


@pytest.mark.parametrize(
    ("kind", "status", "body", "reason"),
    [
        ("small", 500, b"oh", "status 500: oh"),
        ("small", 200, b"{", "not an answer: JSONDecodeError"),
        ("small", 200, b"{}", "not an answer: KeyError"),
        ("small", 200, b"[]", "not an answer: TypeError"),
        ("medium", 200, ranked(range(9)), "10 results were asked for, not 9"),
        ("small", 200, ranked([*range(9), 10]), "an index is none"),
        ("small", 200, ranked([*range(9), 8]), "there twice"),
        ("small", 200, ranked(scores=[0.1, *(0.05,) * 8, 0.06]), "not in order"),
        ("similarity", 200, b'{"similarity":1.01}', "outside"),
        ("similarity", 200, b'{"similarity":null}', "not an answer"),
    ],
)
def test_a_wrong_answer_is_a_failure(kind, status, body, reason):
    with pytest.raises(Wrong, match=reason):
        check(kind, status, body)
