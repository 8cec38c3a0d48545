import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.states.cache import CacheCounts, StateCache
from retrieval.states.record import TextState
from retrieval.text.bm25 import Terms

ENCODER = HashEncoder()
SMALL, MIDDLE, LARGE = (TextState(ENCODER.encode(["w " * words]), Terms.of("w " * words)) for words in (1, 10, 40))
SIZE = SMALL.nbytes


def key(number: int) -> bytes:
    return bytes([number])


def puts(*numbers: int) -> dict[bytes, TextState]:
    return {key(number): SMALL for number in numbers}


class Model:
    """A reference implementation of the cache: a list, the oldest entry first."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.entries: list[tuple[bytes, TextState]] = []
        self.hits = self.misses = self.evictions = 0

    @property
    def held(self) -> int:
        return sum(state.nbytes for _, state in self.entries)

    def get(self, key: bytes) -> TextState | None:
        for entry in self.entries:
            if entry[0] == key:
                self.entries.remove(entry)
                self.entries.append(entry)
                self.hits += 1
                return entry[1]
        self.misses += 1
        return None

    def put(self, name: bytes, state: TextState) -> None:
        self.entries = [entry for entry in self.entries if entry[0] != name]
        if state.nbytes <= self.max_bytes:
            self.entries.append((name, state))
            while self.held > self.max_bytes:
                del self.entries[0]
                self.evictions += 1

    def counts(self) -> CacheCounts:
        return CacheCounts(self.hits, self.misses, self.evictions, len(self.entries), self.held, self.max_bytes)


names = st.integers(0, 5).map(key)
gets = st.lists(names, max_size=4)
batches = st.dictionaries(names, st.sampled_from([SMALL, MIDDLE, LARGE]), max_size=4)


@given(st.integers(0, 3 * LARGE.nbytes), st.lists(gets | batches, max_size=30))
def test_it_does_what_the_model_does_and_never_holds_more_than_it_may(max_bytes, calls):
    cache, model = StateCache(max_bytes), Model(max_bytes)
    for call in calls:
        if isinstance(call, dict):
            cache.put(call)
            for name, state in call.items():
                model.put(name, state)
        else:
            assert cache.get(call) == [model.get(name) for name in call]
        assert cache.counts() == model.counts()
        assert cache.counts().bytes <= max_bytes


def test_what_was_just_used_outlives_what_was_not():
    cache = StateCache(2 * SIZE)
    cache.put(puts(1, 2))
    cache.get([key(1)])
    cache.put(puts(3))
    assert cache.get([key(1), key(2), key(3)]) == [SMALL, None, SMALL]


def test_what_is_found_is_what_was_put():
    cache = StateCache(10**6)
    cache.put({key(1): SMALL, key(2): LARGE})
    assert cache.get([key(2), key(1), key(2), key(3)]) == [LARGE, SMALL, LARGE, None]
    assert cache.counts() == CacheCounts(3, 1, 0, 2, SMALL.nbytes + LARGE.nbytes, 10**6)


def test_one_that_is_larger_than_the_cache_drives_nothing_out():
    cache = StateCache(LARGE.nbytes - 1)
    cache.put(puts(1))
    cache.put({key(2): LARGE})
    assert cache.get([key(1), key(2)]) == [SMALL, None]
    assert cache.counts().evictions == 0


def test_one_as_large_as_the_cache_is_kept():
    cache = StateCache(LARGE.nbytes)
    cache.put(puts(1))
    cache.put({key(2): LARGE})
    assert cache.get([key(1), key(2)]) == [None, LARGE]


def test_putting_the_same_key_again_and_again_costs_its_bytes_once():
    cache = StateCache(10 * SIZE)
    for _ in range(100):
        cache.put(puts(1, 2))
    counts = cache.counts()
    assert (counts.entries, counts.bytes, counts.evictions) == (2, 2 * SIZE, 0)


def test_a_cache_of_no_bytes_keeps_nothing_and_counts_what_it_is_asked():
    cache = StateCache(0)
    cache.put(puts(1))
    assert cache.get([key(1), key(2)]) == [None, None]
    assert cache.counts() == CacheCounts(0, 2, 0, 0, 0, 0)


def test_nothing_asked_is_nothing_counted():
    cache = StateCache(SIZE)
    cache.put({})
    assert cache.get([]) == []
    assert cache.counts() == CacheCounts(0, 0, 0, 0, 0, SIZE)


def test_a_negative_bound_is_refused():
    with pytest.raises(ValueError, match="max_bytes >= 0, got -1"):
        StateCache(-1)


def test_threads_get_right_states_and_counts_add_up():
    threads, rounds, keys = 8, 300, 12
    states = {key(n): TextState(ENCODER.encode([f"text {n}"]), Terms.of(f"text {n}")) for n in range(keys)}
    cache = StateCache(keys // 2 * SMALL.nbytes)
    start = threading.Barrier(threads)

    def hammer(thread: int) -> int:
        start.wait()
        requested = 0
        for turn in range(rounds):
            requested_keys = [key((thread + turn * step) % keys) for step in (1, 5, 7)]
            for name, state in zip(requested_keys, cache.get(requested_keys), strict=True):
                assert state is None or state is states[name]
            cache.put({name: states[name] for name in requested_keys[:2]})
            assert cache.counts().bytes <= keys // 2 * SMALL.nbytes
            requested += len(requested_keys)
        return requested

    with ThreadPoolExecutor(threads) as pool:
        requested = sum(pool.map(hammer, range(threads)))
    counts = cache.counts()
    assert counts.hits + counts.misses == requested == threads * rounds * 3
    assert counts.hits > 0
    assert counts.evictions > 0
    kept = [state for state in cache.get(list(states)) if state is not None]
    assert counts.entries == len(kept)
    assert counts.bytes == sum(state.nbytes for state in kept)
