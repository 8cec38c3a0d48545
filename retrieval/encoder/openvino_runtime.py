"""The forward pass of a prepared model with OpenVINO."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import openvino
from numpy.typing import NDArray

from retrieval.encoder.int8 import GROUP
from retrieval.encoder.transformer import Forward
from retrieval.errors import ModelError

Arithmetic = Literal["f32", "bf16", "int8"]
Precision = Literal["auto", Arithmetic]
ARITHMETICS: tuple[Arithmetic, ...] = get_args(Arithmetic)

# A model's inputs, by place or name, to all its outputs.
Run = Callable[[Mapping[int | str, NDArray[np.int64]]], tuple[NDArray[np.float32], ...]]

FULL, QUANTISED = "model.xml", "int8.xml"  # the two files of a prepared model
# CPU flags of int8 instructions; without them int8 is no faster than f32.
_BYTE_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}
_CPUINFO = Path("/proc/cpuinfo")

# The binding creates its table of types lazily and releases the GIL meanwhile: two threads that run their first pass at
# the same time can deadlock on the GIL and the table's lock. This call creates the table now.
openvino.Type.i64.to_dtype()


@cache
def has_bf16() -> bool:
    """Whether this CPU computes in bf16."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def resolve_precision(precision: Precision, folder: Path, cpuinfo: Path = _CPUINFO) -> Arithmetic:
    """Return the arithmetic in which to run a prepared model.

    Args:
        precision: "auto" is int8 if the CPU has int8 instructions, else bf16 if it has bf16, else f32; or the
            arithmetic of the only file, if the folder has one file. int8 runs on every CPU, but may be slow.
        folder: The prepared model.
        cpuinfo: A file in the format of /proc/cpuinfo.

    Raises:
        ModelError: The CPU or the folder does not support the precision.
    """
    if precision == "bf16" and not has_bf16():
        raise ModelError("this CPU has no bf16 instructions; set QRERANK_ENCODER__PRECISION=f32, int8 or auto")
    requested = _best(cpuinfo) if precision == "auto" else precision
    available = [arithmetic for arithmetic in ARITHMETICS if (folder / _file(arithmetic)).exists()]
    if requested in available:
        return requested
    if precision == "auto" and available:
        return available[0]
    raise ModelError(
        f"{folder} holds the model for {', '.join(available) or 'no precision'}, not for {requested}; set "
        "QRERANK_ENCODER__PRECISION=auto, or prepare the whole model: pip install 'quantum-rerank[prepare]'"
    )


def _file(arithmetic: Arithmetic) -> str:
    return QUANTISED if arithmetic == "int8" else FULL


def _best(cpuinfo: Path) -> Arithmetic:
    flags = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.exists() else []
    if not _BYTE_FLAGS.isdisjoint(flags):
        return "int8"
    return "bf16" if has_bf16() else "f32"


def forward(folder: Path, arithmetic: Arithmetic, streams: int) -> Forward:
    """Compile a prepared model. `streams` threads may call the result concurrently; each call uses one core."""
    xml = folder / _file(arithmetic)
    options = {"INFERENCE_PRECISION_HINT": "bf16" if arithmetic == "bf16" else "f32"}
    if arithmetic == "int8":
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(GROUP)
    try:
        run = compiled(str(xml), streams, options)
    except RuntimeError as error:
        raise ModelError(f"{xml} cannot be loaded: {error}; delete its folder and it will be prepared again") from error

    def token_and_pooled(
        ids: NDArray[np.int64], mask: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        tokens, pooled = run({0: ids, 1: mask})
        return tokens, pooled

    return token_and_pooled


def compiled(model: openvino.Model | str, streams: int, options: Mapping[str, str]) -> Run:
    """Compile a model, or the one in a file. `streams` threads may call the result concurrently, on one core each.

    options: Further properties of OpenVINO's CPU plugin. Raises RuntimeError for a model that it cannot run.
    """
    always = {
        # One thread per pass: the same throughput as all threads on each pass, and no pass waits for a slow thread.
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": streams,
        "ENABLE_CPU_PINNING": False,  # the cores are shared with the rest of the service
    }
    ready = openvino.Core().compile_model(model, "CPU", {**options, **always})
    local = threading.local()

    def run(inputs: Mapping[int | str, NDArray[np.int64]]) -> tuple[NDArray[np.float32], ...]:
        # An infer request has its own buffers: one per thread, or concurrent passes would overwrite each other.
        if not hasattr(local, "request"):
            local.request = ready.create_infer_request()
        outputs: tuple[NDArray[np.float32], ...] = local.request.infer(inputs).to_tuple()
        return outputs

    return run
