import logging
import time
from contextlib import closing
from functools import partial

import pytest

from retrieval.errors import RetrievalError
from retrieval.states.redis import RedisStates
from retrieval.states.redis_client import RedisUrlError
from scripts.trial import free_port
from tests.redis_server import TEN, RedisServer, answering, not_accepting, open_states, share
from tests.waiting import PATIENT_S, eventually


def tried_again(states: RedisStates, errors: int) -> bool:
    return states.counts().errors >= errors


def test_a_server_that_comes_later_is_used_then(caplog):
    server = RedisServer()
    with closing(open_states(server.url)) as states:
        assert states.get([*TEN]) == [None] * 10
        assert not states.counts().available
        states.put(TEN)
        with server:
            eventually(lambda: states.counts().written == 10)
            assert None not in states.get([*TEN])
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_killed_server_costs_speed_and_nothing_else(caplog):
    caplog.set_level(logging.INFO, "retrieval.circuit_breaker")
    with RedisServer() as server, closing(open_states(server.url)) as states:
        share(states, TEN)
        assert None not in states.get([*TEN])
        for outage in (1, 2):
            server.kill()
            start = time.monotonic()
            for _ in range(100):
                assert states.get([*TEN]) == [None] * 10
            assert time.monotonic() - start < PATIENT_S
            tried = states.counts().errors + 2
            eventually(partial(tried_again, states, tried))
            assert not states.counts().available
            assert [record.levelno for record in caplog.records].count(logging.WARNING) == outage
            server.start()
            eventually(lambda: states.counts().available)
            assert states.get([*TEN]) == [None] * 10  # it restarted empty
            share(states, TEN)
            assert None not in states.get([*TEN])
        counts = states.counts()
        assert (counts.hits, counts.misses) == (30, 2 * 1010)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2
    assert f"127.0.0.1:{server.port}" in caplog.messages[0]


def test_whoever_asks_whether_the_server_answers_knows_before_anybody_needs_it():
    with RedisServer() as server, closing(open_states(server.url)) as states:
        states.check()
        assert (states.counts().available, states.counts().misses, states.breaker.last_fault) == (True, 0, None)
        server.kill()
        states.check()
        assert not states.counts().available
        assert f"Redis at 127.0.0.1:{server.port} fails" in states.breaker.last_fault.text
        server.start()
        eventually(lambda: states.counts().available)


def test_what_a_server_refuses_is_not_repeated():
    refused = b"-ERR unknown command 'MGET', with args beginning with: 'qrerank:v2:secret'\r\n"
    with answering(refused) as port, closing(open_states(f"redis://127.0.0.1:{port}")) as states:
        states.check()
        assert "unknown command 'MGET'" in states.breaker.last_fault.text
        assert "secret" not in states.breaker.last_fault.text


@pytest.mark.parametrize("hanging", [lambda: answering(None), not_accepting], ids=["silent", "full"])
def test_a_hanging_server_costs_one_wait_and_not_one_a_key(hanging):
    timeout_s = 0.2
    with hanging() as port:
        states = open_states(f"redis://127.0.0.1:{port}", timeout_s=timeout_s, retry_s=1000)
        start = time.monotonic()
        for _ in range(200):
            assert states.get([*TEN] * 10) == [None] * 100
        states.put(TEN)
        took = time.monotonic() - start
        states.close()
    assert (
        timeout_s * 0.9 < took < 100 * timeout_s
    )  # if each of the 200 calls waited, they would take 200 times as long
    assert states.counts().errors == 1


def test_nobody_waits_while_a_hanging_server_is_tried_again():
    with answering(None) as port, closing(open_states(f"redis://127.0.0.1:{port}", timeout_s=0.2, retry_s=0.05)) as one:
        one.get([b"any"])
        eventually(lambda: one.counts().errors >= 3)
        assert one.counts().misses == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$many\r\n",
        b"-LOADING the dataset\r\n",
        b"*1\r\n$1\r\n",
        b"\0\xff\r\n",
        b":5\r\n",
        b"+OK\r\n",
        b"$-1\r\n",
        b"$3\r\nabc\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*10\r\n" + b":1\r\n" * 10,
        b"*10\r\n" + b"*0\r\n" * 10,
        b"*10\r\n" + b"-ERR no\r\n" * 10,
        b"*11\r\n" + b"$-1\r\n" * 11,
        b"*1\r\n" * 5000 + b":1\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"*99999999999999999999\r\n",
        b"$99999999999\r\nabc",
        b"-\xff\r\n",
    ],
    ids=lambda answer: repr(answer[:12]),
)
def test_what_does_not_speak_redis_is_an_outage(answer, caplog):
    with answering(answer) as port, closing(open_states(f"redis://127.0.0.1:{port}", timeout_s=0.2)) as states:
        assert states.get([*TEN]) == [None] * 10
        assert not states.counts().available
        eventually(lambda: states.counts().errors > 2)
    assert len(caplog.records) == 1


def test_a_host_that_cannot_be_is_an_outage():
    with closing(open_states(f"redis://{'a' * 70}.invalid")) as states:
        assert states.get([*TEN]) == [None] * 10
        assert not states.counts().available


def test_a_full_queue_drops_and_counts(monkeypatch):
    size = max(state.nbytes for state in TEN.values())
    monkeypatch.setattr("retrieval.states.redis._PENDING_BYTES", 4 * size)
    with closing(open_states(f"redis://127.0.0.1:{free_port()}", retry_s=100)) as states:
        states.get([b"any"])  # starts the outage, during which nothing is written
        states.put(TEN)
        assert states.counts().dropped == 6
        states.close()
        assert states.counts().dropped == 10
        assert states.counts().written == 0


# Passwords and URLs


def test_the_right_password_is_let_in_and_a_wrong_one_not_told(caplog):
    with RedisServer("--requirepass", "s3cr/et") as server:
        for password, is_right in [("s3cr%2Fet", True), ("wr0ng%2Fone", False)]:
            with closing(open_states(f"redis://:{password}@127.0.0.1:{server.port}/1")) as states:
                states.get([*TEN])
                assert states.counts().available is is_right
    assert len(caplog.records) == 1
    assert "wr0ng" not in caplog.text
    assert "s3cr" not in caplog.text


def test_a_password_that_the_server_repeats_is_not_logged(caplog):
    answer = b"-ERR wrong password 'hunter2'\r\n"
    with answering(answer) as port, closing(open_states(f"redis://:hunter2@127.0.0.1:{port}")) as states:
        states.get([b"any"])
    assert "wrong password '***'" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost:6379",
        "redis://:hunter2/more@localhost",  # the password needs percent-encoding
        "redis://localhost:70000",
        "redis://localhost/0?no_such_option=1",
        "redis://localhost?socket_timeout=soon",
        "redis://[::1",
    ],
)
def test_what_is_no_url_is_refused_without_telling_it(url):
    with pytest.raises(RedisUrlError, match="cannot be parsed") as refusal:
        open_states(url)
    assert isinstance(refusal.value, RetrievalError)
    assert "hunter" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_options_in_the_url_do_not_undo_ours():
    options = "decode_responses=true&socket_timeout=1000&protocol=3"
    with answering(None) as port, closing(open_states(f"redis://127.0.0.1:{port}?{options}", timeout_s=0.2)) as states:
        start = time.monotonic()
        assert states.get([b"any"]) == [None]
        assert time.monotonic() - start < PATIENT_S


@pytest.mark.parametrize("times", [{"ttl_s": 0}, {"timeout_s": 0.0}, {"retry_s": -1.0}, {"timeout_s": float("nan")}])
def test_times_are_positive(times):
    with pytest.raises(ValueError, match="positive times"):
        open_states("redis://localhost", **times)
