"""One contract for every engine of collections: passages in segments, and passages in Milvus.

Each engine holds the same documents. Results are compared with an exact search over freshly encoded states.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import CollectionError
from retrieval.index import milvus
from retrieval.index.exact import ExactIndex
from retrieval.index.first_stage import BOTH, FirstStage
from retrieval.index.milvus_client import Milvus
from retrieval.index.passage_index import Model, PassageIndex, check_encoder
from retrieval.index.token_rows import pack
from retrieval.store.collection import Collection, CollectionSettings
from retrieval.store.compaction import damaged, merge
from retrieval.store.indexer import build, index_all, index_waiting
from retrieval.store.placement import create
from retrieval.store.rows import Document
from retrieval.text.bm25 import QueryTerms, Terms, bm25
from retrieval.text.passages import Passage, traits_of
from tests.conftest import COUNT

ENCODER = HashEncoder()
MODEL = Model(ENCODER.name, ENCODER.digest, ENCODER.arithmetic, ENCODER.max_tokens)
WORDS = ["owl", "dusk", "river", "stone", "song", "market", "cloud", "lamp"]
PASSAGES = [
    Passage(f"p{i}", f"title {i}" if i % 3 else "", " ".join(WORDS[(i * j) % 8] for j in range(i % 7)))
    for i in range(300)
]
QUERIES = ["an owl sings by the river", "stone market", "title 17", "absent"]


def quiet(*_) -> None:
    pass


@dataclass
class Engine:
    """Where collections are made."""

    folder: Path
    milvus: Milvus | None
    made: int = 0

    def collection(self, passages=()) -> Collection:
        self.made += 1
        folder = self.folder / f"c{self.made}"
        if passages:
            build(folder, passages, ENCODER, quiet, "en", self.milvus)
        else:
            create(folder, CollectionSettings(MODEL, "en"), ENCODER, self.milvus)
        return Collection(folder, self.milvus)


@pytest.fixture(scope="module", params=["segments", pytest.param("milvus", marks=pytest.mark.milvus)])
def engine(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    if request.param == "segments":
        yield Engine(folder, None)
        return
    client = Milvus(request.getfixturevalue("milvus_process").url, timeout_s=10)
    yield Engine(folder, client)
    client.close()


@pytest.fixture(scope="module")
def birds(engine):
    """A collection of all passages."""
    return engine.collection(PASSAGES)


def vector(text: str):
    return ENCODER.encode([text], "query").pooled[0]


def ids(index: PassageIndex, positions) -> list[str]:
    return [passage.id for passage in index.passages(positions)]


def everything(index: PassageIndex) -> list[str]:
    return sorted(ids(index, index.nearest(vector("owl"), 1000)))


@pytest.mark.parametrize("k", [1, 7, 100, 1000])
@pytest.mark.parametrize("query", QUERIES)
def test_the_nearest_are_those_of_an_exact_search(birds, query, k):
    index = birds.searchable()
    [_], [scores] = exact = ExactIndex(ENCODER.encode([p.content for p in PASSAGES]).pooled).search(
        vector(query)[None], k
    )
    found = index.nearest(vector(query), k)
    assert len(set(found.tolist())) == len(found) == min(k, len(PASSAGES))
    cosines = index.states(found).pooled @ vector(query)
    np.testing.assert_allclose(cosines, scores, atol=1e-6)  # those that are equally near may change places
    clearly = scores > scores[-1] + 1e-6
    assert set(ids(index, found[clearly])) == {PASSAGES[at].id for at in exact[0][0][clearly]}


def test_announced_searches_find_what_each_finds_alone(birds):
    index = birds.searchable()
    announced = [index.announce(lambda query=query: vector(query), 7) for query in QUERIES]
    for query, find in zip(QUERIES, announced, strict=True):
        for k in (7, 9):  # as announced, and deeper
            np.testing.assert_array_equal(find(k), index.nearest(vector(query), k))


def test_passages_states_and_traits_come_back_as_they_were(birds):
    first = birds.searchable()
    position_of = dict(zip(ids(first, found := first.nearest(vector("owl"), 1000)), found.tolist(), strict=True))
    wanted = [PASSAGES[at] for at in (299, 0, 17, 0)]
    fresh = ENCODER.encode([passage.content for passage in wanted])
    for index in (first, birds.searchable()):  # the second one has found nothing yet
        positions = np.array([position_of[passage.id] for passage in wanted])
        assert index.passages(positions) == wanted
        for field in ("pooled", "offsets", "lengths", "unknown"):
            np.testing.assert_array_equal(getattr(index.states(positions), field), getattr(fresh, field))
        # A segment keeps two bits of each entry.
        np.testing.assert_array_equal(pack(index.states(positions).tokens), pack(fresh.tokens))
        assert index.traits(positions).tobytes() == traits_of([passage.content for passage in wanted]).tobytes()
        assert index.is_cut(positions).tolist() == [False] * 4
    nothing = np.zeros(0, dtype=np.int64)
    assert (len(index.states(nothing)), index.passages(nothing), len(index.traits(nothing))) == (0, [], 0)


@pytest.mark.parametrize("chosen", [range(5), range(0, 300, 2), range(300)])
def test_some_documents_are_searched_as_if_there_were_no_others(birds, chosen):
    index = birds.select([PASSAGES[at].id for at in chosen])
    found = index.nearest(vector("an owl sings"), 20)
    vectors = ENCODER.encode([PASSAGES[at].content for at in chosen]).pooled
    scores = np.sort(vectors @ vector("an owl sings"))[::-1][:20]
    np.testing.assert_allclose(index.states(found).pooled @ vector("an owl sings"), scores, atol=1e-6)
    assert {int(i[1:]) for i in ids(index, found)} <= set(chosen)
    assert sorted(ids(index, index.positions())) == sorted(PASSAGES[at].id for at in chosen)
    assert len(birds.select(["none"]).nearest(vector("owl"), 5)) == 0


@pytest.mark.parametrize("query", QUERIES)
def test_words_are_found_as_an_exact_search_finds_them_or_not_offered(birds, query):
    index, terms = birds.searchable(), QueryTerms.of(query, "en")
    words = index.words(terms)
    if not index.finds_words:
        with pytest.raises(CollectionError, match="by meaning only"):
            words.best(5)
        with pytest.raises(CollectionError, match="by meaning only"):
            FirstStage(dense=0).search(index, vector(query), words, 5)
        np.testing.assert_array_equal(BOTH.search(index, vector(query), words, 5), index.nearest(vector(query), 5))
        return
    scores = bm25(terms, [Terms.of(passage.content, "en") for passage in PASSAGES]).scores
    found = [int(i[1:]) for i in ids(index, words.best(20))]
    assert (scores[found] > 0).all()
    np.testing.assert_allclose(scores[found], np.sort(scores[scores > 0])[::-1][:20])


@pytest.mark.parametrize("query", QUERIES)
def test_words_match_passages_as_those_of_the_same_texts(birds, query):
    index, terms = birds.searchable(), QueryTerms.of(query, "en")
    found = index.nearest(vector(query), 20)[::-1]
    for positions in (found, found[:1], found[:0]):
        expected = bm25(terms, [Terms.of(passage.content, "en") for passage in index.passages(positions)])
        matches = index.words(terms).matches(positions)
        np.testing.assert_array_equal(matches.scores, expected.scores)
        np.testing.assert_array_equal(matches.coverage, expected.coverage)


def test_it_says_what_it_is(birds):
    index = birds.searchable()
    assert (index.name, index.model, index.language) == (birds.name, MODEL, "en")
    check_encoder(index, ENCODER)


def test_bad_input_is_refused(birds):
    index = birds.searchable()
    for wrong in (vector("owl")[:-1], np.append(vector("owl"), np.float32(0)), np.full_like(vector("owl"), np.nan)):
        with pytest.raises(ValueError, match=r"dimension|finite"):
            index.nearest(wrong, 5)
    with pytest.raises(ValueError, match="k"):
        index.nearest(vector("owl"), 0)


def test_an_empty_collection_finds_nothing(engine):
    assert everything(engine.collection().searchable()) == []


def test_building_again_replaces(engine):
    collection = engine.collection(PASSAGES[:20])
    build(collection.folder, PASSAGES[:2], ENCODER, quiet, "en", engine.milvus, replace=True)
    assert everything(Collection(collection.folder, engine.milvus).searchable()) == ["p0", "p1"]


def test_long_passages_are_kept_whole(engine):
    texts = {"long": "owl " * 20_000, "wide": "\U0001f989" * 50_000, "rough": '\x00\u2028"\\ owl\n'}
    collection = engine.collection([Passage(name, "", text) for name, text in texts.items()])
    index = collection.searchable()
    found = index.nearest(vector("owl"), 3)
    assert {passage.id: passage.text for passage in index.passages(found)} == texts
    cut = dict(zip(ids(index, found), index.is_cut(found).tolist(), strict=True))
    assert (cut["long"], cut["rough"]) == (True, False)


def test_ids_of_any_characters_are_told_apart(engine):
    names = ["a", "A", "ä", "a ", "a'\" or 1 == 1", "\U0001f989", "a" * 512, "\\", "%"]
    collection = engine.collection([Passage(name, "", "owl") for name in names])
    assert everything(collection.searchable()) == sorted(names)
    assert collection.delete(["a'\" or 1 == 1", "\\", "none"]) == 2
    assert everything(collection.searchable()) == sorted(set(names) - {"a'\" or 1 == 1", "\\"})


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.dictionaries(st.sampled_from("abcd"), st.sampled_from(WORDS), min_size=1)),
        st.tuples(st.just("delete"), st.lists(st.sampled_from("abcd"), min_size=1, max_size=2)),
        st.tuples(st.just("index"), st.integers(1, 4)),
        st.tuples(st.just("merge"), st.booleans()),
    ),
    min_size=3,
    max_size=10,
)


def test_its_figures_are_printed(engine, birds, record_property):
    """Medians, which `make milvus` prints beside what was tried: docs/collections.md quotes them."""

    def median_ms(work) -> float:
        times = []
        for _ in range(30):
            start = time.perf_counter()
            work()
            times.append(1e3 * (time.perf_counter() - start))
        return float(np.median(times))

    name = "Milvus" if engine.milvus else "segments"
    query = vector("owl")
    found = median_ms(lambda: read(birds, query))
    line = f"{name}: the nearest 100 of {len(PASSAGES)} passages, with their states, in {found:.1f} ms"
    if engine.milvus:
        settled = median_ms(lambda: milvus.settle(engine.milvus, birds.remote.collection))
        line += f"; a read of the level Strong in {settled:.0f} ms"
    record_property(COUNT, line)
    assert len(read(birds, query)) == 100


def read(collection, query):
    index = collection.searchable()
    return index.states(index.nearest(query, 100))


class Expected:
    """What is stored and what is found after some steps."""

    def __init__(self) -> None:
        self.stored, self.waiting, self.searchable = dict[str, str](), dict[str, str](), dict[str, str]()

    def take(self, step: str, what) -> None:
        if step == "put":
            for i, text in what.items():
                if self.stored.get(i) != text:
                    self.waiting.pop(i, None)  # it waits behind the others
                    self.waiting[i] = self.stored[i] = text
        elif step == "delete":
            for of in (self.stored, self.waiting, self.searchable):
                for i in what:
                    of.pop(i, None)
        elif step == "index":
            for i in list(self.waiting)[:what]:
                self.searchable[i] = self.waiting.pop(i)


@pytest.fixture(scope="module")
def changing(engine):
    return engine.collection()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_after_every_step_the_next_search_finds_what_was_acknowledged(changing, steps):
    """Waiting documents keep what was found of them before; a deleted one is not found; nothing is found twice."""
    changing.delete("abcd")
    index_all(changing, ENCODER, quiet)
    expected = Expected()
    for step, what in steps:
        expected.take(step, what)
        if step == "put":
            changing.put(Document(i, text) for i, text in what.items())
        elif step == "delete":
            changing.delete(what)
        elif step == "index":
            index_waiting(changing, ENCODER, quiet, what)
        else:
            merge(changing, all_of_it=what)
        index = changing.searchable()
        found = index.passages(index.nearest(vector("owl"), 100))
        assert sorted((passage.id, passage.text) for passage in found) == sorted(expected.searchable.items())
    assert damaged(changing) == {}
