"""A prepared model's forward pass under OpenVINO."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal

import numpy as np
import openvino
from numpy.typing import NDArray

from retrieval.encoder import Forward
from retrieval.errors import ModelError

Precision = Literal["auto", "f32", "bf16"]


def resolve_precision(precision: Precision) -> Literal["f32", "bf16"]:
    """The arithmetic that "auto" means here: bf16 where the CPU has instructions for it, else f32."""
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        return "bf16" if "BF16" in capabilities else "f32"
    if precision == "bf16" and "BF16" not in capabilities:
        raise ModelError("this CPU has no bf16 instructions; set QRERANK_ENCODER__PRECISION=f32 or auto")
    return precision


def forward(xml: Path, precision: Literal["f32", "bf16"]) -> Forward:
    """Compile the IR at this path; the pass may be called from several threads at once."""
    try:
        compiled = openvino.Core().compile_model(
            str(xml), "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        )
    except RuntimeError as error:
        raise ModelError(f"{xml} does not load: {error}; delete its folder and it will be prepared again") from error
    local = threading.local()

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        # An infer request holds its own buffers: one a thread, or concurrent passes would overwrite each other.
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        out = local.request.infer({0: ids, 1: mask})
        return out[0], out[1]

    return run
