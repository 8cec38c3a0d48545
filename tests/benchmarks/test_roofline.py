import pytest

from benchmarks.roofline import MINILM, Roofline, Transformer


def test_a_layer_without_attention_is_its_six_projections():
    # 4 of 2 × 2 and 2 of 2 × 8: 48 multiplications, 96 operations; one token attends to one: 2 × 2 × 2 = 8.
    assert Transformer(layers=1, hidden=2, feed_forward=8).flops_per_token(1) == 96 + 8


@pytest.mark.parametrize("tokens", [7, 64])
def test_the_count_is_what_torch_counts(tokens):
    import torch  # here, since it takes seconds
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import BertConfig, BertModel

    sizes = Transformer(layers=2, hidden=48, feed_forward=96)
    config = BertConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        vocab_size=100,
        attn_implementation="eager",  # the counter looks into no fused attention
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.ones((3, tokens), dtype=torch.long))
    assert counter.get_total_flops() == 3 * tokens * sizes.flops_per_token(tokens)


def test_the_default_model_costs_23_million_operations_a_token():
    assert MINILM.flops_per_token(216) == pytest.approx(23.2e6, rel=0.01)


def test_reached_and_least_time_agree():
    roof = Roofline({"int8": 2.0, "f32": 0.5}, "openvino-int8", documents=100, tokens=21_600, seconds=0.5)
    assert roof.peak == 2.0
    assert roof.least_ms == pytest.approx(500 * roof.reached / 2.0)
