import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import numpy as np
import pytest

from retrieval.deadline import Deadline
from retrieval.encoder.hash_encoder import DIMENSION
from retrieval.encoder.states import Encoded
from retrieval.states.cache import StateCache
from retrieval.states.record import Seal, TextState, to_bytes
from retrieval.states.redis import RedisStates
from retrieval.states.source import StateSource
from retrieval.text.bm25 import NO_TERMS
from tests.processes import holds_in_fork
from tests.redis_server import ENCODER, TEN, RedisServer, open_states, share, states_of
from tests.waiting import PATIENT_S, eventually


def records(states: list[TextState | None]) -> list[bytes | None]:
    return [None if state is None else to_bytes(state) for state in states]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    shared_server.client().flushall()
    return shared_server


@pytest.fixture
def states(server: RedisServer) -> Iterator[RedisStates]:
    with closing(open_states(server.url)) as opened:
        yield opened


# A healthy server


def test_replicas_share(server, states):
    share(states, TEN)
    with closing(open_states(server.url)) as other:
        assert records(other.get([*TEN])) == records([*TEN.values()])
        assert (other.counts().hits, other.counts().misses) == (10, 0)


def test_forked_processes_share_theirs(server, states):
    """They had no thread that writes."""
    assert holds_in_fork(lambda: share(states, TEN) is None)
    assert records(states.get([*TEN])) == records([*TEN.values()])


def test_the_order_is_that_of_the_keys_and_what_is_not_there_is_none(states):
    share(states, TEN)
    keys, values = [*TEN], [*TEN.values()]
    requested_keys = [keys[3], b"nobody's", keys[0], keys[3]]
    assert records(states.get(requested_keys)) == records([values[3], None, values[0], values[3]])
    assert (states.counts().hits, states.counts().misses) == (3, 1)


def test_nothing_asked_and_nothing_put_is_nothing_done(states):
    states.put({})
    assert states.get([]) == []
    counts = states.counts()
    assert (counts.hits, counts.misses, counts.written, counts.errors, counts.available) == (0, 0, 0, 0, True)


def test_large_replies_are_asked_for_in_pieces(server, states, monkeypatch):
    share(states, TEN)
    monkeypatch.setattr("retrieval.states.redis._REPLY_BYTES", 3 * (4 * DIMENSION + 512 * DIMENSION))
    client = server.client()
    client.config_resetstat()
    assert records(states.get([*TEN])) == records([*TEN.values()])
    assert client.info("commandstats")["cmdstat_mget"]["calls"] == 4


def test_a_large_record_makes_the_pieces_smaller(server, states, monkeypatch):
    large = states_of("word " * 5000)
    share(states, TEN | large)
    states.get([*large])
    monkeypatch.setattr("retrieval.states.redis._REPLY_BYTES", len(to_bytes(*large.values())))
    server.client().config_resetstat()
    assert None not in states.get([*TEN])
    assert server.client().info("commandstats")["cmdstat_mget"]["calls"] == 10


def test_states_are_under_their_prefix_and_expire(server):
    with closing(open_states(server.url, ttl_s=100)) as states:
        share(states, TEN)
    client = server.client()
    assert set(client.keys()) == {b"qrerank:v2:" + key for key in TEN}
    assert all(0 < client.ttl(key) <= 100 for key in client.scan_iter())


def test_what_is_no_record_is_a_miss_and_counted(server, states):
    share(states, TEN)
    garbage, another, list_, good, *_ = TEN
    client = server.client()
    client.set(b"qrerank:v2:" + garbage, b"garbage")
    client.set(b"qrerank:v2:" + another, to_bytes(TEN[another], another)[:-1])
    client.delete(b"qrerank:v2:" + list_)
    client.lpush(b"qrerank:v2:" + list_, b"not even a string")
    found = states.get([garbage, another, list_, good])
    assert records(found) == [None, None, None, to_bytes(TEN[good])]
    counts = states.counts()
    assert (counts.hits, counts.misses, counts.corrupt, counts.errors, counts.available) == (1, 3, 2, 0, True)
    share(states, {garbage: TEN[garbage]})
    assert states.get([garbage]) != [None]


SECRET = b"a secret of thirty-two characters"


def with_secret(server: RedisServer, secret: bytes | None) -> RedisStates:
    return RedisStates(server.url, DIMENSION, DIMENSION, secret=secret, timeout_s=PATIENT_S, retry_s=0.2)


def test_what_is_sealed_is_shared_with_those_of_the_same_secret_and_overwritten_by_no_other(server):
    secrets = [SECRET, b"another secret" * 3, None]
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(with_secret(server, secret))) for secret in secrets]
        for number, states in enumerate(opened, 1):
            assert states.get([*TEN]) == [None] * 10
            share(states, TEN)
            assert server.client().dbsize() == 10 * number
        for secret in secrets:
            again = stack.enter_context(closing(with_secret(server, secret)))
            assert records(again.get([*TEN])) == records([*TEN.values()])
            assert again.counts().corrupt == 0


def test_what_somebody_without_the_secret_wrote_is_corrupt(server, caplog):
    (text, state), (other, _), *_ = TEN.items()
    with closing(with_secret(server, SECRET)) as states:
        share(states, TEN)
        client, prefix = server.client(), server.client().keys()[0][:-24]
        sealed = client.get(prefix + other)
        for wrong in (to_bytes(state, text), to_bytes(state, text, Seal(b"another" * 5)), sealed, sealed[:-1], b""):
            before = states.counts().corrupt
            client.set(prefix + text, wrong)
            assert states.get([text]) == [None]
            assert states.counts().corrupt == before + 1
        assert "holds an invalid record (CorruptState" in states.breaker.last_fault.text
        assert SECRET.decode() not in caplog.text + states.breaker.last_fault.text
        assert [record.levelname for record in caplog.records] == ["WARNING"], "only the first is logged"


@pytest.mark.parametrize("secret", [SECRET, None])
def test_a_corrupt_state_is_read_anew_and_overwritten_by_the_right_one(server, secret):
    texts = ["an owl at dusk", "a stone", "a river"]
    with closing(with_secret(server, secret)) as states:
        find(states, texts)
        client = server.client()
        right = {key: client.get(key) for key in client.scan_iter()}
        anothers = next(iter(right.values()))
        for key, wrong in zip(right, [b"garbage", bytes(len(anothers)), anothers], strict=True):
            client.set(key, wrong)
        assert {key: client.get(key) for key in right} != right
        find(states, texts)
        eventually(lambda: {key: client.get(key) for key in right} == right)
        assert states.counts().corrupt == 3


def find(states: RedisStates, texts: list[str]) -> None:
    """Encode these texts with a source that has no in-process cache."""
    done = states.counts().written
    found = StateSource(ENCODER, StateCache(0), states).encode(texts, [NO_TERMS] * len(texts), math.inf, Deadline())
    assert None not in found
    eventually(lambda: states.counts().written == done + len(texts))


def test_another_models_states_are_no_states(server, states):
    share(states, TEN)
    with closing(RedisStates(server.url, DIMENSION, DIMENSION + 1, timeout_s=PATIENT_S)) as other:
        assert other.get([*TEN]) == [None] * 10
        assert other.counts().corrupt == 10


def test_threads_get_right_states_and_counts_add_up(states):
    threads, rounds = 8, 40
    share(states, TEN)
    names, start = [*TEN], threading.Barrier(threads)

    def hammer(thread: int) -> int:
        start.wait()
        for turn in range(rounds):
            requested_keys = [names[(thread + turn) % 10], names[turn % 10], b"nobody's"]
            assert records(states.get(requested_keys)) == [
                to_bytes(TEN[requested_keys[0]]),
                to_bytes(TEN[requested_keys[1]]),
                None,
            ]
            states.put({requested_keys[0]: TEN[requested_keys[0]]})
        return rounds

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(hammer, range(threads)))
    eventually(lambda: states.counts().written == 10 + done)
    counts = states.counts()
    assert (counts.hits, counts.misses) == (2 * done, done)
    assert (counts.dropped, counts.errors, counts.corrupt) == (0, 0, 0)


# The writer


def test_close_writes_what_is_waiting(server):
    states = open_states(server.url)
    states.put(TEN)
    states.close(PATIENT_S)
    assert server.client().dbsize() == 10
    assert states.counts().written == 10


class Unwritable(TextState):
    """A state that cannot be serialised."""

    def __init__(self) -> None:
        tokens = np.zeros((1, 1, 1), np.int8)
        super().__init__(
            Encoded(np.zeros((1, 1), np.float32), tokens, np.zeros(2, np.int64), np.zeros(1), np.zeros(1)), NO_TERMS
        )


def test_a_state_that_cannot_be_written_down_costs_no_other_and_is_told_once(server, states, caplog):
    for number in range(2):
        share(states, {b"bad": Unwritable()} | TEN, written=10)
        assert states.counts().dropped == number + 1
    assert server.client().dbsize() == 10
    assert [record.message for record in caplog.records] == [
        "a state cannot be serialised and is dropped; further ones are only counted"
    ]


def test_the_writer_survives_whatever_befalls_it(states, monkeypatch, caplog):
    taken = iter([RuntimeError("unexpected")])
    take = states._take

    def fail():
        if error := next(taken, None):
            raise error
        return take()

    monkeypatch.setattr(states, "_take", fail)
    share(states, TEN)
    assert None not in states.get([*TEN])
    assert "the state writer failed" in caplog.messages


def test_after_close_all_is_a_miss_and_nothing_is_kept(states):
    share(states, TEN)
    states.close(PATIENT_S)
    states.close()
    states.put(TEN)
    assert states.get([*TEN]) == [None] * 10
    counts = states.counts()
    assert (counts.misses, counts.dropped, counts.available) == (10, 10, False)
    assert not states._thread.is_alive()


def test_a_server_that_takes_no_more_still_answers(server, states, caplog):
    share(states, TEN)
    client = server.client()
    client.config_set("maxmemory", 1)
    try:
        states.put(TEN)
        eventually(lambda: states.counts().dropped == 10)
        states.put(TEN)
        eventually(lambda: states.counts().dropped == 20)
        assert None not in states.get([*TEN])
    finally:
        client.config_set("maxmemory", 0)
    assert len(caplog.records) == 1
    assert "refuses new states (OutOfMemoryError" in caplog.text
    assert states.counts().available
    share(states, TEN)
