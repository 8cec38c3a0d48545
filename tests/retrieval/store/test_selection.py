"""What is remembered of filters is what is true now, and no more of it than is allowed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from retrieval.errors import FilterUnfinished
from retrieval.store.collection import Collection
from retrieval.store.compaction import merge
from retrieval.store.filters import instant, parse
from retrieval.store.rows import Document
from retrieval.store.selection import Selections, size_of
from tests.retrieval.store.test_filters import filled
from tests.waiting import PATIENT_S, eventually

OF_A, NOT_OF_A = parse({"eq": {"of": "a"}}), parse({"not": {"eq": {"of": "a"}}})


@pytest.fixture
def collection(tmp_path):
    opened = filled(tmp_path / "c", [Document(str(at), "owl", metadata={"of": "ab"[at % 2]}) for at in range(4)], 2)
    yield opened
    opened.close()


def ids(snapshot) -> list[str]:
    return [passage.id for passage in snapshot.passages(np.flatnonzero(snapshot.live))]


def test_a_filter_is_checked_again_after_a_write(collection):
    first = collection.rows(OF_A)
    assert collection.rows(parse({"eq": {"of": "a"}})) is first
    collection.put([Document("1", "owl", metadata={"of": "a"})])
    assert collection.rows(OF_A) is not first
    assert ids(collection.select(OF_A)) == ["0", "1", "2"]
    collection.delete(["0"])
    assert ids(collection.select(OF_A)) == ["1", "2"]
    assert ids(collection.select(NOT_OF_A)) == ["3"]
    eventually(lambda: not any(each.name.startswith("filter") for each in threading.enumerate()))  # until it is asked


def test_true_and_1_are_not_remembered_as_one(collection):
    collection.put([Document("0", "owl", metadata={"of": True}), Document("1", "owl", metadata={"of": 1})])
    assert ids(collection.select(parse({"eq": {"of": True}}))) == ["0"]
    assert ids(collection.select(parse({"eq": {"of": 1}}))) == ["1"]


@pytest.mark.parametrize(("spare", "kept"), [(0, True), (-1, False)])
def test_the_least_recently_used_is_forgotten(collection, spare, kept):
    both = sum(size_of(each.where(), collection.rows(each)) for each in (OF_A, NOT_OF_A))
    assert size_of(OF_A.where(), {}) > 0, "filters that leave nothing take memory, too"
    selections = Selections(collection.folder, collection.revision, both + spare)
    rows = selections.rows(OF_A.where())
    selections.rows(NOT_OF_A.where())
    assert (selections.rows(OF_A.where()) is rows) is kept
    selections.close()


def test_a_filter_that_a_request_cannot_wait_for_goes_on_and_is_found_by_the_next(collection):
    go_on = threading.Event()

    def revision() -> int:
        if threading.current_thread() is not threading.main_thread():
            assert go_on.wait(PATIENT_S)
        return collection.revision()

    selections = Selections(collection.folder, revision)
    with pytest.raises(FilterUnfinished, match="ask again"):
        selections.rows(OF_A.where(), until=0.0)
    go_on.set()
    rows = selections.rows(OF_A.where())
    assert selections.rows(OF_A.where(), until=0.0) is rows
    selections.close()
    with pytest.raises(RuntimeError, match="after shutdown"):  # it opens no connection that nobody closes
        selections.rows(NOT_OF_A.where())


def test_a_filter_that_takes_too_long_is_ended(collection, monkeypatch):
    monkeypatch.setattr("retrieval.store.connection._STEPS", 1)
    with pytest.raises(FilterUnfinished, match="send fewer conditions"):
        collection.segments.rows(OF_A.where(), until=0.0)
    assert collection.segments.rows(OF_A.where())


class Dated:
    """A collection of one document, whose date is only compared when it may be."""

    def __init__(self, folder, monkeypatch) -> None:
        self.compared, self.checking, self._may = list[str](), threading.Event(), threading.Event()
        monkeypatch.setattr("retrieval.store.connection.instant", self._instant)
        self.collection = filled(folder, [Document("a", "owl", metadata={"at": "2024-01-01"})], 1)

    def _instant(self, date: str) -> int | None:
        self.compared.append(date)
        self.checking.set()
        assert self._may.wait(PATIENT_S)
        return instant(date)

    @contextmanager
    def while_checked(self, work, *arguments):
        """Run it beside what is done once it has come to the date; what it will give."""
        with ThreadPoolExecutor(1) as pool:
            try:
                running = pool.submit(work, *arguments)
                assert self.checking.wait(PATIENT_S)
                yield running
                assert not running.done()
            finally:
                self._may.set()


@pytest.fixture
def dated(tmp_path, monkeypatch):
    dated = Dated(tmp_path / "c", monkeypatch)
    yield dated
    dated.collection.close()


def since(date: str):
    return parse({"range": {"at": {"gte": date}}})


def test_while_a_filter_is_checked_for_a_list_all_else_is_read(dated):
    with dated.while_checked(dated.collection.page, 0, 10, since("1970-01-01")) as listed:
        assert dated.collection.counts().documents == 1
    assert [document.id for _, document in listed.result(PATIENT_S)] == ["a"]


def test_a_filter_that_nobody_waits_for_is_not_checked_if_that_has_not_begun(dated):
    collection = dated.collection
    with ThreadPoolExecutor(1) as pool, dated.while_checked(collection.rows, since("1970-01-01")):
        for year in range(1971, 2000):
            with pytest.raises(FilterUnfinished, match="ask again"):
                collection.rows(since(f"{year}-01-01"), until=0.0)
        waiting = pool.submit(collection.rows, since("2000-01-01"))
        with pytest.raises(FilterUnfinished, match="ask again"):
            collection.rows(since("2000-01-01"), until=0.0)
    assert waiting.result(PATIENT_S), "somebody waited for it"
    assert len(dated.compared) == 2


def test_others_write_while_a_filter_is_checked_for_a_deletion(dated):
    collection, other = dated.collection, Collection(dated.collection.folder)
    collection.put([Document("b", "owl", metadata={"at": "2024-01-02"})])
    with dated.while_checked(collection.delete_where, since("1970-01-01")) as deleted:
        other.put([Document("b", "owl", metadata={"at": "1969-12-31"}), Document("c", "owl")])
    assert deleted.result(PATIENT_S) == 1
    assert [document.id for _, document in other.page(0, 10)] == ["b", "c"], "of b the filter does not hold any more"


def test_a_deletion_by_a_filter_that_takes_too_long_deletes_nothing(collection, monkeypatch):
    monkeypatch.setattr("retrieval.store.connection._STEPS", 1)
    monkeypatch.setattr("retrieval.store.selection._LONGEST_S", 0.0)
    with pytest.raises(FilterUnfinished, match="send fewer conditions"):
        collection.delete_where(OF_A)
    assert collection.counts().documents == 4


def test_rows_of_segments_that_a_snapshot_lacks_are_not_searched_in_others(collection):
    before, rows = collection.snapshot(), collection.rows(OF_A)
    merge(collection, all_of_it=True)
    assert before.only(collection.rows(OF_A)) is None
    assert collection.snapshot().only(rows) is None
    assert ids(before.only(rows)) == ids(collection.select(OF_A)) == ["0", "2"]


def test_documents_are_deleted_and_listed_by_a_filter(collection):
    assert [document.id for _, document in collection.page(0, 10, OF_A)] == ["0", "2"]
    assert collection.delete_where(OF_A) == 2
    assert collection.delete_where(OF_A) == 0
    assert ids(collection.snapshot()) == ["1", "3"]
