import pytest

from benchmarks.planning import COLD, WARM, Demand, Footprint, Served, core_ms, plan, report

FOOTPRINT = Footprint(2, 400.0, 900.0, {216: 2**20})  # 1 MiB a document
DEMAND = Demand(per_second=60, documents=50, tokens=216, known=0.9, remembered=300)


def served(states, documents, per_second, cores=1.0, processors=2):
    return Served(processors, states, documents, 216, per_second, cores, 0.1)


ROWS = [served(WARM, 50, 100), served(WARM, 100, 50), served(COLD, 100, 2, cores=2.0), served(WARM, 0, 1000)]


def test_a_request_costs_what_the_process_took_of_the_cores():
    assert served(WARM, 10, per_second=200, cores=1.5).core_ms == pytest.approx(7.5)


def test_a_plan_follows_the_formula():
    found = plan(ROWS, FOOTPRINT, DEMAND)
    assert found.warm_ms == pytest.approx(10)
    assert found.read_ms == pytest.approx((1000 - 20) / 100)
    assert found.request_ms == pytest.approx(10 + 0.1 * 50 * 9.8)
    assert found.cores == pytest.approx(60 * 59 / 1000 / 0.6)
    assert (found.processes, found.cache_mib) == (3, 300)  # 5.9 cores, two for each
    assert found.memory_mib == pytest.approx(3 * (900 - 256 + 300))


def test_what_was_not_measured_is_no_plan():
    with pytest.raises(ValueError, match="not measured"):
        core_ms(ROWS, COLD, 50, 216, 2)


def test_the_report_has_a_row_for_each_size_and_works_the_example_out():
    text = report(ROWS, [FOOTPRINT], DEMAND)
    assert "| 100 | 50.0 / 20.0 | 2.00 / 1000 |" in text
    assert "| one pair, /v1/similarity | 1000 / 1.00 |  |" in text
    assert "It took 1.00 to 2.00 cores" in text
    assert "| 2 | 400 | 900 | 1024 |" in text
    assert "**5.90 cores, 3 processes, a cache of 300 MiB each, 2.77 GiB in all**" in text
    assert "run one more, of 0.92 GiB" in text
