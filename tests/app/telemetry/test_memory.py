import numpy as np

from app.telemetry.memory import resident_bytes


def test_memory_that_is_used_is_counted(monkeypatch, tmp_path):
    before = resident_bytes()
    held = np.ones(64 * 2**20, dtype=np.uint8)
    assert before + 0.5 * held.nbytes < resident_bytes() < before + 2 * held.nbytes
    monkeypatch.setattr("app.telemetry.memory._STATM", tmp_path / "none")
    assert resident_bytes() > before
