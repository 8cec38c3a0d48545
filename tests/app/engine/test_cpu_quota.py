import os
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from app.engine.cpu_quota import granted_cpus, limit_threads

AVAILABLE = len(os.sched_getaffinity(0))


def group(root: Path, path: str, **files: str) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    file = tmp_path / "cgroup"
    file.write_text("0::/pods/mine\n")
    return file


@pytest.mark.parametrize(("limit", "processors"), [("50000", 1), ("100000", 1), ("1", 1), ("99900000", AVAILABLE)])
def test_a_quota_bounds_the_processors(tmp_path, membership, limit, processors):
    group(tmp_path, "pods/mine", cpu__max=f"{limit} 100000\n")
    assert granted_cpus(tmp_path, membership) == processors


def test_the_least_of_the_groups_above_counts(tmp_path, membership):
    group(tmp_path, "pods/mine", cpu__max="max 100000\n")
    assert granted_cpus(tmp_path, membership) == AVAILABLE
    group(tmp_path, "pods", cpu__max="100000 100000\n")
    assert granted_cpus(tmp_path, membership) == 1


def test_in_a_container_the_quota_stands_at_the_root(tmp_path, membership):
    group(tmp_path, ".", cpu__max="100000 100000\n")
    assert granted_cpus(tmp_path, membership) == 1


def test_the_first_version_of_control_groups(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("5:memory:/mine\n4:cpu,cpuacct:/mine\n")
    group(tmp_path / "cpu", "mine", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert granted_cpus(tmp_path, membership) == AVAILABLE
    group(tmp_path / "cpu", "mine", cpu__cfs_quota_us="100000\n")
    assert granted_cpus(tmp_path, membership) == 1


def test_without_control_groups_the_affinity_counts(tmp_path):
    assert granted_cpus(tmp_path, tmp_path / "none") == AVAILABLE


def test_thread_pools_are_bounded(monkeypatch):
    monkeypatch.setenv("RAYON_NUM_THREADS", "99")
    with threadpool_limits():  # restores the limits
        limit_threads(2)
        threads = {(pool["internal_api"], pool["num_threads"]) for pool in threadpool_info()}
        assert ("openblas", 1) in threads
        assert all(number == 2 for api, number in threads if api == "openmp")
        assert os.environ["RAYON_NUM_THREADS"] == "2"
