"""Jobs: how far they are follows from the documents."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.store import jobs
from retrieval.store.jobs import COMPACT, LOST_AFTER_S, Jobs, Writing
from retrieval.store.rows import Document
from tests.retrieval.store.tables import Tables

STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["one", "two"]), st.lists(st.integers(0, 9), min_size=1, max_size=4)),
        st.tuples(st.just("index"), st.integers(1, 3)),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 9), max_size=3)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_a_job_is_done_exactly_when_none_of_its_documents_waits(tmp_path_factory, steps):
    tables = Tables(tmp_path_factory.mktemp("database"), create=True)
    jobs, sent, waiting, version = Jobs(tables.connection), dict[str, set[str]](), list[str](), 0
    for step, what in steps:
        ids = [str(i) for i in what] if step != "index" else []
        if step == "delete":
            tables.documents.delete(ids)
            waiting = [i for i in waiting if i not in ids]
        elif step == "index":
            tables.index(what)
            waiting = waiting[what:]
        else:  # every other write repeats what is there
            version += 1
            tables.documents.put([Document(i, f"text {version // 2}") for i in ids], Writing(step))
            sent[step] = sent.get(step, set()) | set(ids)
            waiting = [each.document.id for each in tables.documents.waiting(100)]
        for key, of_job in sent.items():
            job = jobs.get(key)
            assert 0 <= job.done <= job.total == job.stored
            if of_job & set(waiting):
                assert job.waiting or _sent_by_a_later_write(tables, key, of_job)
            if not waiting:
                assert (job.status, job.done) == ("done", job.total)


def _sent_by_a_later_write(tables: Tables, key: str, ids: set[str]) -> bool:
    """Whether all that waits of these ids has a number above the job's last: another write made it wait."""
    ((last,),) = tables.connection.read("SELECT coalesce(last, 0) FROM jobs WHERE key = ?", (key,))
    return all(each.number > last for each in tables.documents.waiting(100) if each.document.id in ids)


def put(database, key, first, count, **job):
    return database.documents.put(
        [Document(str(i), f"text {i}") for i in range(first, first + count)], Writing(key, **job)
    )


def test_a_job_goes_on_over_many_transactions(database):
    found = Jobs(database.connection)
    put(database, "a", 0, 10, rejected=2, is_complete=False)
    job = found.get("a")
    assert (job.status, job.stored, job.changed, job.rejected, job.done) == ("running", 10, 10, 2, 0)
    assert job.seconds_left is None
    put(database, "b", 100, 1)
    put(database, "a", 5, 10, rejected=1)
    database.index(8)
    job = found.get("a")
    assert (job.status, job.stored, job.changed, job.rejected) == ("running", 20, 15, 3)
    assert job.done == 12, "one of the eight waiting ones is of another job: never more is claimed than is done"
    assert job.seconds_left >= 0
    database.index(99)
    assert [(each.key, each.status, each.done) for each in found.newest(9)] == [("b", "done", 1), ("a", "done", 20)]
    assert [each.key for each in found.newest(1)] == ["b"]
    assert found.get("c") is None


def test_a_write_that_says_nothing_any_more_has_failed(database, monkeypatch):
    put(database, "a", 0, 1, is_complete=False)
    put(database, "b", 1, 1)
    found, now = Jobs(database.connection), time.time()
    monkeypatch.setattr(time, "time", lambda: now + LOST_AFTER_S - 10)
    assert found.get("a").status == "running"
    monkeypatch.setattr(time, "time", lambda: now + LOST_AFTER_S + 10)
    assert found.get("a").status == "failed"
    assert found.get("b").status == "running", "it waits for the indexer, however long that takes"
    put(database, "a", 0, 0, error="the client left")
    assert (found.get("a").status, found.get("a").error) == ("failed", "the client left")


def test_documents_that_the_model_cannot_encode_are_counted(database):
    put(database, "a", 0, 2)
    database.documents.set_aside(database.documents.waiting(1)[0], "too long")
    database.index(9)
    job = Jobs(database.connection).get("a")
    assert (job.status, job.done, job.failed) == ("done", 2, 1)


@pytest.mark.parametrize("kept", [2, 3])
def test_old_jobs_are_forgotten(database, monkeypatch, kept):
    monkeypatch.setattr(jobs, "KEPT", kept)
    for key in "abcd":
        put(database, key, 0, 1)
    assert [job.key for job in Jobs(database.connection).newest(9)] == list("dcba")[:kept]
    put(database, "a", 9, 1)
    assert Jobs(database.connection).get("a").stored == 1, "an upload goes on though its job was forgotten"


def test_a_job_for_the_indexer_is_not_forgotten_before_it_is_done(database, monkeypatch):
    monkeypatch.setattr(jobs, "KEPT", 2)
    found = Jobs(database.connection)
    key = found.request(COMPACT)
    for name in "abc":
        put(database, name, 0, 1)
    assert (found.is_requested(COMPACT), found.get(key).status) == (True, "running")
    found.complete(COMPACT)
    put(database, "d", 0, 1)
    assert found.get(key) is None


def test_a_job_for_the_indexer_is_made_once_until_it_is_done(database):
    found = Jobs(database.connection)
    key = found.request(COMPACT)
    assert found.request(COMPACT) == key
    assert (found.is_requested(COMPACT), found.get(key).status) == (True, "running")
    found.complete(COMPACT)
    assert (found.is_requested(COMPACT), found.get(key).status, found.get(key).done) == (False, "done", 1)
    other = found.request(COMPACT)
    assert other != key
    found.complete(COMPACT, "a segment is damaged")
    assert found.get(other).status == "failed"


def test_progress_reads_no_documents_but_those_that_wait(database):
    plan = "EXPLAIN QUERY PLAN " + jobs._COLUMNS + " WHERE key = 'a'"
    steps = " ".join(str(row[3]) for row in database.connection.read(plan))
    assert steps.count("USING COVERING INDEX") == 2, steps
