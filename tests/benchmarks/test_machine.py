import subprocess
import sys
from itertools import count

import pytest

from benchmarks import machine


def test_facts_name_the_processor_and_what_computes():
    found = machine.facts()
    assert found["processor"]
    assert "openvino" in found["versions"]


@pytest.mark.parametrize(("own", "others"), [(2, 1.5), (5, 0), (6, 0)])
def test_others_took_what_was_busy_and_not_ours(monkeypatch, own, others):
    monkeypatch.setattr(machine, "_busy_s", count(100, 5).__next__)
    monkeypatch.setattr(machine, "_own_s", count(7, own).__next__)
    monkeypatch.setattr(machine.time, "monotonic", count(0, 2).__next__)
    assert machine.watch_others()() == others


def test_the_work_of_a_child_that_ended_is_our_own():
    before = machine._own_s()
    spin = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", spin], check=True)  # noqa: S603 - our own command
    assert machine._own_s() - before >= 0.2
