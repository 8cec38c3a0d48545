"""Searches that several threads announce are made as one, and each thread gets its own result."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from retrieval.index.passage_index import PendingVector
from retrieval.index.shared_search import SharedSearch
from tests.waiting import PATIENT_S


def query(number: int) -> PendingVector:
    return lambda: np.array([number], dtype=np.float32)


class Recorder:
    """Finds k positions from the query's number on; knows how many queries came in each search."""

    def __init__(self):
        self.sizes, self.fails = [], False

    def __call__(self, queries, k):
        self.sizes.append(len(queries))
        if self.fails:
            raise OSError("the disk is gone")
        return queries.astype(np.int64) + np.arange(k)


def test_whoever_comes_first_searches_for_all_that_wait():
    search = Recorder()
    shared = SharedSearch(search)
    finders = [shared.announce(query(number), 3) for number in range(5)]
    assert [finders[at](3).tolist() for at in (2, 0, 1, 3, 4)] == [[at, at + 1, at + 2] for at in (2, 0, 1, 3, 4)]
    assert search.sizes == [5]


def test_others_are_searched_for_by_themselves():
    """Those of another k, those that came too late, one that asks for more, and all beyond eight."""
    search = Recorder()
    shared = SharedSearch(search)
    few, many = shared.announce(query(1), 2), shared.announce(query(2), 3)
    assert few(2).tolist() == [1, 2]
    assert few(4).tolist() == [1, 2, 3, 4]
    assert many(3).tolist() == [2, 3, 4]
    assert search.sizes == [1, 1, 1]
    finders = [shared.announce(query(number), 1) for number in range(9)]
    assert finders[8](1).tolist() == [8]
    assert [find(1).tolist() for find in finders[:8]] == [[number] for number in range(8)]
    assert search.sizes[3:] == [8, 1]


def test_each_thread_waits_for_the_search_that_has_its_query():
    """One thread is searching while another comes for its result, and a third announces the next search."""
    begun, go_on = threading.Event(), threading.Event()

    def search(queries, k):
        begun.set()
        assert go_on.wait(PATIENT_S)
        return queries.astype(np.int64) + np.arange(k)

    shared = SharedSearch(search)
    first, second = shared.announce(query(1), 1), shared.announce(query(2), 1)
    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(first, 1)]
        assert begun.wait(PATIENT_S)
        results += [pool.submit(second, 1), pool.submit(shared.announce(query(3), 1), 1)]
        go_on.set()
        assert [result.result(PATIENT_S).tolist() for result in results] == [[1], [2], [3]]


def test_a_search_that_fails_fails_for_all_and_for_nobody_later():
    search = Recorder()
    shared = SharedSearch(search)
    finders = [shared.announce(query(number), 1) for number in range(2)]
    search.fails = True
    for find in finders:
        with pytest.raises(OSError, match="gone"):
            find(1)
    search.fails = False
    assert shared.announce(query(7), 1)(1).tolist() == [7]


def test_a_query_without_a_vector_fails_for_its_own_thread_alone():
    def broken():
        raise ValueError("no vector")

    search = Recorder()
    shared = SharedSearch(search)
    good, bad, other = shared.announce(query(1), 1), shared.announce(broken, 1), shared.announce(query(2), 1)
    assert good(1).tolist() == [1]
    assert other(1).tolist() == [2]
    with pytest.raises(ValueError, match="no vector"):
        bad(1)
    with pytest.raises(ValueError, match="no vector"):
        shared.announce(broken, 1)(1)  # with nobody else
    assert search.sizes == [2]
