"""The documents of a collection: what was acknowledged is there, once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.store.rows import Counts, Document
from tests.retrieval.store.tables import Tables

IDS = st.sampled_from(["a", "b", "c", "ä/..\n", "鳥" * 64])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.tuples(IDS, st.sampled_from(["x", "y", ""])), min_size=1, max_size=4)),
        st.tuples(st.just("delete"), st.lists(IDS, max_size=3)),
        st.tuples(st.just("index"), st.integers(1, 3)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_it_holds_what_a_dictionary_would_and_finds_what_is_indexed(tmp_path_factory, steps):
    database = Tables(tmp_path_factory.mktemp("database"), create=True)
    texts: dict[str, str] = {}
    searchable: set[str] = set()
    for step, what in steps:
        if step == "put":
            database.documents.put(Document(i, text) for i, text in what)
            texts |= dict(what)
        elif step == "delete":
            assert database.documents.delete(what) == len(texts.keys() & set(what))
            for i in what:
                texts.pop(i, None)
                searchable.discard(i)
        else:
            waiting = {each.document.id for each in database.documents.waiting(what)}
            database.index(what)
            searchable |= waiting
        documents = [document for _, document in database.documents.page(0, 100)]
        assert {document.id: document.text for document in documents} == texts
        counts = database.documents.counts()
        assert counts.documents == len(texts)
        assert counts.passages == len(searchable) == sum(row.live.sum() for row in database.segments.all())


def test_what_is_unchanged_does_not_wait_again_and_its_metadata_is_replaced(database):
    assert database.documents.put([Document("a", "owl", "title", {"page": 1})]) == ["a"]
    database.index(9)
    assert database.documents.put([Document("a", "owl", "title", {"page": 2})]) == []
    assert database.documents.get(["a"])[0].metadata == {"page": 2}
    assert database.documents.counts().waiting == 0
    for changed in (Document("a", "owl", "other"), Document("a", "owls", "other")):
        assert database.documents.put([changed]) == ["a"]
        assert database.documents.counts().waiting == 1
        assert database.documents.counts().passages == 1, "the old content is found until the new one is"
        database.index(9)
    assert database.documents.counts() == Counts(1, 0, 1, 0)


def test_a_text_that_begins_elsewhere_is_another_one(database):
    database.documents.put([Document("a", "b\0c", "a")])
    moved = Document("a", "c", "a\0b")
    assert database.documents.put([moved]) == ["a"]
    assert database.documents.get(["a"]) == [moved]


def test_documents_come_in_the_order_that_was_asked_for_and_page_by_page(database):
    database.documents.put(Document(str(at), f"text {at}") for at in range(10))
    assert [document.id for document in database.documents.get(["7", "none", "2"])] == ["7", "2"]
    seen, after = [], 0
    while page := database.documents.page(after, 3):
        seen += [document.id for _, document in page]
        after = page[-1][0]
    assert seen == [str(at) for at in range(10)]


def test_a_failing_write_changes_nothing(database):
    def broken():
        yield Document("a", "owl")
        raise KeyError

    with pytest.raises(KeyError):
        database.documents.put(broken())
    assert database.documents.counts().documents == 0
    assert database.documents.put([Document("a", "owl")]) == ["a"]
