"""Int8 weights for an encoder's products, which OpenVINO then computes in int8.

OpenVINO quantises what meets such weights while it runs, with a scale for each 64 numbers of a token, where the CPU has
int8 instructions; elsewhere it computes in floats. Nothing has to be calibrated, and for the default model the result
is nearer to f32 than with one calibrated scale for all tokens: docs/performance.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
import openvino.opset13 as ops
from numpy.typing import NDArray

GROUP = 64  # inputs of a product that share a scale
PEAK = 127  # of a signed byte
_LARGE_TABLE = 1024  # rows


def group_weights(model: openvino.Model) -> None:
    """Give a model's products int8 weights, with a scale for each 64 inputs of an output, in place.

    One scale for all inputs would lose the small ones beside a few large. Embeddings get one a row. Products with
    inputs that are no multiple of 64 keep their floats.
    """
    for node in model.get_ordered_ops():
        if (table := _embeddings(node)) is not None:
            entries, scales = rounded(table)
            rows, axis = node.input_value(1), ops.constant(np.int64(0))
            found = ops.convert(ops.gather(ops.constant(entries), rows, axis), "f32")
            node.output(0).replace(ops.multiply(found, ops.gather(ops.constant(scales), rows, axis)).output(0))
        if (weights := _float_weights(node)) is None:
            continue
        groups, scales = rounded(weights.reshape(len(weights), -1, GROUP))
        shape = ops.constant(np.array(weights.shape, dtype=np.int64))
        floats = ops.multiply(ops.convert(ops.constant(groups), "f32"), ops.constant(scales))
        restored = ops.reshape(floats, shape, False)
        node.output(0).replace(ops.matmul(node.input_value(0), restored, False, True).output(0))
    model.validate_nodes_and_infer_types()


def rounded(weights: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights as int8, and the scales along their last axis, which is 1 there."""
    scales = np.abs(weights).max(axis=-1, keepdims=True).astype(np.float32) / PEAK
    scales[scales == 0] = 1
    return np.rint(weights / scales).astype(np.int8), scales


def _embeddings(node: openvino.Node) -> NDArray[np.float32] | None:
    """The (rows, D) float table that a node takes rows of; None for another node, or a small table."""
    if node.get_type_name() != "Gather" or node.input_value(0).get_node().get_type_name() != "Constant":
        return None
    table: NDArray[np.float32] = node.input_value(0).get_node().data
    return table if table.ndim == 2 and table.dtype == np.float32 and len(table) >= _LARGE_TABLE else None


def _float_weights(node: openvino.Node) -> NDArray[np.float32] | None:
    """The (outputs, inputs) constant float weights of a product that can be grouped; None for anything else."""
    if node.get_type_name() != "MatMul" or node.input_value(1).get_node().get_type_name() != "Constant":
        return None
    attributes, constant = node.get_attributes(), node.input_value(1).get_node()
    if attributes["transpose_a"] or not constant.get_output_element_type(0).is_real() or constant.data.ndim != 2:
        return None
    weights: NDArray[np.float32] = constant.data.astype(np.float32)
    weights = weights if attributes["transpose_b"] else weights.T
    return weights if weights.shape[1] % GROUP == 0 else None
