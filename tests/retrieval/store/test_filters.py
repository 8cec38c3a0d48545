"""What filters mean, that SQL says the same, and that a search with one is a search of the documents that it leaves."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.index.first_stage import BOTH
from retrieval.index.passage_index import Model
from retrieval.store.collection import Collection, CollectionSettings
from retrieval.store.connection import Connection
from retrieval.store.documents import Documents
from retrieval.store.filters import (
    LONGEST_FIELD,
    MOST_CONDITIONS,
    MOST_LEVELS,
    MOST_VALUES,
    FilterError,
    instant,
    loads,
    parse,
)
from retrieval.store.indexer import index_all
from retrieval.store.rows import Document
from retrieval.text.bm25 import QueryTerms

NAMES = st.sampled_from(["a", "b", "a.b", "", "$", '"', "\\", "a\\", "[0]", "#-1", "ä\0", "'; --", "x y"])
TEXTS = st.sampled_from(["", "a", "A", "1", "true", "null", "ä", "a\u0308", "\0", "it's", '"', "\ue000", "🐦"])
DATES = st.sampled_from(
    ["2024-02-29", "2024-03-01", "2024-03-01T00:00:00Z", "2024-03-01T00:30:00+01:00", "2024-02-29 23:59:59.999999"]
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 1.0, 0.5, -0.0, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, 2**63, 2**64 - 1, -(2**63)]),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
)
SCALARS = st.one_of(st.none(), st.booleans(), TEXTS, DATES, NUMBERS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
METADATA = st.dictionaries(NAMES, VALUES, max_size=4)
PATHS = st.lists(NAMES, min_size=1, max_size=2).map(
    lambda names: ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in names)
)
BOUNDS = st.tuples(st.sampled_from(["gt", "gte", None]), st.sampled_from(["lt", "lte", None])).filter(any)


def of_field(operator, content):
    return st.tuples(PATHS, content).map(lambda pair: {operator: {pair[0]: pair[1]}})


def bounds(values):
    return st.tuples(BOUNDS, values, values).map(
        lambda drawn: {name: value for name, value in zip(drawn[0], drawn[1:], strict=True) if name}
    )


LEAVES = st.one_of(
    of_field("eq", SCALARS),
    of_field("in", st.lists(SCALARS, max_size=4)),
    of_field("range", st.one_of(bounds(NUMBERS), bounds(DATES))),
    PATHS.map(lambda path: {"exists": path}),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"or": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=5,
)

ENCODER = HashEncoder()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return Documents(Connection(tmp_path_factory.mktemp("filters"), create=True))


def found(documents, wanted) -> set[str]:
    return {document.id for _, document in documents.page(0, 10_000, wanted.where())}


@settings(max_examples=100)
@given(st.lists(METADATA, min_size=1, max_size=8), st.lists(FILTERS, min_size=1, max_size=8))
@example([{"a": 1}, {"a": True}, {"a": "1"}, {"a": 1.0}], [{"eq": {"a": 1}}, {"eq": {"a": True}}])
@example([{"a": {"b": 1}}, {"a": [{"b": 1}, [1]]}], [{"eq": {"a": 1}}, {"range": {"a": {"gte": 1}}}])
@example([{"a": 2**53}, {"a": 2**53 + 1}, {"a": float(2**53)}], [{"range": {"a": {"gt": 2**53}}}])
def test_sql_finds_what_a_plain_loop_finds(table, metadata, filters):
    table.delete([str(at) for at in range(8)])
    table.put(Document(str(at), "text", metadata=each) for at, each in enumerate(metadata))
    for written in filters:
        wanted = parse(written)
        assert found(table, wanted) == {str(at) for at, each in enumerate(metadata) if wanted.matches(each)}
        assert loads(orjson.dumps(written)) == wanted


@pytest.mark.parametrize(
    ("metadata", "true", "false"),
    [
        ({"lang": "de"}, [{"eq": {"lang": "de"}}], [{"eq": {"lang": "DE"}}, {"eq": {"lang": "d"}}]),
        ({"tag": ["a", "b"]}, [{"eq": {"tag": "b"}}, {"in": {"tag": ["x", "a"]}}], [{"eq": {"tag": "c"}}]),
        ({"tag": [["a"]], "o": {"a": "b"}}, [{"exists": "tag"}], [{"eq": {"tag": "a"}}, {"eq": {"o": "b"}}]),
        ({}, [{"not": {"eq": {"lang": "de"}}}], [{"eq": {"lang": None}}, {"exists": "lang"}, {"in": {"lang": []}}]),
        ({"lang": None}, [{"eq": {"lang": None}}, {"exists": "lang"}], [{"eq": {"lang": "null"}}]),
        ({"draft": True}, [{"eq": {"draft": True}}], [{"eq": {"draft": 1}}, {"range": {"draft": {"gte": 0}}}]),
        ({"n": 1}, [{"eq": {"n": 1.0}}, {"range": {"n": {"gte": 1}}}], [{"eq": {"n": "1"}}, {"eq": {"n": True}}]),
        ({"n": "5"}, [{"exists": "n"}], [{"range": {"n": {"gt": 0}}}]),
        ({"n": [1, 9]}, [{"range": {"n": {"gt": 8}}}], [{"range": {"n": {"gt": 3, "lt": 7}}}]),
        ({"n": 2**53 + 1}, [{"range": {"n": {"gt": 2**53}}}], [{"eq": {"n": 2**53}}, {"eq": {"n": float(2**53)}}]),
        ({"a": {"b": 1}, "a.b": 2}, [{"eq": {"a.b": 1}}, {"eq": {"a\\.b": 2}}], [{"eq": {"a.b": 2}}]),
        ({"a": [{"b": 1}]}, [{"exists": "a"}], [{"eq": {"a.b": 1}}, {"exists": "a.0"}]),
        ({"": 1, "$": 2, 'q"': 3}, [{"eq": {"": 1}}, {"eq": {"$": 2}}, {"eq": {'q"': 3}}], [{"exists": "."}]),
        (
            {"at": "2024-12-31T23:30:00-01:00"},
            [{"range": {"at": {"gte": "2025-01-01"}}}, {"range": {"at": {"lte": "2025-01-01T00:30:00Z"}}}],
            [{"range": {"at": {"lte": "2024-12-31"}}}, {"eq": {"at": "2025-01-01T00:30:00Z"}}],
        ),
        (
            {"at": "2024-12-31T18:00:00"},  # no zone: UTC
            [{"range": {"at": {"lte": "2024-12-31"}}}, {"range": {"at": {"gte": "2024-12-31T19:00:00+01:00"}}}],
            [{"range": {"at": {"gt": "2024-12-31"}}}, {"range": {"at": {"lt": "2024-12-31"}}}],
        ),
        ({"at": "2024-13-01"}, [{"exists": "at"}], [{"range": {"at": {"gte": "0001-01-01", "lte": "9999-12-31"}}}]),
    ],
)
def test_what_conditions_mean(table, metadata, true, false):
    table.delete([str(at) for at in range(8)])
    table.put([Document("0", "text", metadata=metadata)])
    for wanted, holds in [(each, True) for each in true] + [(each, False) for each in false]:
        assert parse(wanted).matches(metadata) is holds, wanted
        assert found(table, parse(wanted)) == ({"0"} if holds else set()), wanted
        assert found(table, parse({"not": wanted})) == (set() if holds else {"0"}), wanted


@given(st.datetimes(), st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))))
def test_an_instant_is_that_of_the_calendar(moment, zone):
    text = moment.replace(tzinfo=zone).isoformat()
    microseconds = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    assert instant(text) == microseconds - zone.utcoffset(None) // timedelta(microseconds=1)
    assert instant(moment.isoformat()) == instant(moment.replace(tzinfo=UTC).isoformat()) == microseconds


@pytest.mark.parametrize(
    "text", ["", "now", "2024", "2024-1-1", "2024-02-30", "12:00", "2024-01-01T25:00", "٢٠٢٤-01-01"]
)
def test_what_is_no_date(text):
    assert instant(text) is None


def nested(levels):
    wanted = {"exists": "a"}
    for _ in range(levels - 1):
        wanted = {"not": wanted}
    return wanted


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (None, "must be an object with exactly one of eq, in,"),
        ({}, "must be an object with exactly one of"),
        ([], "must be an object with exactly one of"),
        ({"$eq": {"a": 1}}, "must be an object with exactly one of"),
        ({"eq": {"a": 1}, "in": {"a": []}}, "join several conditions by and"),
        ({"and": [{"exists": "a"}, {"must": []}]}, "and.1: must be an object with exactly one of"),
        ({"and": []}, "and: must be a list of at least one"),
        ({"or": {"exists": "a"}}, "or: must be a list"),
        ({"eq": "a"}, "eq: must be an object with exactly one field"),
        ({"eq": {"a": 1, "b": 2}}, "eq: must be an object with exactly one field"),
        ({"eq": {"a": [1]}}, "eq: must compare with texts, numbers"),
        ({"not": {"in": {"a": [{}]}}}, "not.in: must compare with"),
        ({"in": {"a": 1}}, "in: must hold a list"),
        ({"exists": 1}, "exists: must be the name of a field"),
        ({"exists": "a" * (LONGEST_FIELD + 1)}, f"exists: has a field of more than {LONGEST_FIELD} characters"),
        ({"exists": "a\\"}, "exists: has a field that ends with a backslash"),
        ({"range": {"a": {}}}, "range: must hold an object with bounds"),
        ({"range": {"a": {"from": 1}}}, "range: must hold an object with bounds"),
        ({"range": {"a": {"gt": 1, "gte": 1}}}, "range: has two lower"),
        ({"range": {"a": {"gt": 1, "lt": "2024-01-01"}}}, "range: must have bounds that are all numbers"),
        ({"range": {"a": {"gt": True}}}, "range: must have bounds that are all numbers"),
        ({"range": {"a": {"gt": "b"}}}, "range: has a bound that is no date"),
        (nested(MOST_LEVELS + 1), f"is nested deeper than {MOST_LEVELS} levels"),
        (nested(1000), f"is nested deeper than {MOST_LEVELS} levels"),
        ({"or": [{"exists": "a"}] * MOST_CONDITIONS}, f"has more than {MOST_CONDITIONS} conditions"),
        ({"or": [{"in": {"a": [1] * MOST_VALUES}}, {"in": {"a": [1]}}]}, "or.1.in: brings the values"),
    ],
)
def test_a_filter_that_is_not_valid_is_refused(wanted, message):
    with pytest.raises(FilterError) as refused:
        parse(wanted)
    assert message in str(refused.value)


def test_text_that_is_no_json_is_refused():
    for text in ("{", "[" * 100_000, '{"not":' * 100_000, "NaN"):
        with pytest.raises(FilterError, match="is not JSON"):
            loads(text)


def test_the_largest_filters_are_taken(table):
    many = {"or": [{"eq": {str(at): at}} for at in range(MOST_CONDITIONS - 1)]}
    for wanted in (nested(MOST_LEVELS), many, {"in": {"a": list(range(MOST_VALUES))}}, {"exists": "." * LONGEST_FIELD}):
        assert found(table, parse(wanted)) <= set("01234567")


WORDS = ("owl", "dusk", "river", "stone")


@settings(max_examples=12)
@given(
    st.lists(st.tuples(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), METADATA), min_size=1, max_size=9),
    FILTERS,
    st.integers(1, 3),
)
def test_a_search_with_a_filter_is_a_search_of_the_rest(tmp_path_factory, texts, written, at_once):
    documents = [Document(str(at), " ".join(words), metadata=of) for at, (words, of) in enumerate(texts)]
    wanted = parse(written)
    folder = tmp_path_factory.mktemp("both")
    whole, rest = (
        filled(folder / name, some, at_once)
        for name, some in (
            ("whole", documents),
            ("rest", [each for each in documents if wanted.matches(each.metadata)]),
        )
    )
    selected = whole.select(wanted)
    for query in ("owl", "river stone", "absent"):
        vector, words = ENCODER.encode([query]).pooled[0], QueryTerms.of(query)
        for k in (1, 3, 20):
            ours, theirs = (BOTH.search(index, vector, index.words(words), k) for index in (selected, rest.snapshot()))
            assert [p.id for p in selected.passages(ours)] == [p.id for p in rest.snapshot().passages(theirs)]
    for collection in (whole, rest):
        collection.close()


def filled(folder, documents, at_once=1):
    Collection.create(folder, CollectionSettings(Model(ENCODER.name, ENCODER.digest, ENCODER.arithmetic, 512)))
    collection = Collection(folder)
    for start in range(0, len(documents), at_once):
        collection.put(documents[start : start + at_once])
        index_all(collection, ENCODER, lambda *_: None)
    return collection


def test_words_weigh_as_if_there_were_no_documents_of_another_language(tmp_path):
    german = [Document(f"de{at}", f"Die Eule jagt in der Nacht {at}", metadata={"in": "de"}) for at in range(4)]
    english = [Document(f"en{at}", f"The owl hunts at night {at}", metadata={"in": "en"}) for at in range(2)]
    both, alone = filled(tmp_path / "both", german + english, 3), filled(tmp_path / "alone", english)

    def words(index) -> dict[str, float]:
        positions, scores = index.words(QueryTerms.of("the owl of the night")).search(9)
        return {passage.id: score for passage, score in zip(index.passages(positions), scores.tolist(), strict=True)}

    expected = pytest.approx(words(alone.snapshot()))
    assert words(both.select(parse({"eq": {"in": "en"}}))) == expected
    both.delete_where(parse({"eq": {"in": "de"}}))
    assert words(both.snapshot()) == expected, "before the segments are written anew, too"
    both.close()
    alone.close()


def test_ids_are_selected_and_what_is_not_there_is_not(tmp_path):
    collection = filled(tmp_path / "c", [Document(str(at), "owl") for at in range(5)], 2)
    selected = collection.select(["3", "none", "0"])
    assert sorted(p.id for p in selected.passages(np.flatnonzero(selected.live))) == ["0", "3"]
    assert len(collection.select([])) == 0
    collection.close()
