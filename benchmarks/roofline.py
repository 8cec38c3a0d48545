"""How much of this machine the encoder uses: its operations a second beside the best that a matrix product reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops
from rich.progress import Progress

from retrieval.encoder.protocol import Encoder

# Rows, width and number of products in a row; the last is of the encoder's own shape. The best counts as the peak.
_SHAPES = ((1024, 1024, 4), (2048, 2048, 4), (4096, 384, 8))
_REPEATS = 10
PRECISIONS = ("int8", "bf16", "f32")


@dataclass(frozen=True)
class Transformer:
    """The sizes that decide what a BERT costs."""

    layers: int
    hidden: int
    feed_forward: int

    def flops_per_token(self, tokens: int) -> int:
        """Operations for one token of a text of so many, a multiplication and an addition counted as two.

        Per layer: four projections of hidden × hidden, two of hidden × feed_forward, and for each of the text's tokens
        one product of queries with keys and one of weights with values, hidden multiplications each. Look-ups,
        norms, softmax and GELU are left out: they are no matrix products.
        """
        projections = 4 * self.hidden**2 + 2 * self.hidden * self.feed_forward
        attention = 2 * tokens * self.hidden
        return 2 * self.layers * (projections + attention)


MINILM = Transformer(layers=6, hidden=384, feed_forward=1536)


@dataclass(frozen=True)
class Roofline:
    """Peaks and what the encoder reached, in 10¹² operations a second."""

    peaks: dict[str, float]  # by precision; bf16 only where the CPU has it
    arithmetic: str  # what the encoder computes with
    documents: int
    tokens: int  # read for those documents
    seconds: float  # to encode them, best of several

    @property
    def work(self) -> float:
        """Matrix operations that encoding the documents takes, in 10¹²."""
        return self.tokens * MINILM.flops_per_token(round(self.tokens / self.documents)) / 1e12

    @property
    def reached(self) -> float:
        """The encoder's matrix operations a second, in 10¹²."""
        return self.work / self.seconds

    @property
    def peak(self) -> float:
        """The peak of the precision that the encoder computes with."""
        return self.peaks[self.arithmetic.rpartition("-")[2]]

    @property
    def least_ms(self) -> float:
        """Milliseconds that these documents would take at that peak."""
        return 1000 * self.work / self.peak


def roofline(encoder: Encoder, fresh: Callable[[], Sequence[str]], progress: Progress) -> Roofline:
    """Measure the peaks, then the encoder on several lists of new texts."""
    bar = progress.add_task("roofline", total=len(PRECISIONS) + 1)
    peaks = {}
    for precision in PRECISIONS:
        if precision != "bf16" or "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            peaks[precision] = max(_product_speed(precision, *shape) for shape in _SHAPES)
        progress.advance(bar)
    encoder.encode(fresh())
    times = []
    for _ in range(3):
        texts = fresh()
        start = perf_counter()
        states = encoder.encode(texts)
        times.append(perf_counter() - start)
    progress.advance(bar)
    return Roofline(peaks, encoder.arithmetic, len(states), int(states.lengths.sum()), min(times))


def _product_speed(precision: str, rows: int, width: int, products: int) -> float:
    """10¹² operations a second of a chain of matrix products, the best of several runs."""
    hint = "f32" if precision == "int8" else precision
    options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(_chain(rows, width, products, int8=precision == "int8"), "CPU", options)
    request = compiled.create_infer_request()
    x = np.random.default_rng(0).random((rows, width), dtype=np.float32)
    times = []
    for _ in range(1 + _REPEATS):
        start = perf_counter()
        request.infer({0: x})
        times.append(perf_counter() - start)
    return 2 * products * rows * width**2 / min(times) / 1e12


def _chain(rows: int, width: int, products: int, *, int8: bool) -> openvino.Model:
    """Multiply (rows, width) by one (width, width) matrix after the other; for int8 both sides are rounded to bytes."""
    rng = np.random.default_rng(0)
    x = y = ops.parameter([rows, width], np.float32)
    for _ in range(products):
        weights: Any = ops.constant((rng.normal(size=(width, width)) / width**0.5).astype(np.float32))
        if int8:
            low, high = np.float32(0), np.float32(2.55)
            y = ops.fake_quantize(y, low, high, low, high, 256)
            whole = ops.constant(rng.integers(-127, 128, (width, width), dtype=np.int8))
            weights = ops.multiply(ops.convert(whole, np.float32), ops.constant(np.full((width, 1), 0.01, np.float32)))
        y = ops.matmul(y, weights, False, True)
    return openvino.Model([y], [x])
