import numpy as np
import pytest

from app.telemetry.memory import meminfo, memory_limit, resident_bytes


def test_memory_that_is_used_is_counted(monkeypatch, tmp_path):
    before = resident_bytes()
    held = np.ones(64 * 2**20, dtype=np.uint8)
    assert before + 0.5 * held.nbytes < resident_bytes() < before + 2 * held.nbytes
    monkeypatch.setattr("app.telemetry.memory._STATM", tmp_path / "none")
    assert resident_bytes() > before


@pytest.mark.parametrize(
    ("line", "file", "limit"),
    [
        ("0::/pods/mine", "pods/mine/memory.max", 2**20),
        ("0::/pods/mine", "pods/memory.max", 2**20),  # of the group above
        ("0::/hosts/path", "memory.max", 2**20),  # of a container, which does not see its host's path
        ("4:memory:/mine", "memory/mine/memory.limit_in_bytes", 2**20),  # v1
        ("4:memory:/mine", "memory/mine/memory.limit_in_bytes", 2**63 - 4096),  # v1's word for no limit
        ("0::/pods/mine", "pods/mine/memory.max", "max"),
    ],
)
def test_the_smallest_limit_counts_and_else_the_machines_memory(tmp_path, line, file, limit):
    membership = tmp_path / "cgroup"
    membership.write_text(f"{line}\n")
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(f"{limit}\n")
    assert memory_limit(tmp_path, membership) == (limit if limit == 2**20 else meminfo()["MemTotal"])
