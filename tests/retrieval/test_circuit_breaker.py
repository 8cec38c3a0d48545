import logging
import threading

import pytest

from retrieval.circuit_breaker import CircuitBreaker
from tests.waiting import PATIENT_S, eventually


class Server:
    """A server that fails until `answers` is set; counts its probes."""

    def __init__(self) -> None:
        self.answers, self.probes = threading.Event(), 0
        self.error: Exception = ConnectionError("refused")

    def probe(self) -> None:
        self.probes += 1
        if not self.answers.is_set():
            raise self.error


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def breaker(server):
    breaker = CircuitBreaker("the server", server.probe, 0.001, "nothing is shared", failures=(ConnectionError,))
    yield breaker
    breaker.close()


def test_without_a_failure_the_server_is_available_and_nobody_probes(breaker, server):
    assert (breaker.available, breaker.errors, breaker.last_fault, server.probes) == (True, 0, None, 0)


def test_an_outage_is_logged_once_and_ends_when_the_server_answers(breaker, server, caplog):
    caplog.set_level(logging.INFO, "retrieval.circuit_breaker")
    for _ in range(3):
        breaker.fail(ConnectionError("refused"))
    assert not breaker.available
    eventually(lambda: server.probes > 3)
    server.answers.set()
    eventually(lambda: breaker.available)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages[0] == "the server fails (refused); nothing is shared until it answers"
    assert breaker.errors >= 6


def test_whoever_sees_a_change_finds_it_in_the_log_and_its_fault_noted(breaker, server, monkeypatch):
    observed = []
    monkeypatch.setattr(
        "retrieval.circuit_breaker.log.warning",
        lambda *_: observed.append((breaker.available, breaker.last_fault)),
    )
    monkeypatch.setattr("retrieval.circuit_breaker.log.info", lambda *_: observed.append(breaker.available))
    breaker.fail(ConnectionError("refused"))
    server.answers.set()
    eventually(lambda: breaker.available)
    (before, fault), ended = observed
    assert (before, ended) == (True, False)
    assert "refused" in fault.text


def test_what_no_server_should_do_does_not_keep_an_outage_from_ending(breaker, server, caplog):
    server.error = ZeroDivisionError()
    breaker.fail(ConnectionError("refused"))
    eventually(lambda: server.probes > 2)
    server.answers.set()
    eventually(lambda: breaker.available)
    assert "the probe of the server failed" in caplog.messages


def test_after_the_end_the_server_is_not_available_and_nobody_probes(breaker, server, caplog):
    breaker.close()
    breaker.fail(ConnectionError("refused"))
    assert (breaker.available, server.probes, caplog.messages) == (False, 0, [])


def test_whoever_waits_for_the_end_of_an_outage_is_woken(breaker, server):
    breaker.fail(ConnectionError("refused"))
    server.answers.set()
    with breaker.changed:
        assert breaker.changed.wait_for(lambda: breaker.available, timeout=PATIENT_S)


def test_it_opens_after_so_many_failures_in_a_row_and_says_when_it_probes(server, monotonic):
    breaker = CircuitBreaker("it", server.probe, 60, "nothing is shared", failures=(ConnectionError,), threshold=5)
    for _ in range(4):
        breaker.fail(ConnectionError())
    breaker.succeed()
    for _ in range(4):
        breaker.fail(ConnectionError())
    assert (breaker.available, breaker.retry_after_s, breaker.errors) == (True, 0, 8)
    breaker.fail(ConnectionError())
    monotonic.now += 20
    assert (breaker.available, breaker.retry_after_s) == (False, 40)
    breaker.close()


def test_idle_connections_are_closed_when_a_request_fails_and_all_of_them_at_the_end(server):
    closed = []
    breaker = CircuitBreaker(
        "it", server.probe, 60, "nothing is shared", failures=(ConnectionError,), disconnect=closed.append
    )
    breaker.fail(ConnectionError())
    breaker.close()
    assert closed == [True, False]
