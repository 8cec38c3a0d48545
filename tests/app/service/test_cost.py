import pytest

from app.engine.admission import pieces, size_of
from app.errors import TooLarge
from app.quotas.quotas import Cost
from app.service.cost import check, of_embeddings, of_rerank, of_similarity
from app.service.request import RerankRequest, SpanOptions
from app.settings import LimitSettings

LIMITS = LimitSettings()
SHORT = ["an owl"] * 10


def rerank(texts=SHORT, query="owl", *, reported=False, **more) -> int:
    asked = RerankRequest(query, texts, texts, **more)
    return of_rerank(asked, "hybrid", LIMITS, 100, reported=reported).units


@pytest.mark.parametrize(("length", "expected"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (16_000, 16), (10**7, 16)])
def test_a_text_is_so_many_pieces(length, expected):
    assert pieces("x" * length, 16) == expected


def test_short_documents_take_one_unit_each():
    assert rerank() == 10
    assert of_rerank(RerankRequest("owl", None), "hybrid", LIMITS, 100).units == 100
    assert of_similarity(["a", "b", "c"], SHORT, "hybrid", LIMITS) == Cost(10, 30, "hybrid")
    assert of_embeddings(SHORT) == Cost(10, 10, "embedding")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"texts": ["x" * 5000] * 10}, 50),
        ({"texts": ["x" * 50_000] * 10}, 160),
        ({"texts": ["x" * 50_000] * 10, "max_chunks": 2}, 20),
        ({"texts": ["x" * 50_000] * 10, "max_chunks": 200}, 160),
        ({"query": "x" * 9_500}, 19),
        ({"exclude": ("an owl",)}, 11),
        ({"exclude": ("x" * 9_500,) * 3}, 40),
        ({"spans": SpanOptions()}, 20),
        ({"spans": SpanOptions(), "top_n": 3}, 13),
        ({"reported": True}, 10),
        ({"texts": SHORT * 50, "reported": True}, 900),
    ],
)
def test_what_makes_more_work_takes_more(more, expected):
    assert rerank(**more) == expected


def test_the_limit_is_told_with_both_numbers():
    limits = LIMITS.model_copy(update={"units": 10})
    check(Cost(10, 10), limits)
    with pytest.raises(TooLarge, match=r"takes 11 units of work .* at most 10 are taken"):
        check(Cost(10, 11), limits)


def test_what_the_model_must_read_is_most_of_the_size():
    assert size_of([], 0, 16) == 1
    assert size_of(SHORT, 10, 16) == 1 + 10 + 0.2
    assert size_of([], 1000, 16) == 21
