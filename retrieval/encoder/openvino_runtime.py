"""A prepared model's forward pass under OpenVINO."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import openvino
from numpy.typing import NDArray

from retrieval.encoder.transformer import Forward
from retrieval.errors import ModelError

Arithmetic = Literal["f32", "bf16", "int8"]
Precision = Literal["auto", Arithmetic]
ARITHMETICS: tuple[Arithmetic, ...] = get_args(Arithmetic)

FULL, QUANTISED = "model.xml", "int8.xml"  # the two forms of a prepared model
# Instructions that multiply bytes; without them int8 is no faster than f32.
_BYTE_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}
_CPUINFO = Path("/proc/cpuinfo")

# The binding makes its table of types when it first needs it, and lets go of Python's lock meanwhile: of two threads
# whose first passes begin together, one may hold that lock and wait for the table, the other the reverse, for ever.
openvino.Type.i64.to_dtype()


@cache
def has_bf16() -> bool:
    """Whether this CPU computes in bf16."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def resolve_precision(precision: Precision, folder: Path, cpuinfo: Path = _CPUINFO) -> Arithmetic:
    """The arithmetic to run a prepared model in.

    "auto" means int8 where the CPU multiplies bytes, else bf16 if it has that, else f32; or whatever the folder holds,
    where that is one form only. ModelError for a precision that this CPU or the folder has not got; int8 runs on every
    CPU, if slowly.
    """
    if precision == "bf16" and not has_bf16():
        raise ModelError("this CPU has no bf16 instructions; set QRERANK_ENCODER__PRECISION=f32, int8 or auto")
    wanted = _best(cpuinfo) if precision == "auto" else precision
    held = [arithmetic for arithmetic in ARITHMETICS if (folder / _form(arithmetic)).exists()]
    if wanted in held:
        return wanted
    if precision == "auto" and held:
        return held[0]
    raise ModelError(
        f"{folder} holds the model for {', '.join(held) or 'no precision'}, not for {wanted}; set "
        "QRERANK_ENCODER__PRECISION=auto, or prepare the whole model: pip install 'quantum-rerank[prepare]'"
    )


def _form(arithmetic: Arithmetic) -> str:
    return QUANTISED if arithmetic == "int8" else FULL


def _best(cpuinfo: Path) -> Arithmetic:
    flags = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.exists() else []
    if not _BYTE_FLAGS.isdisjoint(flags):
        return "int8"
    return "bf16" if has_bf16() else "f32"


def forward(folder: Path, arithmetic: Arithmetic, streams: int) -> Forward:
    """Compile a prepared model; the pass may be called from `streams` threads at once, and each call uses one core."""
    xml = folder / _form(arithmetic)
    options = {
        # What int8 leaves in floating point is bf16 where the CPU has it.
        "INFERENCE_PRECISION_HINT": "f32" if arithmetic == "f32" or not has_bf16() else "bf16",
        # One thread a pass: as fast in sum as all threads on each pass, and no pass waits for a slow sibling.
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": streams,
        "ENABLE_CPU_PINNING": False,  # the cores are shared with the rest of the service
    }
    try:
        compiled = openvino.Core().compile_model(str(xml), "CPU", options)
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
