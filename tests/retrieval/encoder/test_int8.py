import numpy as np
import openvino
import openvino.opset13 as ops

from retrieval.encoder.int8 import group_weights
from retrieval.encoder.openvino_runtime import compiled


def test_products_in_floats_get_a_scale_for_each_group_of_inputs():
    rng = np.random.default_rng(0)
    weights, x = rng.normal(size=(128, 40)).astype(np.float32), rng.normal(size=(3, 128)).astype(np.float32)
    weights[5] *= 100  # an input that takes the scale of its group, and would take that of all
    x[:, :64] = 0
    rows, odd = ops.parameter([-1, 128], np.float32), ops.parameter([-1, 3], np.float32)
    words = ops.parameter([-1], np.int64)
    table = rng.normal(size=(2000, 8)).astype(np.float32)
    taken = ops.gather(ops.constant(table), words, ops.constant(np.int64(0)))
    few = ops.matmul(odd, ops.constant(weights[:3, :2]), False, False)  # too few inputs for a group
    model = openvino.Model([ops.matmul(rows, ops.constant(weights), False, False), few, taken], [rows, odd, words])
    group_weights(model)
    constants = [node for node in model.get_ops() if node.get_type_name() == "Constant"]
    assert sorted(np.prod(node.data.shape) for node in constants if node.data.dtype == np.int8) == [40 * 128, 2000 * 8]
    run = compiled(model, 1, {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"})
    product, _, found = run({0: x, 1: x[:, :3], 2: np.array([3, 1999])})
    np.testing.assert_allclose(found, table[[3, 1999]], atol=0.02)
    error = np.abs(product - x @ weights)
    assert error.max() < 0.02 * np.abs(x @ weights).max()
    assert error.max() > 0
