import math
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ranking.cpu_slots import CpuSlots
from app.ranking.methods import METHODS
from app.ranking.reranker import Reranker
from app.ranking.scoring import Scorer
from quantum.errors import CircuitTooLarge, InvalidVector, Saturated
from quantum.feature_maps import CxLayer, FeatureMap, RyLayer, feature_map
from quantum.maxsim import score_documents
from retrieval.deadline import Cancelled, Deadline
from retrieval.encoder.chunks import USUAL, Chunker, Reading, cut_up
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.states import Encoded
from retrieval.errors import CollectionError
from retrieval.index.first_stage import BY_NAME
from retrieval.index.segment import Segment, build
from retrieval.states.cache import StateCache
from retrieval.states.source import StateSource
from retrieval.text import limits as text_limits
from retrieval.text.bm25 import QueryTerms, Terms, bm25
from retrieval.text.passages import Passage
from retrieval.text.sentences import VISIBLE
from tests.waiting import PATIENT_S, eventually

QUERY = "which bird sings at night"
BIRDS = [
    "stock prices fell sharply on Monday",
    "the nightingale is a bird that sings at night",
    "an owl is a bird that hunts at night",
    "the river is cold",
    "",
]
WORDS = st.sampled_from("owl dusk river stone song market cloud lamp the of".split())
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


def same(left, right):
    np.testing.assert_array_equal(left.order, right.order)
    np.testing.assert_array_equal(left.scores, right.scores)


def test_every_method_puts_the_answer_first(real_reranker, method):
    ranking = real_reranker.rerank(QUERY, BIRDS, method=method)
    assert ranking.order[0] == 1
    assert set(ranking.order[:2]) == {1, 2}
    assert ranking.encoded == len(BIRDS)
    assert ranking.tokens > 40
    assert set(ranking.timings_ms) >= {"prescore", "encode", "fuse"}


@given(
    query=TEXTS.filter(VISIBLE.search),
    documents=st.lists(TEXTS, min_size=1, max_size=12),
    method=st.sampled_from(METHODS),
)
def test_a_ranking_is_a_sorted_permutation_with_scores_in_range(query, documents, method):
    ranking = Reranker(HashEncoder()).rerank(query, documents, method=method)
    assert sorted(ranking.order) == list(range(len(documents)))
    assert (np.diff(ranking.scores[ranking.order]) <= 0).all()
    assert ((ranking.scores >= 0) & (ranking.scores <= 1)).all()


class Spelling(HashEncoder):
    """A model that reads the Latin script alone."""

    scripts = frozenset({"LATIN"})


def test_a_query_in_a_script_that_the_model_only_spells_is_ranked_by_words(method):
    documents = ["Рынок закрыт", "Сова охотится ночью", "The owl hunts", "Ночью поют птицы"]
    ranking = Reranker(Spelling()).rerank("сова ночью", documents, method=method)
    assert ranking.readable == (method != "hybrid")
    assert Reranker(Spelling()).rerank("owl", documents, method=method).readable
    if method == "hybrid":
        assert ranking.order.tolist() == np.argsort(-ranking.rankers["lexical"], kind="stable").tolist()
        assert ranking.order[:2].tolist() == [1, 3]


def test_copies_stand_apart_in_a_script_that_the_model_only_spells():
    documents = ["Сова охотится ночью", "Сова охотится ночью тихо", "Сова охотится ночью!", "Ночью поют птицы"]
    reranker = Reranker(Spelling())
    diverse = reranker.rerank("сова ночью", documents, diversity=0.9)
    assert set(reranker.rerank("сова ночью", documents).order[:2]) == {0, 2}
    assert set(diverse.order[:2]) == {0, 3}
    assert diverse.near_duplicates > 0


def test_equal_documents_tie_in_input_order(reranker, method):
    ranking = reranker.rerank("owl", ["dusk", "owl", "owl", "dusk", "owl"], method=method)
    assert ranking.order.tolist() == [1, 2, 4, 0, 3]
    assert ranking.scores[1] == ranking.scores[2] == ranking.scores[4]


def test_the_same_request_gives_the_same_bytes(real_reranker, method):
    same(*(real_reranker.rerank(QUERY, BIRDS, method=method) for _ in range(2)))


def test_input_order_does_not_matter_but_for_ties(reranker, method):
    forward = reranker.rerank(QUERY, BIRDS[:4], method=method)
    backward = reranker.rerank(QUERY, BIRDS[:4][::-1], method=method)
    np.testing.assert_allclose(forward.scores, backward.scores[::-1], atol=1e-6)


def test_one_document_is_ranked(reranker, method):
    assert reranker.rerank("owl", ["an owl"], method=method).order.tolist() == [0]


def test_rankers_are_what_they_say(reranker):
    ranking = reranker.rerank(QUERY, BIRDS)
    query = HashEncoder().encode([QUERY])
    states = HashEncoder().encode(BIRDS)
    np.testing.assert_allclose(ranking.rankers["classical"], states.pooled @ query.pooled[0], atol=1e-6)
    fidelity = score_documents(feature_map(), query.token_rows(), states.token_rows(), states.offsets)
    np.testing.assert_allclose(ranking.rankers["quantum"], fidelity, rtol=1e-5)
    np.testing.assert_array_equal(
        ranking.rankers["lexical"], bm25(QueryTerms.of(QUERY), [Terms.of(d) for d in BIRDS]).scores
    )


@pytest.mark.parametrize("method", ["classical", "quantum"])
def test_one_rankers_methods_order_as_that_ranker_does(reranker, method):
    ranking = reranker.rerank(QUERY, BIRDS, method=method)
    np.testing.assert_array_equal(ranking.order, np.argsort(-ranking.rankers[method], kind="stable"))


def test_many_documents_are_scored_as_few_are(reranker):
    documents = [f"{word} song {i}" for i in range(101) for word in ("owl", "market")]  # three batches
    together = reranker.rerank("owl song", documents, method="quantum")
    for at in (0, 100, 201):
        alone = reranker.rerank("owl song", [documents[at]], method="quantum")
        assert together.rankers["quantum"][at] == pytest.approx(alone.rankers["quantum"][0], rel=1e-5)
        assert together.log_odds[at] == pytest.approx(alone.log_odds[0], rel=1e-5)


def test_what_is_not_encoded_ranks_below_in_prescore_order(reranker, method):
    documents = ["owl", "owl owl song river stone", "dusk", "song owl", "river", "song"]
    ranking = reranker.rerank("owl song", documents, method=method, encode_limit=2)
    lexical = ranking.rankers["lexical"]
    best = set(np.argsort(-lexical, kind="stable")[:2])
    assert ranking.encoded == 2
    assert set(ranking.order[:2]) == best
    rest = [i for i in np.argsort(-lexical, kind="stable") if i not in best]
    assert ranking.order[2:].tolist() == rest
    computed = "classical" if method == "hybrid" else method
    assert set(np.flatnonzero(np.isfinite(ranking.rankers[computed]))) == best


def test_a_limit_over_the_number_is_no_limit(reranker, method):
    same(
        reranker.rerank(QUERY, BIRDS, method=method, encode_limit=len(BIRDS)),
        reranker.rerank(QUERY, BIRDS, method=method),
    )


def test_excluding_lowers_what_is_excluded(real_reranker, method):
    documents = [
        "Birds navigate by the stars and the sun.",
        "Birds navigate by sensing the earth's magnetic field.",
        "Stock prices fell.",
    ]
    query = "how do birds find their way"
    plain = real_reranker.rerank(query, documents, method=method).scores
    without = real_reranker.rerank(query, documents, method=method, exclude=["magnetic field"])
    assert without.order.tolist() == [0, 1, 2]
    assert without.scores[0] - without.scores[1] > plain[0] - plain[1]


def test_two_exclusions_are_both_heard(real_reranker):
    documents = ["jaguar, a big cat", "jaguar, a car maker", "jaguar, a brand of guitar"]
    for exclude in (["cars", "guitars"], (text for text in ("cars", "guitars"))):
        assert real_reranker.rerank("jaguar", documents, exclude=exclude, method="classical").order[0] == 0


def test_excluding_the_query_itself_is_an_error(reranker, method):
    with pytest.raises(InvalidVector, match="parallel to the query"):
        reranker.rerank("owl", ["owl"], method=method, exclude=["owl"])


def test_nothing_is_excluded_where_the_model_knows_no_word(real_reranker, method):
    """A dog in Thai was no cat to it either, and the request refused: both texts are one unknown token."""
    documents = ["แมวร้อง", "หมาเห่า"]
    excluding, plain = (real_reranker.rerank("หมา", documents, method=method, exclude=of) for of in (["แมว"], []))
    assert not excluding.readable
    same(excluding, plain)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": " "}, "must not be empty"),
        ({"query": "\u200b\xad"}, "must not be empty"),
        ({"exclude": ["a", "\ufeff"]}, "must not be empty"),
        ({"exclude": [""]}, "must not be empty"),
        ({"documents": []}, "no documents"),
        ({"exclude": "one text"}, "a list of texts"),
        ({"language": "english"}, "language must be auto, none or the code of a known language: .*en.*; got 'english'"),
        ({"method": "magic"}, "classical, quantum, hybrid"),
        ({"encode_limit": 0}, "at least 1"),
    ],
)
def test_bad_arguments_are_refused(reranker, arguments, message):
    with pytest.raises(ValueError, match=message):
        reranker.rerank(**({"query": "owl", "documents": ["owl"]} | arguments))


def test_one_text_is_no_list_of_texts(reranker):
    for compare in (reranker.rerank, reranker.relevant_spans, reranker.token_matches):
        with pytest.raises(ValueError, match="a list of texts"):
            compare("owl", "one text")


@pytest.mark.parametrize("other", [b"an owl", None, {"text": "an owl"}, 7])
def test_a_document_that_is_no_text_is_named(reranker, other):
    for compare in (reranker.rerank, reranker.relevant_spans, reranker.token_matches):
        with pytest.raises(TypeError, match=f"text 1 is a {type(other).__name__}; give a list of strings"):
            compare("owl", ["a lamp", other])


@pytest.mark.parametrize("documents", [{"a": 1}, {"an owl": "a lamp"}, {"an owl", "a lamp"}])
def test_documents_without_positions_are_refused(reranker, documents):
    for compare in (reranker.rerank, reranker.relevant_spans, reranker.token_matches):
        with pytest.raises(TypeError, match=f"give a list of texts: positions in a {type(documents).__name__} mean"):
            compare("owl", documents)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"deadline": 0.4}, r"deadline is a Deadline, such as Deadline\.after\(0\.4\), in seconds; got 0\.4"),
        ({"reading": 512}, r"reading is a Reading, such as Reading\(max_tokens=512\); got 512"),
    ],
)
def test_a_number_in_place_of_an_object_is_refused_with_what_to_give(reranker, arguments, message):
    for compare in (reranker.rerank, reranker.relevant_spans, reranker.token_matches):
        with pytest.raises(TypeError, match=message):
            compare("owl", ["an owl"], **arguments)


def test_a_models_name_is_not_its_encoder():
    with pytest.raises(TypeError, match="'all-MiniLM-L6-v2' is the name of a model; give its encoder, which load_enc"):
        Reranker("all-MiniLM-L6-v2")


def test_documents_may_be_an_array(reranker):
    assert reranker.rerank("owl", np.array(["a lamp", "an owl"])).order.tolist() == [1, 0]


def test_a_non_finite_score_is_an_error_and_no_ranking(method):
    class Broken(HashEncoder):
        def forward(self, batch):
            states = super().forward(batch)
            return Encoded(states.pooled * np.nan, states.tokens, states.offsets, states.lengths, states.unknown)

    excluded = ["dusk"] if method == "quantum" else []  # without, the quantum method reads no pooled vectors
    with pytest.raises(ValueError, match="finite"):
        Reranker(Broken()).rerank("owl", ["owl", "dusk"], method=method, exclude=excluded)


def test_a_circuit_that_is_too_deep_is_refused_at_once():
    rotation = RyLayer((0, 1, 2, 3))
    layers = tuple(layer for _ in range(9) for layer in (rotation, CxLayer(((0, 1), (2, 3)))))
    with pytest.raises(CircuitTooLarge, match="depth"):
        Reranker(HashEncoder(), FeatureMap("deep", 4, 1.0, layers))


def test_a_map_that_tells_nothing_apart_is_refused():
    with pytest.raises(Saturated, match=r"mean fidelity of 0\.998"):
        Reranker(HashEncoder(), feature_map(bandwidth=0.0633))


def test_search_ranks_what_the_collection_holds(tmp_path, real_reranker, method):
    build(tmp_path / "c", [Passage(str(i), "", t) for i, t in enumerate(BIRDS)], real_reranker.encoder, lambda *_: None)
    positions, ranking = real_reranker.search(QUERY, Segment(tmp_path / "c"), candidates=3, method=method)
    assert len(positions) == len(ranking.order) == 3
    assert positions[ranking.order[0]] == 1
    direct = real_reranker.rerank(QUERY, [BIRDS[i] for i in positions], method=method)
    np.testing.assert_array_equal(ranking.order, direct.order)
    rounding = {"classical": 1e-6, "hybrid": 0.05, "quantum": 0.15}[method]  # stored token rows have two bits an entry
    np.testing.assert_allclose(ranking.scores, direct.scores, atol=rounding)


def test_a_passage_that_is_left_out_makes_place_for_the_next(tmp_path, reranker):
    texts = [f"owl {word}" for word in "dusk song river stone market price".split()]
    build(
        tmp_path / "c", [Passage(str(i), "", text) for i, text in enumerate(texts)], reranker.encoder, lambda *_: None
    )
    collection = Segment(tmp_path / "c")
    for name, stage in BY_NAME.items():
        search = partial(reranker.search, "owl song", collection, first_stage=stage)
        nearest, _ = search(candidates=len(texts))
        for left_out, candidates in product(nearest, (1, 3, len(texts))):
            found, ranking = search(candidates=candidates, leave_out=int(left_out))
            assert left_out not in found
            assert len(found) == min(candidates, len(texts) - 1)
            assert sorted(ranking.order) == list(range(len(found)))
            if name != "both":  # there the depth of the rankings decides as well
                assert found.tolist() == [at for at in nearest if at != left_out][:candidates]


def test_search_refuses_another_models_collection(tmp_path, reranker, real_reranker):
    build(tmp_path / "c", [Passage("1", "", "owl")], reranker.encoder, lambda *_: None)
    with pytest.raises(CollectionError):
        real_reranker.search("owl", Segment(tmp_path / "c"))


def counting(max_bytes: int = 2**20) -> Reranker:
    return Reranker(StateSource(HashEncoder(), StateCache(max_bytes)))


def test_a_warm_cache_gives_the_same_bytes_and_encodes_nothing(method):
    reranker = counting()
    cold = reranker.rerank(QUERY, BIRDS, method=method)
    assert reranker.source.cache.counts().misses == len(BIRDS) + 1
    warm = reranker.rerank(QUERY, BIRDS, method=method)
    same(cold, warm)
    assert warm.tokens == cold.tokens
    assert reranker.source.cache.counts().hits == len(BIRDS) + 1
    assert reranker.source.shared_encoder.counts().texts == len(BIRDS) + 1
    partly = counting()
    partly.rerank("owl", BIRDS[2:4], method=method)
    same(partly.rerank(QUERY, BIRDS, method=method), cold)


def test_the_real_model_gives_the_same_bytes_cold_warm_and_partly_warm(real_encoder):
    documents = [f"{bird} {i} " * (60 if i == 7 else 1 + i % 9) for i in range(21) for bird in BIRDS]
    fresh, partly = (Reranker(StateSource(real_encoder, StateCache(2**26))) for _ in range(2))
    partly.rerank("owl", documents[::3])
    for method in METHODS:  # the first finds them cold and partly warm
        same(partly.rerank(QUERY, documents, method=method), fresh.rerank(QUERY, documents, method=method))


def test_a_deadline_that_has_passed_leaves_the_prescore_order(reranker, method):
    ranking = reranker.rerank(QUERY, BIRDS, method=method, deadline=Deadline(0.0))
    assert (ranking.encoded, ranking.incomplete) == (0, True)
    lexical = ranking.rankers["lexical"]
    np.testing.assert_array_equal(ranking.order, np.argsort(-lexical, kind="stable"))
    assert ((ranking.scores >= 0) & (ranking.scores <= 1)).all()


def test_a_ranking_says_that_there_was_no_time_for_the_words_of_some_documents(monkeypatch, method):
    reranker, seen = counting(), []
    reranker.rerank(QUERY, BIRDS[:2], method=method)
    monkeypatch.setattr(text_limits, "_ALWAYS", 0)
    late = {"method": method, "deadline": Deadline(0.0), "report": seen.append}
    ranking = reranker.rerank(QUERY, BIRDS, **late, encode_limit=1)
    assert (ranking.encoded, ranking.incomplete) == (1, True)
    assert [report.incomplete for report in seen] == [True]
    assert ranking.order.tolist() == [1, 0, 2, 3, 4]
    assert reranker.rerank(QUERY, BIRDS, method=method).encoded == len(BIRDS)
    assert not reranker.rerank(QUERY, BIRDS, **late, encode_limit=1).incomplete


def test_known_documents_are_scored_though_the_deadline_leaves_no_time_to_encode(method):
    reranker = counting()
    reranker.rerank(QUERY, BIRDS[:2], method=method)
    ranking = reranker.rerank(QUERY, BIRDS, method=method, deadline=Deadline(0.0))
    assert (ranking.encoded, ranking.incomplete) == (2, True)
    assert set(ranking.order[:2]) == {0, 1}


def test_a_deadline_cuts_after_the_most_promising(method, monotonic):
    class Slow(HashEncoder):
        def forward(self, batch):
            monotonic.now += 0.02 * len(batch)
            return super().forward(batch)

    documents = [f"owl {'stone ' * (2 + i)}" for i in range(60)]  # ever less promising
    reranker = Reranker(Slow())
    reranker.rerank("owl", documents[:4])  # learns what a token costs
    ranking = reranker.rerank("owl", documents, method=method, deadline=Deadline.after(0.4))
    assert ranking.incomplete
    assert 1 <= ranking.encoded < 30
    assert ranking.order[ranking.encoded :].tolist() == list(range(ranking.encoded, 60))


def test_a_cost_of_scoring_learned_too_high_is_unlearned(monotonic):
    reranker = Reranker(HashEncoder())
    reranker._pace.cost = 1.0
    documents = [f"owl {i}" for i in range(100)]
    for _ in range(60):
        ranking = reranker.rerank("owl", documents, deadline=Deadline.after(2))
    assert not ranking.incomplete
    assert reranker._pace.cost < 0.05


def test_an_encode_limit_is_no_cut(reranker):
    assert not reranker.rerank(QUERY, BIRDS, encode_limit=2).incomplete


def test_a_request_that_was_called_off_is_not_computed(reranker):
    deadline = Deadline()
    deadline.cancel()
    with pytest.raises(Cancelled):
        reranker.rerank(QUERY, BIRDS, deadline=deadline)
    assert reranker.rerank(QUERY, BIRDS).encoded == len(BIRDS)  # its processor was given back


def test_threads_share_a_reranker():
    reranker = Reranker(StateSource(HashEncoder(), StateCache(2**20)), processors=2)
    asked = [(f"owl {i % 5}", [f"{word} {i}" for word in ("owl", "dusk", "lamp")]) for i in range(60)]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda pair: reranker.rerank(*pair), asked))
    for pair, ranking in zip(asked, together, strict=True):
        same(ranking, Reranker(HashEncoder()).rerank(*pair))


def test_long_lists_are_held_a_batch_at_a_time(monkeypatch):
    held = []
    monkeypatch.setattr(Scorer, "put", lambda self, part, owners, states, spans, put=Scorer.put: (
        held.append(len(states.counts)), put(self, part, owners, states, spans)
    ))  # fmt: skip
    ranking = Reranker(HashEncoder()).rerank("owl", [f"owl {i}" for i in range(257)], method="quantum")
    assert ranking.encoded == 257
    assert held == [100, 100, 57]


def test_warming_up_leaves_nothing_behind():
    reranker = counting()
    reranker.warm_up()
    assert reranker.source.cache.counts().entries == 0
    assert reranker.source.shared_encoder.counts().texts == 0
    assert reranker._pace.cost > 0


class Short(HashEncoder):
    """Reads eight words at once, and counts the texts that it tokenises."""

    max_tokens = 8

    def __init__(self) -> None:
        self.tokenised: list[str] = []

    def tokenize(self, texts, role="document"):
        self.tokenised += texts
        return super().tokenize(texts, role)


LONG_TEXTS = st.lists(WORDS, max_size=40).map(" ".join)


@pytest.mark.parametrize("states", [feature_map(), feature_map("entangled", 2)], ids=["angle", "entangled"])
@given(
    documents=st.lists(TEXTS | LONG_TEXTS, min_size=1, max_size=130),
    method=st.sampled_from(METHODS),
    exclude=st.sampled_from([(), ("lamp",)]),
    stops=st.sets(st.integers(1, 99)).map(lambda stops: tuple(sorted(stops))),
)
def test_whatever_is_reported_on_the_way_the_last_ranking_is_the_same(states, documents, method, exclude, stops):
    reranker, seen = Reranker(Short(), states), []
    quiet = reranker.rerank(QUERY, documents, method=method, exclude=exclude)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.ranking.job._FIRST_STOPS", stops)
        told = reranker.rerank(QUERY, documents, method=method, exclude=exclude, report=seen.append)
    same(told, quiet)
    assert (told.encoded, told.tokens, told.incomplete) == (quiet.encoded, quiet.tokens, quiet.incomplete)
    first, *refined = seen
    assert (first.encoded, first.tokens, list(first.rankers)) == (0, 0, ["lexical"])
    np.testing.assert_array_equal(first.order, np.argsort(-told.rankers["lexical"], kind="stable"))
    assert [ranking.tokens for ranking in refined] == sorted({ranking.tokens for ranking in refined} - {told.tokens})
    assert not any(ranking.incomplete for ranking in seen)


def test_the_real_model_ranks_the_same_with_and_without_reports(real_encoder):
    documents = [f"{bird} {i} " * (1 + i % 9) for i in range(21) for bird in BIRDS]
    seen = []
    told = Reranker(real_encoder).rerank(QUERY, documents, report=seen.append)
    same(told, Reranker(real_encoder).rerank(QUERY, documents))
    assert [ranking.encoded for ranking in seen] == [0, 8, 24, 56, 100]
    tokens = [ranking.tokens for ranking in seen]
    assert tokens == sorted(set(tokens))
    spent = [sum(ranking.timings_ms.values()) for ranking in (*seen, told)]
    assert spent == sorted(set(spent))  # each has its own


def test_the_first_report_comes_before_anything_is_encoded():
    reranker, texts = counting(), []
    reranker.rerank(QUERY, BIRDS, report=lambda _: texts.append(reranker.source.shared_encoder.counts().texts))
    assert texts == [0]


def test_a_reported_part_ranks_above_what_is_still_to_be_read(reranker, method):
    documents = [f"owl {'stone ' * i}" for i in range(40)]  # ever less promising
    seen = []
    last = reranker.rerank("owl", documents, method=method, report=seen.append)
    for ranking in (*seen, last):
        assert ranking.order[ranking.encoded :].tolist() == list(range(ranking.encoded, 40))


def test_what_a_report_raises_ends_the_work():
    reranker = counting()

    def refuse(ranking):
        if ranking.encoded:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        reranker.rerank(QUERY, [f"owl {i}" for i in range(50)], report=refuse)
    assert reranker.source.shared_encoder.counts().texts == 8 + 1
    assert reranker.rerank(QUERY, BIRDS).encoded == len(BIRDS)  # its processor was given back


def test_a_search_reports_too(tmp_path, reranker, method):
    build(tmp_path / "c", [Passage(str(i), "", f"owl {i}") for i in range(30)], reranker.encoder, lambda *_: None)
    collection, seen = Segment(tmp_path / "c"), []
    _, told = reranker.search("owl", collection, method=method, report=seen.append)
    same(told, reranker.search("owl", collection, method=method)[1])
    assert [ranking.encoded for ranking in seen] == [0, 8, 24]


def test_rerankers_may_share_their_processors():
    slots = CpuSlots(1)
    one, other = (Reranker(HashEncoder(), slots=slots) for _ in range(2))
    with ThreadPoolExecutor(2) as pool:
        with slots.slot():
            waiting = [pool.submit(each.rerank, QUERY, BIRDS) for each in (one, other)]
            eventually(lambda: slots.waiting == 2)
            assert not any(future.done() for future in waiting)
        assert all(future.result(PATIENT_S).encoded == len(BIRDS) for future in waiting)


def test_queries_that_wait_for_a_processor_are_encoded_in_one_pass(tmp_path):
    slots = CpuSlots(1)
    reranker = Reranker(HashEncoder(), slots=slots)
    build(tmp_path / "c", [Passage(str(i), "", f"owl {i}") for i in range(30)], reranker.encoder, lambda *_: None)
    collection, queries = Segment(tmp_path / "c"), [f"owl {i}" for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        with slots.slot():
            waiting = [pool.submit(reranker.search, query, collection) for query in queries]
            eventually(lambda: slots.waiting == 4)
        for query, future in zip(queries, waiting, strict=True):
            same(future.result(PATIENT_S)[1], Reranker(HashEncoder()).search(query, collection)[1])
    assert reranker.source.shared_encoder.counts().passes == {4: 1}


class Held(HashEncoder):
    """An encoder whose passes wait until they may go on."""

    def __init__(self):
        super().__init__()
        self.free = threading.Event()
        self.free.set()

    def forward(self, batch):
        assert self.free.wait(PATIENT_S)
        return super().forward(batch)


def test_a_search_that_waits_for_a_busy_encoder_leaves_its_processor_to_others(tmp_path):
    encoder = Held()
    reranker = Reranker(StateSource(encoder, StateCache(2**20)), processors=1)
    shared = reranker.source.shared_encoder
    build(tmp_path / "c", [Passage(str(i), "", f"owl {i}") for i in range(30)], encoder, lambda *_: None)
    known, collection = reranker.rerank(QUERY, BIRDS), Segment(tmp_path / "c")
    texts = [f"a new text {i} " * 10 for i in range(60)]
    encoder.free.clear()
    with ThreadPoolExecutor(3) as pool:
        try:
            encoding = pool.submit(reranker.source.encode, texts, [Terms.of("")] * len(texts), math.inf, Deadline())
            eventually(lambda: shared.counts().pending == len(texts))
            search = pool.submit(reranker.search, "a new owl", collection)
            eventually(lambda: shared.counts().pending == len(texts) + 1)
            same(pool.submit(reranker.rerank, QUERY, BIRDS).result(PATIENT_S), known)
            assert not search.done()
        finally:
            encoder.free.set()
        assert len(encoding.result(PATIENT_S)) == len(texts)
        same(search.result(PATIENT_S)[1], Reranker(HashEncoder()).search("a new owl", collection)[1])


def test_a_request_that_fails_before_its_query_is_encoded_leaves_nothing_queued(reranker):
    def refuse(_):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        reranker.rerank(QUERY, BIRDS, report=refuse)
    assert reranker.source.shared_encoder.counts().pending == 0


def cut(text: str, encoder=None, reading=USUAL) -> list[str]:
    (cuts,) = Chunker(encoder or Short(), str.encode).cuts([text], reading)
    return cut_up(text, cuts)


@given(
    documents=st.lists(LONG_TEXTS, min_size=1, max_size=12),
    method=st.sampled_from(METHODS),
    exclude=st.sampled_from([(), ("lamp",)]),
    reading=st.builds(Reading, st.none() | st.integers(1, 40), st.integers(1, 6)),
)
def test_a_long_document_scores_as_the_best_of_its_chunks(documents, method, exclude, reading):
    chunks = [cut(document, reading=reading) for document in documents]
    whole = Reranker(Short()).rerank(QUERY, documents, method=method, exclude=exclude, reading=reading)
    each = Reranker(Short()).rerank(QUERY, [text for texts in chunks for text in texts], method=method, exclude=exclude)
    ends = np.cumsum([len(texts) for texts in chunks])
    for name in whole.rankers.keys() - {"lexical"}:
        best = [part.max() for part in np.split(each.rankers[name], ends[:-1])]
        np.testing.assert_allclose(whole.rankers[name], best, atol=1e-6)
    read = [Terms.of("".join(texts)) for texts in chunks]
    np.testing.assert_array_equal(whole.rankers["lexical"], bm25(QueryTerms.of(QUERY), read).scores)
    assert (whole.encoded, whole.tokens, whole.incomplete) == (len(documents), each.tokens, False)


def test_a_document_is_placed_where_its_best_chunk_would_be(reranker):
    filler = "stone cloud lamp market " * 150  # as many words as the encoder reads, and more
    documents = [filler, filler + "the nightingale is a bird that sings at night", "an owl hunts", filler]
    assert len(cut(documents[1], HashEncoder())) == 2
    for method in METHODS:
        ranking = reranker.rerank(QUERY, documents, method=method)
        assert ranking.order[0] == 1
        assert ranking.scores[0] == ranking.scores[3]


@pytest.mark.parametrize("reading", [Reading(10), Reading(max_chunks=2), Reading(20, 3)])
def test_what_lies_beyond_what_is_read_is_ignored_by_all_rankers(method, reading):
    start = " ".join(f"dusk{i}" for i in range(24))
    texts = [f"{start} {end}" for end in ("owl " * 50, "market prices", "bird sings night")] + ["owl", start]
    ranking = Reranker(Short()).rerank(QUERY, texts, method=method, reading=reading)
    for values in (ranking.scores, *ranking.rankers.values()):
        np.testing.assert_array_equal(values[[1, 2]], values[0])


def test_long_documents_give_the_same_bytes_cold_and_warm_and_are_tokenised_once(method):
    encoder = Short()
    reranker = Reranker(StateSource(encoder, StateCache(2**22)))
    documents = [f"owl{i} " * (1 + i) for i in range(40)] + ["owl " * 8]
    cold = reranker.rerank(QUERY, documents, method=method)
    short = [text for text in encoder.tokenised if text in documents[:7]]
    assert sorted(short) == sorted(documents[:7])
    tokenised, encoded = len(encoder.tokenised), reranker.source.shared_encoder.counts().texts
    warm = reranker.rerank(QUERY, documents, method=method)
    same(cold, warm)
    assert warm.tokens == cold.tokens
    assert (len(encoder.tokenised), reranker.source.shared_encoder.counts().texts) == (tokenised, encoded)
    fresh = Reranker(Short())
    fresh.rerank("owl", documents[::3], method=method)
    same(fresh.rerank(QUERY, documents, method=method), cold)


def test_no_more_is_cut_than_is_about_to_be_read():
    reranker = Reranker(encoder := Short())

    def refuse(ranking):
        if ranking.encoded:
            raise KeyError

    with pytest.raises(KeyError):
        reranker.rerank("owl", [f"owl{i} " * (5 + i % 5) for i in range(1000)], report=refuse)
    assert len(encoder.tokenised) < 250  # a batch's texts, the first chunks of it and the query


def test_a_deadline_has_each_document_read_where_it_promises_most(monotonic):
    class Slow(Short):
        def forward(self, batch):
            monotonic.now += 0.01 * len(batch)
            return super().forward(batch)

    filler = [" ".join(f"dusk{at}" for at in range(24 * i, 24 * i + 24)) for i in range(20)]
    documents = [f"{text} bird sings {text}s" for text in filler]
    reranker = Reranker(StateSource(Slow(), StateCache(2**22)))
    reranker.rerank(QUERY, ["owl"])  # learns what a token costs
    ranking = reranker.rerank(QUERY, documents, method="quantum", deadline=Deadline.after(1.0))
    assert (ranking.incomplete, ranking.encoded) == (True, 20)
    whole = Reranker(Short()).rerank(QUERY, documents, method="quantum")
    assert ranking.tokens < whole.tokens
    np.testing.assert_allclose(ranking.scores, whole.scores, atol=1e-6)


def test_many_chunks_are_held_a_hundred_at_a_time(monkeypatch):
    held = []
    monkeypatch.setattr(Scorer, "put", lambda self, part, owners, states, spans, put=Scorer.put: (
        held.append(len(states.counts)), put(self, part, owners, states, spans)
    ))  # fmt: skip
    documents = [f"owl{i} " * 60 for i in range(40)]
    ranking = Reranker(Short()).rerank("owl", documents, reading=Reading(max_chunks=8))
    assert (ranking.encoded, ranking.incomplete) == (40, False)
    assert held == [100, 100, 100, 20]
    limited = Reranker(Short()).rerank("owl", documents, encode_limit=3)
    assert (limited.encoded, limited.incomplete, held[4:]) == (3, False, [24])
