from types import SimpleNamespace

import numpy as np
import pytest

from retrieval.deadline import Deadline
from retrieval.encoder.chunks import USUAL
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.states.cache import StateCache
from retrieval.states.redis import RedisStates
from retrieval.states.source import StateSource
from retrieval.text.bm25 import NO_TERMS, Terms
from tests.redis_server import RedisServer
from tests.waiting import PATIENT_S

TEXTS = ["the owl sings", "", "dusk lamp"]
NEVER = float("inf")
BIG = 2**20


def find(source: StateSource, texts=TEXTS, until=NEVER):
    return source.encode(texts, [Terms.of(text) for text in texts], until, Deadline())


def test_found_states_are_those_of_the_encoder_with_the_terms():
    for text, state in zip(TEXTS, find(StateSource(HashEncoder())), strict=True):
        np.testing.assert_array_equal(state.encoded.tokens, HashEncoder().encode([text]).tokens)
        assert state.terms.to_bytes() == Terms.of(text).to_bytes()


def test_what_was_found_is_known_from_then_on():
    source = StateSource(HashEncoder(), StateCache(BIG))
    assert source.cached(TEXTS) == [None] * 3
    found = find(source)
    for state, known in zip(found, source.cached(TEXTS), strict=True):
        assert known is state
    counts = source.cache.counts()
    assert (counts.hits, counts.misses, counts.entries) == (3, 3, 3)
    assert source.cached(TEXTS, "query") == [None] * 3  # a model may encode queries and documents differently


def test_without_a_cache_nothing_is_known():
    source = StateSource(HashEncoder())
    find(source)
    assert source.cached(TEXTS) == [None] * 3


def test_what_does_not_fit_before_the_deadline_is_none_and_not_remembered():
    source = StateSource(HashEncoder(), StateCache(BIG))
    assert find(source, until=0.0) == [None] * 3
    assert source.cached(TEXTS) == [None] * 3


def test_equal_texts_are_encoded_once():
    source = StateSource(HashEncoder())
    found = find(source, ["owl", "dusk lamp", "owl"])
    assert source.shared_encoder.counts().texts == 2
    np.testing.assert_array_equal(found[0].encoded.tokens, found[2].encoded.tokens)


def test_a_query_and_what_it_excludes_come_together_and_are_remembered():
    source = StateSource(HashEncoder(), StateCache(BIG))
    for _ in range(2):
        encoded = source.encode_query(["owl", "dusk"], NEVER, Deadline())
        np.testing.assert_array_equal(encoded.tokens, HashEncoder().encode(["owl", "dusk"]).tokens)
    assert source.shared_encoder.counts().texts == 2


def test_a_query_that_is_not_there_in_time_is_none_at_all():
    source = StateSource(HashEncoder(), StateCache(BIG))
    source.encode_query(["owl"], NEVER, Deadline())
    assert source.encode_query(["owl", "dusk"], 0.0, Deadline()) is None


class Short(HashEncoder):
    """An encoder of at most eight tokens that records the texts it tokenises."""

    max_tokens = 8

    def __init__(self) -> None:
        self.tokenised: list[str] = []

    def tokenize(self, texts, role="document"):
        self.tokenised += texts
        return super().tokenize(texts, role)


def words(count: int) -> str:
    return " ".join(f"word{i}" for i in range(count))


def test_opening_reads_what_is_short_and_cuts_what_is_long():
    encoder = Short()
    source, texts = StateSource(encoder), [words(7), words(8), words(9), words(100), ""]
    encoder.tokenised = [] if source.chunker.size == 8 else ["?"]
    short, full, long, longer, blank = source.find_cuts(texts, USUAL, NEVER)
    assert (short.cuts, short.state, len(short.read.ids)) == ((0, len(texts[0])), None, 7)
    assert (full.cuts, full.read) == (
        (0, len(texts[1])),
        None,
    )  # as many tokens as the limit: the text may have been truncated, so it is cut
    assert (len(long.cuts), len(longer.cuts)) == (3, 14)
    assert (blank.cuts, len(blank.read.ids)) == ((0, 0), 1)
    assert encoder.tokenised == [texts[0], texts[1], texts[2], ""]  # without the text that is clearly too long
    found = source.encode(
        [texts[0], texts[1]], [Terms.of("word"), NO_TERMS], NEVER, Deadline(), read=[short.read, full.read]
    )
    np.testing.assert_array_equal(found[0].encoded.tokens, HashEncoder().encode([texts[0]]).tokens)
    assert encoder.tokenised[4:] == [texts[1]]
    encoder.tokenised.clear()
    again = source.find_cuts(texts[1:4], USUAL, NEVER)
    assert [opened.cuts for opened in again] == [full.cuts, long.cuts, longer.cuts]
    assert encoder.tokenised == []


def test_a_state_is_whole_unless_it_fills_the_encoder():
    source = StateSource(Short(), StateCache(BIG))
    assert [source.is_whole(state) for state in find(source, [words(n) for n in (1, 7, 8, 9)])] == [1, 1, 0, 0]


def test_nothing_is_opened_too_late_but_what_is_remembered():
    source = StateSource(Short())
    source.find_cuts([words(20)], USUAL, NEVER)
    late = source.find_cuts(["owl", words(20), words(30)], USUAL, 0.0)
    assert [opened is None for opened in late] == [True, False, True]


def test_the_clock_is_looked_at_while_texts_are_tokenised():
    class Late(Short):
        """Passes the time limit after its first batch of texts."""

        def tokenize(self, texts, role="document"):
            nonlocal now
            now += 1
            return super().tokenize(texts, role)

    now = 0.0
    encoder = Late()
    source = StateSource(encoder)
    texts = [f"{number} " + "x" * 250 for number in range(600)]  # 150 KB: three runs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval.states.source.time", SimpleNamespace(monotonic=lambda: now))
        encoder.tokenised.clear()
        found = source.encode(texts, [NO_TERMS] * len(texts), 1.0, Deadline())
    assert 0 < len(encoder.tokenised) < 600
    assert found[len(encoder.tokenised) :] == [None] * (600 - len(encoder.tokenised))


def test_of_a_document_that_is_far_too_long_the_beginning_is_looked_up():
    source = StateSource(Short(), StateCache(BIG))
    assert source.uncached(["x" * 10**6 + " owl"]) == ["x" * (32 * 8 * 16)]
    assert source.shared_encoder.counts().texts == 0


def test_a_long_query_is_read_in_chunks_up_to_a_limit():
    source = StateSource(Short(), StateCache(BIG))
    words = [f"word{number}" for number in range(200)]
    short, long, longer = (" ".join(words[:count]) for count in (7, 50, 200))
    few, many, most = (source.encode_query([text, "owl"], NEVER, Deadline()) for text in (short, long, longer))
    assert [np.diff(states.offsets).tolist() for states in (few, many)] == [[7, 1], [50, 1]]
    assert [states.lengths.tolist() for states in (few, many)] == [[7, 1], [50, 1]]
    assert most.offsets[1] <= 16 * 8 < 200
    np.testing.assert_array_equal(many.tokens[:50], HashEncoder().encode([long]).tokens)
    np.testing.assert_allclose(many.pooled[0], HashEncoder().encode([long]).pooled[0], atol=0.2)
    np.testing.assert_allclose(np.linalg.norm(many.pooled, axis=1), 1, rtol=1e-6)
    assert [source.is_cut(text) for text in (short, long, longer)] == [False, False, True]


def test_a_query_of_characters_that_are_several_tokens_is_read_to_its_end(real_encoder):
    """The model reads a syllable of Korean as two or three letters."""
    source, query = StateSource(real_encoder), "한국어 문법 조사 " * 20
    assert len(query) < source.chunker.size < len(real_encoder.token_spans([query])[0])
    states = source.encode_query([query], NEVER, Deadline())
    assert states.offsets[1] == len(real_encoder.token_spans([query])[0])
    assert not source.is_cut(query)


def test_no_query_is_tokenised_further_than_is_read():
    encoder = Short()
    source = StateSource(encoder, StateCache(BIG))
    source.encode_query(["owl " * 10**6], NEVER, Deadline())
    assert max(map(len, encoder.tokenised)) <= 32 * 8


@pytest.fixture
def shared():
    with RedisServer() as server:
        yield server


def test_replicas_share_what_one_encoded(shared):
    def source() -> StateSource:
        replicas = RedisStates(shared.url, 64, 64, timeout_s=PATIENT_S)
        return StateSource(HashEncoder(), StateCache(BIG), replicas)

    one, other = source(), source()
    find(one)
    one.replicas.close(PATIENT_S)  # flush the write queue
    found = find(other)
    assert other.shared_encoder.counts().texts == 0
    assert other.replicas.counts().hits == 3
    np.testing.assert_array_equal(found[0].encoded.tokens, HashEncoder().encode([TEXTS[0]]).tokens)
    assert other.cached(TEXTS)[0] is found[0]
    assert other.find_cuts(TEXTS, USUAL, NEVER)[0].state is not None
    shared.kill()
    fresh = find(other, ["another text"])
    assert fresh[0] is not None
    assert not other.replicas.counts().available


def test_what_nothing_is_remembered_of_is_unread():
    source = StateSource(HashEncoder(), StateCache(10**7))
    long = "owl song " * 5000
    assert source.uncached(["owl", long, "owl"]) == ["owl", long, "owl"]
    source.encode(["owl"], [NO_TERMS], NEVER, Deadline())
    source.chunker.cuts([long], USUAL)
    before = source.cache.counts()
    assert source.uncached(["owl", long, "new"]) == ["new"]
    assert source.cache.counts() == before


def test_apart_nothing_is_remembered_or_counted():
    source = StateSource(HashEncoder(), StateCache(BIG))
    before = source.shared_encoder.counts(), source.cache.counts()
    for state, text in zip(find(source.isolated_copy()), TEXTS, strict=True):
        np.testing.assert_array_equal(state.encoded.tokens, HashEncoder().encode([text]).tokens)
    assert (source.shared_encoder.counts(), source.cache.counts()) == before
