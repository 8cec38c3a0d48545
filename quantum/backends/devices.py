"""Devices by name: fake ones, which run here, and those of an account of IBM Quantum. Needs the extra `devices`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from qiskit.primitives import BaseSamplerV2, StatevectorSampler

from quantum.backends.sampler import SamplerBackend
from quantum.errors import QuantumError


def fake_device(name: str) -> Any:
    """Return a fake device of qiskit-ibm-runtime, such as fake_manila; QuantumError if there is none of the name."""
    from qiskit.providers.exceptions import QiskitBackendNotFoundError

    with warnings.catch_warnings():  # it makes every device, one of which says that it is not typical
        warnings.filterwarnings("ignore", "Properties of fake_nighthawk", UserWarning)
        provider = _runtime().fake_provider.FakeProviderForBackendV2()
    try:
        return provider.backend(name)
    except QiskitBackendNotFoundError:
        known = ", ".join(sorted(each.name for each in provider.backends()))
        raise QuantumError(f"there is no fake device {name!r}; there are: {known}") from None


def sampler_backend(
    shots: int, device: str | None = None, *, seed: int | None = None, mitigate: bool = False, allow_deep: bool = False
) -> SamplerBackend:
    """Return a backend by the name of its device.

    Args:
        shots: Of each circuit.
        device: fake_… for a fake one; another name for one of the account that qiskit-ibm-runtime has saved; None for
            Qiskit's ideal sampler.
        seed: Of the shots; real devices have none.
        mitigate: Whether readout errors are measured and taken out.
        allow_deep: Whether circuits may be deeper than 15 after routing.

    Raises:
        QuantumError: There is no such device, no account, or the extra `devices` is not installed.
    """
    if device is None:
        # A generator: with a number, Qiskit seeds every circuit alike, and all registers share one noise.
        sampler: BaseSamplerV2 = StatevectorSampler(seed=np.random.default_rng(seed))
        return SamplerBackend(sampler, shots, mitigate=mitigate, allow_deep=allow_deep)
    is_remote = not device.startswith("fake_")
    target = _real_device(device) if is_remote else fake_device(device)
    sampler = _runtime().executor_sampler.Sampler(mode=target)
    if not is_remote and seed is not None:
        sampler = _Reseeded(sampler, seed)
    return SamplerBackend(sampler, shots, target, mitigate=mitigate, allow_deep=allow_deep, is_remote=is_remote)


class _Reseeded:
    """A sampler of a fake device with another seed for each run: its own seed gives all runs the same noise."""

    def __init__(self, sampler: Any, seed: int) -> None:
        self._sampler, self._seeds = sampler, np.random.default_rng(seed)

    def run(self, pubs: Any, *, shots: int | None = None) -> Any:
        """As `BaseSamplerV2.run`."""
        self._sampler.options.simulator.seed_simulator = int(self._seeds.integers(1, 2**31))  # 0 means none there
        return self._sampler.run(pubs, shots=shots)


def _real_device(name: str) -> Any:
    runtime = _runtime()
    try:
        return runtime.QiskitRuntimeService().backend(name)
    except Exception as error:  # accounts, networks and names have no common error
        raise QuantumError(
            f"the device {name!r} cannot be used ({type(error).__name__}: {error}); save an account with "
            "QiskitRuntimeService.save_account, or name a fake_… device"
        ) from error


def _runtime() -> Any:
    try:
        import qiskit_ibm_runtime.executor_sampler
        import qiskit_ibm_runtime.fake_provider
    except ImportError as error:
        raise QuantumError("devices need qiskit-ibm-runtime: pip install 'quantum-rerank[devices]'") from error
    return qiskit_ibm_runtime
