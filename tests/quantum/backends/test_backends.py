"""One contract for all backends: agreement, seeds, limits and errors."""

import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from importlib import import_module

import numpy as np
import pytest
from qiskit.primitives import BackendSamplerV2, StatevectorSampler
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2

from quantum.backends import Backend, Cost, ExactBackend, cost_of
from quantum.backends.aer import AerBackend
from quantum.backends.devices import fake_device, sampler_backend
from quantum.backends.mitigation import ReadoutMitigation
from quantum.backends.noise import Noise
from quantum.backends.protocol import MOST_SHOTS
from quantum.backends.sampler import SamplerBackend
from quantum.errors import CircuitTooLarge, InvalidVector, QuantumError
from quantum.feature_maps import MAPS, FeatureMap, RyLayer, feature_map

SHOTS = 512
EXACT: dict[str, Callable[[], Backend]] = {"exact": ExactBackend, "aer": AerBackend}
SAMPLED: dict[str, Callable[[int], Backend]] = {
    "aer": lambda seed: AerBackend(SHOTS, seed=seed),
    "aer, readout mitigated": lambda seed: AerBackend(SHOTS, Noise(readout=0.03), seed=seed, mitigate=True),
    "StatevectorSampler": lambda seed: sampler_backend(SHOTS, seed=seed),
    "Aer's SamplerV2": lambda seed: SamplerBackend(SamplerV2(seed=seed), SHOTS),
}
EVERY: dict[str, Callable[[], Backend]] = EXACT | {name: lambda made=made: made(1) for name, made in SAMPLED.items()}


@pytest.fixture(scope="module")
def manila():
    return fake_device("fake_manila")


def unit_rows(seed: int, m: int, width: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(m, width))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def deviation(found, expected: np.ndarray) -> float:
    """The largest difference in standard errors, of the binomial with the expected probabilities or as found."""
    errors = np.maximum(found.variances, expected * (1 - expected) / SHOTS) ** 0.5
    return float((np.abs(found.registers - expected) / errors).max())


@pytest.mark.parametrize("made", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("n", [2, 3, 4])
def test_exact_backends_agree_with_the_kernel(made, name, n):
    fm = feature_map(name, n)
    q, d = unit_rows(0, 2, 9), unit_rows(1, 3, 9)
    found = made().estimate(fm, q, d)
    assert found.shots is None
    assert found.registers.shape == (2, 3, fm.register_count(9))
    np.testing.assert_allclose(found.registers, fm.register_fidelities(q, d), atol=1e-9)
    np.testing.assert_allclose(found.log_fidelity, fm.log_fidelity(q, d), atol=1e-9)
    assert (found.standard_error == 0).all()


@pytest.mark.parametrize("made", SAMPLED.values(), ids=SAMPLED)
@pytest.mark.parametrize("name", MAPS)
def test_shots_stay_within_five_standard_errors(made, name):
    fm = feature_map(name, 3)
    q, d = unit_rows(2, 1, 9), unit_rows(3, 4, 9)
    found, expected = made(7).estimate(fm, q, d), fm.register_fidelities(q, d)
    assert found.shots == SHOTS
    assert deviation(found, expected) < 5
    assert (np.abs(found.fidelity - expected.prod(axis=-1)) < 5 * found.standard_error + 1e-12).all()
    assert (np.abs(found.log_fidelity - fm.log_fidelity(q, d)) < 5 * found.log_standard_error).all()


@pytest.mark.parametrize("made", SAMPLED.values(), ids=SAMPLED)
def test_a_seed_gives_the_same_shots_and_another_seed_others(made):
    fm, q, d = feature_map("entangled", 2), unit_rows(4, 1, 8), unit_rows(5, 3, 8)
    first, same, other = (made(seed).estimate(fm, q, d).registers for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize("made", SAMPLED.values(), ids=SAMPLED)
def test_equal_registers_get_noise_of_their_own(made):
    registers = made(3).estimate(feature_map("angle", 2), np.full((1, 8), 0.3), np.full((2, 8), -0.3)).registers
    assert len(np.unique(registers)) > 1


@pytest.mark.parametrize("made", EVERY.values(), ids=EVERY)
def test_what_has_no_state_is_refused(made):
    backend, good = made(), unit_rows(0, 2, 8)
    for bad in (np.zeros((1, 8)), np.full((1, 8), np.nan)):
        with pytest.raises(InvalidVector, match="row 0 is zero or not finite"):
            backend.estimate(feature_map(), good, bad)
    with pytest.raises(InvalidVector, match="got 8 and 9"):
        backend.estimate(feature_map(), good, unit_rows(0, 2, 9))


@pytest.mark.parametrize("made", EVERY.values(), ids=EVERY)
def test_nothing_to_compare_gives_nothing(made):
    assert made().estimate(feature_map(), unit_rows(0, 1, 8), np.zeros((0, 8))).fidelity.shape == (1, 0)


def test_a_shot_less_than_one_and_more_than_the_most_are_refused():
    for shots in (0, 1.5, MOST_SHOTS + 1):
        with pytest.raises(QuantumError, match=f"from 1 to {MOST_SHOTS}"):
            AerBackend(shots)
        with pytest.raises(QuantumError, match=f"from 1 to {MOST_SHOTS}"):
            SamplerBackend(StatevectorSampler(), shots)
    for shots in (1, MOST_SHOTS):
        assert SamplerBackend(StatevectorSampler(), shots).shots == AerBackend(shots).shots == shots


def test_whole_numbers_of_any_type_are_shots():
    fm, x = feature_map("angle", 2), unit_rows(0, 2, 4)
    for backend in (AerBackend(10.0, seed=1), SamplerBackend(StatevectorSampler(), 10.0), AerBackend(np.int64(10))):
        assert type(backend.shots) is int
        assert backend.estimate(fm, x, x).shots == 10


def test_devices_are_listed_without_warnings():
    nighthawk = import_module("qiskit_ibm_runtime.fake_provider.backends.nighthawk.fake_nighthawk")
    nighthawk.DISPLAY_WARNING = True  # as in a process of its own
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)  # others may be of what earlier tests left to be collected
        fake_device("fake_manila")
    assert not [each for each in said if issubclass(each.category, UserWarning)]


def test_more_circuits_than_one_run_holds_give_the_same(monkeypatch):
    fm, q, d = feature_map(), unit_rows(0, 2, 12), unit_rows(1, 5, 12)
    whole = AerBackend().estimate(fm, q, d).registers
    for most in (1, 7):
        monkeypatch.setattr("quantum.backends.aer._AT_ONCE", most)
        np.testing.assert_array_equal(AerBackend().estimate(fm, q, d).registers, whole)


def test_noise_lowers_the_fidelity_of_equal_vectors_as_the_theory_says():
    """Equal vectors compose to RY(0): what is lost is a depolarising RY, and a wrong readout, on each qubit."""
    x, p, e = unit_rows(0, 1, 4), 0.01, 0.02
    found = AerBackend(noise=Noise(readout=e, depolarizing=p)).estimate(feature_map(), x, x).registers[0, 0, 0]
    zero = 1 - p / 2  # a depolarised qubit is 0 or 1 with equal probabilities
    assert found == pytest.approx((zero * (1 - e) + (1 - zero) * e) ** 4, abs=1e-9)


def test_relaxation_takes_the_excited_state_down():
    """A feature that turns a qubit to |1>: it decays with exp(-t/T1) during the gate of 50 ns."""
    q, d = np.array([[1.0, 0.0]]), np.array([[0.0, 1e-9]])
    fm = feature_map("angle", 2, np.pi)
    found = AerBackend(noise=Noise(t1_us=0.1)).estimate(fm, q, d).registers[0, 0, 0]
    assert found == pytest.approx(1 - np.exp(-0.05 / 0.1), abs=1e-6)


def test_dephasing_alone_shrinks_what_is_left_of_the_phase():
    """RY(pi/2) and its inverse on one qubit: its Bloch vector lies in the plane between them, exp(-t/T2) long."""
    fm = FeatureMap("twice", 1, 1.0, (RyLayer((0,)), RyLayer((1,))))
    q, d = np.array([[np.pi / 2, -np.pi / 2]]), np.array([[1e-9, 1e-9]])
    found = AerBackend(noise=Noise(t2_us=0.2)).estimate(fm, q, d).registers[0, 0, 0]
    assert found == pytest.approx((1 + np.exp(-0.05 / 0.2)) / 2, abs=1e-6)


def test_shots_follow_the_noise():
    fm, q, d, noise = feature_map("iqp", 3), unit_rows(2, 1, 9), unit_rows(3, 3, 9), Noise(0.05, 0.01, 50)
    expected = AerBackend(noise=noise).estimate(fm, q, d).registers
    assert np.abs(expected - fm.register_fidelities(q, d)).max() > 0.05
    assert deviation(AerBackend(SHOTS, noise, seed=3).estimate(fm, q, d), expected) < 5


def test_a_device_is_routed_measured_and_mitigated(manila):
    fm, q, d = feature_map("amplitude", 2), unit_rows(2, 1, 6), unit_rows(3, 2, 6)
    noisy = AerBackend(device=manila).estimate(fm, q, d).registers
    sampler = BackendSamplerV2(backend=AerSimulator.from_backend(manila, seed_simulator=5))
    assert deviation(SamplerBackend(sampler, SHOTS, manila).estimate(fm, q, d), noisy) < 5
    assert deviation(AerBackend(SHOTS, device=manila, seed=4).estimate(fm, q, d), noisy) < 5
    ideal = fm.register_fidelities(q, d)
    for backend in (
        AerBackend(4096, device=manila, seed=4, mitigate=True),
        SamplerBackend(sampler, 4096, manila, mitigate=True),  # by two circuits that it runs before
    ):
        mitigated = backend.estimate(fm, q, d).registers
        assert np.abs(mitigated - ideal).mean() < np.abs(noisy - ideal).mean()


def test_a_circuit_too_deep_after_routing_is_refused_unless_allowed(manila):
    fm = feature_map("iqp", 4)
    for made in (lambda **o: AerBackend(device=manila, **o), lambda **o: sampler_backend(8, "fake_manila", **o)):
        with pytest.raises(CircuitTooLarge, match=r"fake_manila the circuit has depth \d+ and 6 two-qubit gates"):
            made().estimate(fm, unit_rows(0, 1, 4), unit_rows(1, 1, 4))
        routed = made(allow_deep=True).routed(fm)
        assert routed.depth > 15
        assert len(set(routed.qubits)) == 4


def test_what_a_device_cannot_run_is_one_sentence():
    x = unit_rows(0, 2, 4)
    for made in (lambda device: AerBackend(device=fake_device(device)), lambda device: sampler_backend(8, device)):
        with pytest.raises(CircuitTooLarge, match=r"has 2 qubits and fake_armonk has 1"):
            made("fake_armonk").estimate(feature_map("angle", 2), x, x)
        with pytest.raises(QuantumError, match=r"cannot be compiled for fake_cairo: .*use another device"):
            made("fake_cairo").estimate(feature_map("entangled", 2), x, x)


def test_the_runtimes_sampler_runs_on_a_fake_device():
    fm, x = feature_map("angle", 2), unit_rows(0, 2, 4)
    found = sampler_backend(256, "fake_manila", seed=3).estimate(fm, x[:1], x)
    assert (found.registers > 0).all()
    assert found.fidelity[0, 0] > 0.6  # equal vectors; readouts fail in a few percent


def test_each_run_on_a_fake_device_has_noise_of_its_own(monkeypatch):
    """Equal pairs in two runs: with one seed for both, every document would get the same error."""
    monkeypatch.setattr("quantum.backends.sampler._SHOTS_AT_ONCE", 4 * SHOTS)  # the registers of one document
    fm, q, d = feature_map("angle", 2), np.full((1, 8), 0.3), np.full((2, 8), -0.3)
    first, same = (sampler_backend(SHOTS, "fake_manila", seed=3).estimate(fm, q, d).registers for _ in range(2))
    assert (first[0, 0] != first[0, 1]).any()
    np.testing.assert_array_equal(first, same)


def test_m3_and_the_inverse_agree_where_every_outcome_was_seen():
    rng, e = np.random.default_rng(0), 0.04
    matrix = np.array([[1 - e, 2 * e], [e, 1 - 2 * e]])
    whole = np.kron(matrix, matrix)  # qubit 0 is the last factor
    counts = rng.multinomial(4096, whole @ np.array([0.4, 0.3, 0.2, 0.1]), size=3)
    values, variances = ReadoutMitigation(np.stack([matrix, matrix]))(counts)
    by_m3, _ = ReadoutMitigation(np.stack([matrix, matrix]), by_m3=True)(counts)
    np.testing.assert_allclose(values, (np.linalg.inv(whole) @ counts.T / 4096)[0], atol=1e-12)
    np.testing.assert_allclose(by_m3, values, atol=1e-5)
    assert (np.abs(values - 0.4) < 5 * variances**0.5).all()


def test_mitigation_is_unbiased_with_few_shots():
    """Unlike M3, which inverts on the outcomes that were seen."""
    rng, matrix = np.random.default_rng(1), np.array([[0.97, 0.03], [0.03, 0.97]])
    read = reduce(np.kron, [matrix[:, 0]] * 4)  # four qubits in 0
    counts = rng.multinomial(32, read, size=4000)
    unbiased, by_m3 = (ReadoutMitigation(np.stack([matrix] * 4), by_m3=each)(counts)[0] for each in (False, True))
    assert abs(unbiased.mean() - 1) < 5 * unbiased.std() / 4000**0.5
    assert abs(by_m3.mean() - 1) > 5 * by_m3.std() / 4000**0.5


def test_options_that_cannot_be_are_refused(manila):
    with pytest.raises(QuantumError, match="brings its own noise"):
        AerBackend(noise=Noise(0.1), device=manila)
    with pytest.raises(QuantumError, match="needs shots, and noise"):
        AerBackend(100, mitigate=True)
    with pytest.raises(QuantumError, match="cannot be corrected"):
        AerBackend(100, Noise(0.5), mitigate=True).estimate(feature_map(), np.eye(4), np.eye(4))
    for options in ({"readout": 0.6}, {"depolarizing": 0.2}, {"t1_us": 1, "t2_us": 3}, {"t1_us": 0}):
        with pytest.raises(QuantumError):
            Noise(**options)
    with pytest.raises(QuantumError, match=r"no fake device 'fake_none'; there are: .*fake_manila"):
        sampler_backend(8, "fake_none")


@pytest.mark.parametrize(
    ("package", "extra", "made"),
    [
        ("qiskit_aer", "aer", AerBackend),
        ("qiskit_ibm_runtime", "devices", lambda: sampler_backend(8, "fake_manila")),
        ("mthree", "devices", lambda: ReadoutMitigation(np.stack([np.eye(2)]), by_m3=True)),
    ],
)
def test_a_missing_package_is_named(package, extra, made, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(QuantumError, match=rf"pip install 'quantum-rerank\[{extra}\]'"):
        made()


def test_the_cost_counts_circuits_and_shots():
    cost = cost_of(AerBackend(16, seed=1), feature_map(), 100, 384)
    assert (cost.circuits, cost.shots) == (9600, 153_600)
    assert cost.seconds > 0
    assert "9600 circuits of 16 shots, about" in str(cost)
    remote = SamplerBackend(StatevectorSampler(), 1024, is_remote=True)
    assert cost_of(remote, feature_map(), 100, 384).seconds == pytest.approx(9600 * 1024 * 250e-6)


class Counting(SamplerV2):
    """Counts the shots of all runs."""

    counted = 0

    def run(self, pubs, *, shots=None):
        self.counted += sum(shots * (circuit.num_parameters == 0 or len(values)) for circuit, values in pubs)
        return super().run(pubs, shots=shots)


@pytest.mark.parametrize("mitigate", [False, True])
def test_the_cost_is_what_is_run(mitigate):
    sampler, fm, x = Counting(seed=1), feature_map("angle", 2), unit_rows(0, 4, 8)
    cost = cost_of(SamplerBackend(sampler, 64, mitigate=mitigate, is_remote=True), fm, 3, 8)
    assert sampler.counted == 0  # nothing is run on another machine
    SamplerBackend(sampler, 64, mitigate=mitigate).estimate(fm, x[:1], x[1:])
    assert cost.shots + cost.calibration == sampler.counted
    assert cost.seconds == pytest.approx(sampler.counted * 250e-6)
    assert ("12 circuits of 64 shots and 512 shots of calibration, about" in str(cost)) is mitigate


def test_the_cost_reads_well():
    assert str(Cost(1, 1, 0.12)) == "1 circuit of 1 shot, about 0.12 s"
    assert str(Cost(9600, 0, 112.4)) == "9600 circuits, about 112 s"
    assert str(Cost(2, 4, 300, is_remote=True)) == (
        "2 circuits of 2 shots, about 5 min on the device, without its queue"
    )


def test_a_map_too_large_is_refused_by_its_circuit():
    five = FeatureMap("five", 5, 1.0, (RyLayer(tuple(range(5))),))
    with pytest.raises(CircuitTooLarge, match="5 qubits"):
        AerBackend().estimate(five, unit_rows(0, 1, 5), unit_rows(1, 1, 5))


@pytest.mark.parametrize("made", [AerBackend, lambda: AerBackend(SHOTS, seed=1)], ids=["probabilities", "shots"])
def test_threads_may_share_a_backend(made):
    """As requests of the service do."""
    backend, fm, x = made(), feature_map(), unit_rows(0, 12, 16)
    expected = [made().estimate(fm, row[np.newaxis], x).registers for row in x[:4]]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: backend.estimate(fm, row[np.newaxis], x).registers, list(x[:4]) * 2))
    np.testing.assert_array_equal(np.stack(found), np.stack(expected * 2))
