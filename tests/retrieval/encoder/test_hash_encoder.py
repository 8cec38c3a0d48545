import numpy as np

from retrieval.encoder.hash_encoder import DIMENSION, HashEncoder


def test_vectors_are_the_same_on_every_machine():
    states = HashEncoder().encode(["Owl owl", "dusk"])
    np.testing.assert_array_equal(states.tokens[0], states.tokens[1])  # case is ignored
    np.testing.assert_array_equal(states.tokens[0, :4], [25, 15, 34, -46])
    assert states.tokens.shape == (3, DIMENSION)


def test_texts_sharing_words_are_nearer():
    pooled = HashEncoder().encode(["owl at dusk", "an owl at noon", "stock prices"]).pooled
    assert pooled[0] @ pooled[1] > pooled[0] @ pooled[2] + 0.3
