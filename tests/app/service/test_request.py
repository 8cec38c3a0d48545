"""What is decided about a request: its limits, its cost, its deadline."""

import pytest

from app.engine.admission import pieces, size_of
from app.engine.engine import ModelRegistry
from app.errors import InvalidRequest, TooLarge
from app.identity import ANONYMOUS, Identity
from app.quotas.quotas import Cost
from app.ranking.reranker import Reranker
from app.service import embeddings, similarity
from app.service.request import RerankRequest, SpanOptions, checked, deadline_of, resolve
from app.settings import LimitSettings, Settings
from retrieval.encoder.hash_encoder import HashEncoder

MODELS = ModelRegistry({"hash": Reranker(HashEncoder())}, {"words": "hash:classical"})
SETTINGS = Settings(model="hash", default_collection="birds")
SHORT = ["an owl"] * 10


class Asked:
    """A body of similarity or embeddings."""

    def __init__(self, **fields):
        self.method = self.deadline_ms = self.model = self.dimensions = None
        self.__dict__ |= fields


def units(texts=SHORT, query="owl", *, partial_rankings=False, **more) -> int:
    return resolve(
        RerankRequest(query, texts, texts or (), **more),
        MODELS,
        SETTINGS,
        "ada",
        ANONYMOUS,
        partial_rankings=partial_rankings,
    ).cost.units


@pytest.mark.parametrize(("length", "expected"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (16_000, 16), (10**7, 16)])
def test_a_text_is_so_many_pieces(length, expected):
    assert pieces(["x" * length], 16) == expected


def test_short_documents_take_one_unit_each():
    assert units() == 10
    assert units(None) == 100
    three = ["a", "b", "c"]
    pairs = similarity.resolve(Asked(), three, SHORT, MODELS, SETTINGS, "ada", explain=False)
    assert pairs.cost == Cost(10, 30, "hybrid")
    assert embeddings.resolve(Asked(input=SHORT), MODELS, SETTINGS, "ada").cost == Cost(10, 10, "embedding")


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
        ({"partial_rankings": True}, 10),
        ({"texts": SHORT * 50, "partial_rankings": True}, 900),
    ],
)
def test_what_makes_more_work_takes_more(more, expected):
    assert units(**more) == expected


def test_the_limit_is_told_with_both_numbers():
    limits = LimitSettings(units=10)
    checked(Cost(10, 10), limits)
    with pytest.raises(TooLarge, match=r"takes 11 units of work .* at most 10 are taken"):
        checked(Cost(10, 11), limits)


def test_what_the_model_must_read_is_most_of_the_size():
    assert size_of([], 0, 16) == 1
    assert size_of(SHORT, 10, 16) == 1 + 10 + 0.2
    assert size_of([], 1000, 16) == 21


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (RerankRequest("owls", ["a"], ["a"]), "the query has 4 characters and at most 3"),
        (RerankRequest("owl", ["a"], ["a"], exclude=("x", "y")), "2 texts are excluded and at most 1"),
        (RerankRequest("owl", ["a"], ["a"], exclude=("xxxx",)), "an excluded text has 4 characters and at most 3"),
        (RerankRequest("owl", ["a"], ["a"], exclude=("xxx",)), None),
    ],
)
def test_limits_name_both_numbers(asked, message):
    settings = Settings(model="hash", limits=LimitSettings(query_characters=3, excluded_texts=1))
    if message is None:
        resolve(asked, MODELS, settings, "ada", ANONYMOUS)
    else:
        with pytest.raises(TooLarge, match=message):
            resolve(asked, MODELS, settings, "ada", ANONYMOUS)


def test_nothing_to_rank_is_said():
    with pytest.raises(InvalidRequest, match="nothing to rank"):
        resolve(RerankRequest("owl", None), MODELS, Settings(model="hash"), "ada", ANONYMOUS)


def test_a_default_collection_that_the_caller_may_not_see_is_none():
    limited = Identity("ada", "user", "unlimited", collections=("papers",))
    with pytest.raises(InvalidRequest, match="nothing to rank"):
        resolve(RerankRequest("owl", None), MODELS, SETTINGS, "ada", limited)
    named = resolve(RerankRequest("owl", None, collection="birds"), MODELS, SETTINGS, "ada", limited)
    assert named.search.collection == "birds"  # a search says that there is none


def test_the_request_decides_before_the_alias_and_that_before_the_default():
    for asked, method in ((("words", None), "classical"), (("words", "quantum"), "quantum"), ((None, None), "hybrid")):
        model, wanted = asked
        found = resolve(RerankRequest("owl", None, method=wanted, model=model), MODELS, SETTINGS, "ada", ANONYMOUS)
        assert (found.method, found.search.collection, found.search.candidates) == (method, "birds", 100)


@pytest.mark.parametrize(
    ("asked", "default", "seconds"), [(None, 400, 0.4), (0, 400, 5), (None, 0, 5), (100, 400, 0.1), (600_000, 400, 5)]
)
def test_no_request_is_due_later_than_the_longest_deadline(monkeypatch, asked, default, seconds):
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    settings = Settings(model="hash", engine={"deadline_ms": default, "longest_ms": 5000})
    deadline = deadline_of(asked, settings, "ada")
    assert (deadline.at, deadline.caller) == (1000.0 + seconds, "ada")


PAIRS = Settings(model="hash", limits=LimitSettings(queries=2, query_characters=5))


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (["owls?", "owl"], None),
        (["owl"] * 3, "3 queries were sent and at most 2"),
        (["owl", "owls??"], "a query has 6 characters and at most 5"),
    ],
)
def test_pairs_are_limited_by_their_queries(queries, message):
    ask = (Asked(), queries, ["a"] * 3, MODELS, PAIRS, "ada")
    if message is None:
        similarity.resolve(*ask, explain=False)
    else:
        with pytest.raises(TooLarge, match=message):
            similarity.resolve(*ask, explain=False)


def test_vectors_are_of_the_models_own_length():
    assert embeddings.resolve(Asked(input=["a"] * 3, dimensions=64), MODELS, PAIRS, "ada").texts == ["a"] * 3
    with pytest.raises(
        InvalidRequest, match="hash gives vectors of 64, which are not shortened; send 64, or"
    ) as caught:
        embeddings.resolve(Asked(input=["a"], dimensions=63), MODELS, PAIRS, "ada")
    assert caught.value.where == ("dimensions",)
