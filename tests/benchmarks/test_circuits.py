"""The benchmarks of circuits: what they choose and compare, without models."""

import numpy as np
import pytest

from benchmarks.feature_maps import BANDWIDTHS, COSINE, MAPS, by_bandwidth, report, row
from benchmarks.shots import Found, compared
from benchmarks.simulation import PEERS, lightning
from quantum.estimates import counted, exact
from quantum.feature_maps import feature_map


def collection(best: int) -> dict:
    """nDCG@10 of two queries, 0.6 at one bandwidth and 0.5 at the others."""
    values = np.full((len(BANDWIDTHS), 2, 2), 0.5)
    values[best] = 0.6
    return dict.fromkeys(MAPS, values) | {COSINE: np.full((1, 2, 2), 0.4)}


def test_a_bandwidth_is_chosen_on_the_other_collections():
    found = [collection(1), collection(1), collection(3)]
    values, best = row(found, MAPS[0], 0)
    assert best == [1, 1, 1]  # where two disagree, the smaller one
    assert [each.mean() for each in values] == [0.6, 0.6, 0.5]
    assert "| cosine |  | 0.4000 | -0.1667 ± 0.0000 |" in report(found)
    assert "| angle 4 | 0.5000 | 0.5667 | 0.5000 | 0.5333 | 0.5000 |" in by_bandwidth(found)


def test_the_exact_order_loses_nothing_and_noise_is_told_apart_from_a_shift():
    registers = np.linspace(0.2, 0.9, 12).reshape(1, 6, 2)
    truth, shots = exact(registers), 10**6
    same = compared(truth, truth, lambda of: float(of[0]), registers[0], shots)
    assert same == Found(0.0, pytest.approx(1), 1.0, 1.0, 0.0, 0.0, pytest.approx(0, abs=5e-3))
    halved = compared(counted(np.round(registers * shots / 2), shots), truth, lambda _: 0.0, registers[0], shots)
    assert halved.shift == pytest.approx(2 * np.log(0.5), abs=1e-3)
    assert halved.error < 1e-3
    assert halved.tau == pytest.approx(1)


@pytest.mark.soak  # to import PennyLane takes seconds
@pytest.mark.skipif(not PEERS.exists(), reason="PennyLane is in .venv-peers")
def test_pennylane_runs_the_same_circuits():
    rng, fm = np.random.default_rng(0), feature_map("iqp", 3)
    query, documents = rng.normal(size=(1, 3)), rng.normal(size=(2, 3))
    _, found = lightning(fm, query, documents, 1)
    np.testing.assert_allclose(found, fm.fidelity(query, documents)[0], atol=1e-9)
