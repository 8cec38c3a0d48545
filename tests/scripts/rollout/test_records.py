import pytest

from scripts.rollout.records import Record, report, summary

RECORDS = [
    Record("TEI", 1.0, 1.1, "replica1", answered=True),
    Record("TEI", 1.2, 1.5, "replica1", failures=["502"], answered=True),
    Record("TEI", 1.6, 1.8, "replica2", moved=1, answered=True),
    Record("TEI", 1.9, 2.9, failures=["502", "502"]),
    Record("TEI", 3.0, 3.1, "replica2", answered=True),
]


def test_a_part_counts_what_ended_in_it():
    found = summary("part", RECORDS, 1.0, 3.0)
    assert (found.sent, found.answered, found.failed, found.retried, found.moved) == (4, 3, 2, 1, 1)
    assert (found.p50, found.p95) == (pytest.approx(200), pytest.approx(1000))


def test_the_longest_pause_is_between_answers_whoever_got_them():
    assert summary("part", RECORDS, 1.0, 3.0).pause == pytest.approx(1200)  # from 1.8 to the end
    assert summary("part", RECORDS, 1.0, 1.7).pause == pytest.approx(400)


def test_of_a_part_without_requests_nothing_is_said():
    with pytest.raises(ValueError, match="part: nothing was asked"):
        summary("part", RECORDS, 10.0, 11.0)


def test_the_report_has_a_row_for_each_part():
    text = report([summary("before", RECORDS, 1.0, 3.0), summary("after", RECORDS, 3.0, 4.0)])
    assert "| before | 2 | 4 | 3 | 2 | 1 | 1 | 200 / 1000 | 1200 |" in text
    assert "| after | 1 | 1 | 1 | 0 | 0 | 0 |" in text
