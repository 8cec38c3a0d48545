"""Metric files of live, dead and starting workers."""

import os
import subprocess
import sys

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from app.telemetry.catalogue import FAMILIES
from app.telemetry.worker_files import WorkerFiles

BUCKET = "qrerank_stage_seconds_bucket"


@pytest.fixture
def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write(folder, kind: str, pid: int, name: str, value: float, sample: str = "", **labels: str) -> None:
    """Write one series to a worker's metric file."""
    values = MmapedDict(str(folder / f"{kind}_{pid}.db"))
    values.write_value(mmap_key(name, sample or name, list(labels), list(labels.values()), "what it is"), value, 0)
    values.close()


def told(files: WorkerFiles) -> dict[str, float]:
    return {sample.name: sample.value for metric in files.collect() for sample in metric.samples}


def test_the_dead_have_counted_and_hold_nothing_any_more(tmp_path, dead):
    for pid, value in ((os.getpid(), 2), (dead, 5)):
        write(tmp_path, "counter", pid, "qrerank_cache_hits", value, "qrerank_cache_hits_total")
        write(tmp_path, "gauge_livesum", pid, "qrerank_workers", 1)
        write(tmp_path, "gauge_livemin", pid, "qrerank_index_certified", value - 2, collection="birds")
    files = WorkerFiles(tmp_path)
    assert told(files) == {"qrerank_cache_hits_total": 7, "qrerank_workers": 1, "qrerank_index_certified": 0}
    assert sorted(file.name for file in tmp_path.glob(f"*{dead}*")) == [f"counter_{dead}.db"]


def test_a_worker_that_just_begins_is_no_error(tmp_path):
    (tmp_path / f"counter_{os.getpid()}.db").touch()
    assert told(WorkerFiles(tmp_path)) == {}


def test_every_family_is_told_of_in_its_place(tmp_path):
    write(tmp_path, "gauge_livesum", os.getpid(), "qrerank_workers", 1)
    names = [metric.name for metric in WorkerFiles(tmp_path).collect()]
    assert names == [family.name.removesuffix("_total") for family in FAMILIES]


def test_histograms_are_added_up_without_the_rest(tmp_path, dead):
    for pid in (os.getpid(), dead):
        for bound, value in (("0.001", 1), ("0.1", 2)):
            write(tmp_path, "histogram", pid, "qrerank_stage_seconds", value, BUCKET, stage="fuse", le=bound)
    write(tmp_path, "gauge_livesum", os.getpid(), "qrerank_workers", 1)
    [found] = WorkerFiles(tmp_path).histograms()
    buckets = {sample.labels["le"]: sample.value for sample in found.samples if sample.name == BUCKET}
    assert buckets == {"0.001": 2, "0.1": 6}, "cumulative, of the living and the dead"


def test_a_process_of_somebody_else_lives(tmp_path, monkeypatch):
    def not_ours(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr("os.kill", not_ours)
    write(tmp_path, "gauge_livesum", 1, "qrerank_workers", 1)
    assert told(WorkerFiles(tmp_path)) == {"qrerank_workers": 1}


def test_two_workers_may_forget_a_third_at_once(tmp_path, dead, monkeypatch):
    write(tmp_path, "gauge_livesum", dead, "qrerank_workers", 1)
    remove = os.remove

    def remove_after_another_did(path: str) -> None:
        remove(path)
        remove(path)

    monkeypatch.setattr("os.remove", remove_after_another_did)
    assert told(WorkerFiles(tmp_path)) == {}


def test_files_that_go_while_they_are_looked_at_are_no_error(tmp_path, monkeypatch):
    gone = tmp_path / "gauge_livesum_1.db"
    monkeypatch.setattr(type(tmp_path), "glob", lambda *_: iter([gone]))
    assert told(WorkerFiles(tmp_path)) == {}
