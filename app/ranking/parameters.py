"""The parameters that `qrerank fit` finds for one model: of the fusion, the circuit and the scores, in one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from app.ranking import parameter_file
from app.ranking.calibration import Calibration
from app.ranking.hybrid import RANKERS, Fusion, Weights
from app.ranking.parameter_file import ParameterFileError
from quantum.feature_maps import FeatureMap
from retrieval.fusion.algorithms import Fitted

FORMAT = 1
_FIT = "make one with `qrerank fit`"
_FITTED = ("slopes", "intercepts", "coefficients")
WIDEST = 16.0  # bandwidth, as in the settings


@dataclass(frozen=True)
class Parameters:
    """What was fitted with one model."""

    circuit: Mapping[str, str | int | float]  # map, qubits, bandwidth
    weights: Weights  # of text
    ridge: float
    fitted: Fitted
    calibration: Calibration  # names the model; its provenance is that of all

    @staticmethod
    def read(path: Path) -> Parameters:
        """Read a file; ParameterFileError if it is not one, was changed, or holds numbers that cannot be used."""
        return parameter_file.read(path, FORMAT, Parameters._of, "file of parameters", _FIT)

    @staticmethod
    def _of(content: Mapping[str, Any]) -> Parameters:
        found = Parameters(
            content["circuit"],
            Weights(**content["weights"]),
            content["ridge"],
            Fitted(*(tuple(content[name][ranker] for ranker in RANKERS) for name in _FITTED)),
            Calibration.of(content["calibration"]),
        )
        found.check()
        return found

    def write(self, path: Path) -> None:
        """Write a file that `read` reads."""
        content: dict[str, Any] = {"circuit": dict(self.circuit), "weights": asdict(self.weights), "ridge": self.ridge}
        for name in _FITTED:
            content[name] = dict(zip(RANKERS, getattr(self.fitted, name), strict=True))
        parameter_file.write(path, FORMAT, {**content, "calibration": asdict(self.calibration)})

    def check(self) -> None:
        """ValueError, or KeyError for what is missing, unless all numbers are in range."""
        for number in self._numbers():
            if not parameter_file.is_number(number):
                raise ValueError(f"{number!r:.20} is not a number of at most {parameter_file.MOST:g}")
        if not isinstance(self.circuit["map"], str) or type(self.circuit["qubits"]) is not int:
            raise ValueError("the circuit's map must be a text, and its qubits a whole number")
        weights = self.weights.values()
        if min(weights) < 0 or not any(weights[:3]) or self.weights.smoothed > 1:
            raise ValueError("weights must be at least 0 and not all 0, and a share of smoothing at most 1")
        if self.ridge <= 0 or not 0 < float(self.circuit["bandwidth"]) <= WIDEST:
            raise ValueError(f"the ridge must be above 0, the bandwidth above 0 and at most {WIDEST}")

    def _numbers(self) -> Iterator[Any]:
        yield from self.weights.values()
        yield from (self.ridge, self.circuit["bandwidth"])
        for name in _FITTED:
            yield from getattr(self.fitted, name)

    @property
    def model(self) -> str:
        """The name of the encoder that they were fitted with."""
        return self.calibration.model

    @property
    def digest(self) -> str:
        """Of the encoder that they were fitted with."""
        return self.calibration.digest

    def of_circuit(self, configured: FeatureMap) -> FeatureMap:
        """The configured circuit with the bandwidth that was fitted; ParameterFileError for another map or size."""
        fitted, own = (self.circuit["map"], self.circuit["qubits"]), (configured.name, configured.n_qubits)
        if fitted != own:
            raise ParameterFileError(f"the parameters were fitted with the circuit {fitted}, not {own}; {_FIT} for it")
        return replace(configured, bandwidth=float(self.circuit["bandwidth"]))

    def of_fusion(self, configured: Fusion) -> Fusion:
        """The configured fusion with the weights and parameters that were fitted."""
        return replace(configured, text=self.weights, ridge=self.ridge, fitted=self.fitted)
