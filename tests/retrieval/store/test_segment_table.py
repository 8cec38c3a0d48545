"""Which passages are part of a collection, whatever happens while they are indexed or merged."""

import numpy as np
import pytest

from retrieval.store.rows import Document


@pytest.mark.parametrize("change", ["changed", "deleted"])
def test_what_changes_while_it_is_indexed_is_not_found_with_its_old_content(database, change):
    database.documents.put([Document("a", "owl"), Document("b", "lamp")])
    waiting = database.documents.waiting(9)
    database.documents.put([Document("a", "river")]) if change == "changed" else database.documents.delete(["a"])
    database.segments.add(waiting, [0, 1, 1], 1)
    assert database.segments.all()[0].live.tolist() == [False, True, True]
    assert [each.document.text for each in database.documents.waiting(9)] == (["river"] if change == "changed" else [])


def test_segments_merge_in_the_order_of_their_documents_and_what_was_deleted_meanwhile_stays_out(database):
    for at in range(6):
        database.documents.put([Document(str(at), "x")])
        database.index(9)
    rows = {row.number: np.flatnonzero(row.live) for row in database.segments.all()[1:4]}
    database.documents.delete(["2"])
    database.segments.replace(rows, database.segments.next_number())
    assert [row.number for row in database.segments.all()] == [1, 7, 5, 6]
    assert database.segments.all()[1].live.tolist() == [True, False, True]
    database.documents.delete(["1", "3"])
    assert not database.segments.all()[1].live.any()
    database.segments.replace({7: np.zeros(0, dtype=np.int64)}, 8)
    assert [row.number for row in database.segments.all()] == [1, 5, 6]


def test_documents_of_a_lost_segment_wait_again(database):
    database.documents.put([Document("a", "owl"), Document("b", "lamp")])
    database.index(1)
    database.index(1)
    database.segments.forget([1])
    assert [each.document.id for each in database.documents.waiting(9)] == ["a"]
    assert [row.number for row in database.segments.all()] == [2]
