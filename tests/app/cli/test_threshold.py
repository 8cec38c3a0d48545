"""`qrerank threshold`: judged pairs in, a threshold with its intervals out."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.threshold import choose, read_pairs, wilson
from retrieval.errors import DataError

PAIRS = [("owl song", "an owl song", "yes"), ("owl song", "market prices", "no")]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps(dict(zip(("query", "document", "relevant"), pair, strict=True))) for pair in PAIRS),
        "\n".join(json.dumps({"query": q, "document": d, "relevant": r == "yes"}) for q, d, r in PAIRS),
        "query,document,relevant\nowl song,an owl song,yes\nowl song,market prices,no\n",
        "owl song,an owl song,1\n\nowl song,market prices,0",
        'owl song,"an owl song",Yes\nowl song,market prices,NO',
        "Query\tDocument\tRelevant\nowl song\tan owl song\ttrue\nowl song\tmarket prices\tfalse",
        "relevant,document,query\nyes,an owl song,owl song\nno,market prices,owl song",
        "id,Query,Relevant,Document\n7,owl song,1,an owl song\n8,owl song,0,market prices",
        "owl song,an owl song,1.0\nowl song,market prices,0.0",
        "\n".join(json.dumps({"query": q, "document": d, "relevant": float(r == "yes")}) for q, d, r in PAIRS),
        "\ufeff\n" + "owl song,an owl song,yes\r\nowl song,market prices,no\r\n",
    ],
)
def test_pairs_come_in_several_forms(tmp_path, text):
    (tmp_path / "pairs").write_text(text)
    assert [(p.query, p.document, p.relevant) for p in read_pairs(tmp_path / "pairs")] == [
        (query, document, relevant == "yes") for query, document, relevant in PAIRS
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no pairs"),
        ("owl,an owl,yes\nowl,another,maybe", "pair 2: it needs a query, a document, and yes or no"),
        ("owl,an owl", "pair 1: it needs"),
        ("owl,an owl, at dusk,yes", r"it has query: 'owl', document: 'an owl', relevant: ' at dusk'"),
        ('{"query": "owl", "text": "an owl", "relevant": 2}', "it has query: 'owl', document: None, relevant: 2"),
        (" ,an owl,yes", "pair 1: it needs"),
        ('{"query": "owl", "document": "an owl", "relevant": true}\n{"query"', "line 2: not JSON"),
        ('{"query": "owl", "document": 3, "relevant": true}', "pair 1: it needs"),
        ('{"a": %s}' % ("[" * 10_000), "line 1: not JSON"),
        ("\u200b,an owl,yes", "pair 1: it needs"),
        ("owl,%s,yes" % ("x" * 200_000), r"not CSV or TSV \(field larger than"),
        ("query,document,relevant,Relevant\nowl,an owl,yes,no", "names a column twice"),
        ('""', "all of its 0 are alike"),
        ("owl,an owl,yes\nowl,owls,yes", "needs relevant and irrelevant pairs; all of its 2 are alike"),
    ],
)
def test_what_is_no_pair_is_named(tmp_path, text, message):
    (tmp_path / "pairs").write_text(text)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "pairs")


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\n\n", "\u2028", "\x0b", "\x0c", "\x1e", "\x85"])
def test_a_document_of_several_lines_stays_one(tmp_path, mark):
    pairs = [("owl", f"an owl{mark}sings", "yes"), ("owl", "prices", "no")]
    names = ("query", "document", "relevant")
    rows = [dict(zip(names, pair, strict=True)) for pair in pairs]
    (tmp_path / "json").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    (tmp_path / "csv").write_bytes("\r\n".join(f'{q},"{d}",{r}' for q, d, r in pairs).encode())
    for form in ("json", "csv"):
        assert [pair.document for pair in read_pairs(tmp_path / form)] == [document for _, document, _ in pairs]


def test_the_least_score_with_the_precision():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    relevant = np.array([1, 1, 0, 1, 0, 0], dtype=bool)
    assert choose(scores, relevant, 1.0).score == 0.8
    found = choose(scores, relevant, 0.75)
    assert (found.score, found.precision, found.recall) == (0.6, 0.75, 1.0)
    assert found.precision_low < 0.75 < found.precision_high
    assert found.low <= 0.6 <= found.high
    assert choose(scores, ~relevant, 0.9) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.floats(0.01, 1))
def test_laws(pairs, precision):
    scores, relevant = np.array([score for score, _ in pairs]), np.array([label for _, label in pairs])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.cli.threshold._RESAMPLES", 20)
        found = choose(scores, relevant, precision)
    reached = {score: relevant[scores >= score].mean() for score in scores.tolist()}
    good = [score for score, share in reached.items() if share >= precision - 1e-12]
    assert (found is None) is (not good)
    if found:
        assert found.score == min(good)
        assert found.precision == pytest.approx(reached[found.score])
        assert 0 <= found.precision_low <= found.precision + 1e-12
        assert found.precision - 1e-12 <= found.precision_high <= 1


def test_wilson_by_the_book():
    # Newcombe 1998, DOI 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(29, 29) == pytest.approx((0.8830, 1), abs=5e-5)


def test_the_command_prints_what_to_set(tmp_path, qrerank):
    lines = [f"owl song {n},an owl song {n},yes\nowl song {n},market prices,no" for n in range(12)]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    status, said, errors = qrerank("threshold", "pairs.csv", "--precision", "0.95")
    assert status == 0, errors
    assert "min_score 0." in said
    assert "precision 100%" in said
    printed = float(said.partition("min_score ")[2].split()[0])
    status, said, _ = qrerank("threshold", "pairs.csv", "--precision", "0.95", "--json")
    assert (status, json.loads(said)["recall"]) == (0, 1.0)
    assert printed <= json.loads(said)["score"] < printed + 1e-6  # the pair that defines it reaches what is printed


def test_pairs_are_scored_in_the_language_of_the_settings(tmp_path, qrerank):
    (tmp_path / "pairs.csv").write_text("Katze,die Katzen schlafen,yes\nKatze,Börsenkurse,no")
    score = {}
    for language in ("de", "none"):
        status, said, errors = qrerank("threshold", "pairs.csv", "--json", QRERANK_LANGUAGE=language)
        assert status == 0, errors
        score[language] = json.loads(said)["score"]
    assert score["de"] > score["none"]


def test_few_pairs_are_told_and_an_impossible_precision_is_an_error(tmp_path, qrerank):
    (tmp_path / "pairs.csv").write_text("owl song,market prices,yes\nowl song,an owl song,no")
    status, _, errors = qrerank("threshold", "pairs.csv", "--precision", "1")
    assert status == 1
    assert "2 pairs are few" in errors
    assert "no score gives a precision of 100% on these pairs; the best is 50%" in errors
    assert qrerank("threshold", "none.csv")[0] == 2
