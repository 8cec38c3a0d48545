import pytest

from benchmarks.figures import Figures
from benchmarks.load import Load
from benchmarks.measure import Sample
from benchmarks.ours import COLD, COLD_DEADLINE
from benchmarks.peers import INFINITY
from benchmarks.report import number, report, table
from benchmarks.roofline import Roofline
from benchmarks.scaling import Concurrency, Memory
from benchmarks.targets import HYBRID_WARM, targets


@pytest.fixture
def figures():
    return Figures(
        {"processor": "an abacus"},
        latencies=[
            Sample(COLD, 100, [300.0, 310.0], [100, 100], [1.0, 1.0]),
            Sample(COLD_DEADLINE, 100, [200.0, 600.0], [60, 40], [1.0, 1.0]),
            Sample(HYBRID_WARM, 100, [10.0, 12.0], [100, 100], [2.0, 2.0]),
            Sample(INFINITY[0].row, 100, [3000.0]),
            Sample(INFINITY[1].row, 100, [1000.0]),
        ],
    )


def test_a_table_is_github_markdown():
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


@pytest.mark.parametrize(("value", "text"), [(0.1234, "0.12"), (12.34, "12.3"), (1234.5, "1234")])
def test_numbers_have_three_digits_or_all_that_matter(value, text):
    assert number(value) == text


def test_ratios_are_of_medians(figures):
    assert figures.ratio(COLD, INFINITY[0].row) == 10
    assert figures.ratio(COLD, "nobody") is None


def test_the_report_has_what_was_measured_and_no_more(figures):
    text = report(figures)
    assert f"| {COLD_DEADLINE} | 200 / 600 |" in text
    assert "| – of them scored by their states | 50 |" in text
    assert "Roofline" not in text


def test_every_part_has_its_table(figures):
    load = Load(50, 2.0, [10.0, 20.0], 0, [20, 10], 0.02, [1.0])
    figures.tokens = [Sample("216", 50, [500.0])]
    figures.concurrency = Concurrency([load], [load], 0.025, 0.5)
    figures.memory = Memory(500, 600, 610)
    figures.roofline = Roofline({"int8": 2.0, "bf16": 1.0}, "openvino-int8", 100, 21_600, 0.5)
    figures.handover_us = [20.0]
    text = report(figures)
    assert "| 216 | 500 | 500 | 21600 |" in text
    assert "| 50 | 1.00 | 10.0 / 20.0 / 20.0 | 1.00 | 10.0 / 20.0 / 20.0 | 15.0 of 20 | 0 | 2 % |" in text
    assert "lag p99 25 ms or less" in text
    assert "1.00 ×10¹²/s, 50 % of the peak" in text
    assert "500 / 600 / 610 MiB" in text


def test_targets_are_held_against_infinity_as_installed_and_at_its_fastest(figures):
    met = {target.name: target.met for target in targets(figures)}
    assert met[f"{COLD}, beside {INFINITY[0].row}"]
    assert not met[f"{COLD}, beside {INFINITY[1].row}"]
    assert not met["100 raw documents, default deadline, p95"]
    assert met["all but the stages, 100 documents cached, p50"]


def test_a_run_without_figures_promises_nothing():
    assert targets(Figures({})) == []
