"""What is read, in which order, until when, and what is kept of it."""

import math

import numpy as np
import pytest

from retrieval.cross_encoder.cross_encoder import CrossEncoder
from retrieval.cross_encoder.prepare import load_cross_encoder
from retrieval.deadline import Cancelled, Deadline
from retrieval.errors import EncodingError, ModelError
from tests.conftest import quiet
from tests.retrieval.cross_encoder.tiny_models import QUERY, TEXTS, save_onnx


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_onnx(tmp_path_factory.mktemp("onnx"))
    return load_cross_encoder(str(folder), folder, quiet)


def read(cross_encoder, texts=TEXTS, query=QUERY, until=math.inf):
    return cross_encoder.scores(query, texts, until, Deadline())


def test_each_text_gets_its_logit_wherever_it_stands(model):
    cross_encoder, backwards = CrossEncoder(model), CrossEncoder(model)
    scores = read(cross_encoder, [*TEXTS, TEXTS[0]])
    assert np.isfinite(scores).all()
    assert scores[0] == scores[-1]
    np.testing.assert_array_equal(read(backwards, TEXTS[::-1]), scores[len(TEXTS) - 1 :: -1])
    assert cross_encoder.counts()[0].texts == len(TEXTS)  # the copy was not read again


def test_half_of_a_character_is_read_as_a_question_mark(model):
    half, whole = (read(CrossEncoder(model), [f"an owl {mark}"], f"owls {mark}") for mark in ("\ud83e", "?"))
    np.testing.assert_array_equal(half, whole)


def test_what_was_read_is_not_read_again(model):
    cross_encoder = CrossEncoder(model, 2**20)
    first = read(cross_encoder)
    np.testing.assert_array_equal(read(cross_encoder, until=-math.inf), first)  # no time is needed
    passes, cache = cross_encoder.counts()
    assert (passes.texts, cache.hits, cache.entries) == (len(TEXTS), len(TEXTS), len(TEXTS))
    assert np.isnan(read(cross_encoder, query="another", until=-math.inf)).all()


def test_the_cache_is_bounded(model):
    cross_encoder = CrossEncoder(model, 2 * 320)
    read(cross_encoder)
    assert cross_encoder.counts()[1].entries == 2
    assert np.isfinite(read(cross_encoder, until=-math.inf)).sum() == 2


class Slow:
    """A model whose every pass takes a second for each token, by a clock that it moves itself."""

    breaker, streams = None, 1

    def __init__(self, model, clock):
        self._model, self._clock = model, clock
        self.spec, self.max_tokens, self.pairs, self.tokenize = (
            model.spec,
            model.max_tokens,
            model.pairs,
            model.tokenize,
        )

    def forward(self, batch):
        self._clock.now += len(batch) * batch[0].padded
        return self._model.forward(batch)


def test_the_first_are_read_and_no_pass_starts_that_would_end_late(model, monotonic):
    cross_encoder = CrossEncoder(Slow(model, monotonic))
    texts = [f"{'owl ' * (20 * at)}mice" for at in range(4)]  # each of another length, so in a pass of its own
    seconds = [pair.padded for pair in model.pairs(QUERY, texts)]
    assert len(set(seconds)) == len(texts)
    scores = read(cross_encoder, texts, until=monotonic.now + sum(seconds[:2]) + 1)
    assert np.isfinite(scores).tolist() == [True, True, False, False]


def test_a_cancelled_request_reads_nothing_more(model):
    deadline = Deadline()
    deadline.cancel()
    with pytest.raises(Cancelled):
        CrossEncoder(model).scores(QUERY, TEXTS, math.inf, deadline)


def test_a_score_that_is_no_number_is_an_error_and_not_cached(model, monkeypatch):
    monkeypatch.setattr(model, "_run", lambda inputs: (np.full((len(inputs["input_ids"]), 1), np.nan, np.float32),))
    cross_encoder = CrossEncoder(model, 2**20)
    with pytest.raises(EncodingError, match="not finite"):
        read(cross_encoder)
    assert cross_encoder.counts()[1].entries == 0


def test_warming_up_leaves_no_counts(model):
    cross_encoder = CrossEncoder(model)
    cross_encoder.warm_up()
    passes, _ = cross_encoder.counts()
    assert (passes.texts, passes.passes) == (0, {})
    assert passes.seconds_per_token > 0


STATED = {"tokenizer_config.json": "model_max_length", "config.json": "max_position_embeddings"}


@pytest.mark.parametrize("name", STATED)
@pytest.mark.parametrize(
    ("stated", "read"),
    [("20", 20), ("512", 512), ("1e30", 512), ("-1", 512), ("0", 512), ("Infinity", 512), ("true", 512), ('"20"', 512)],
)
def test_the_files_beside_an_onnx_model_say_how_much_it_reads_or_nothing(tmp_path, name, stated, read):
    folder = save_onnx(tmp_path)
    (folder / name).write_text(f'{{"{STATED[name]}": {stated}}}')
    assert load_cross_encoder(str(folder), tmp_path, quiet).max_tokens == read


@pytest.mark.parametrize("name", STATED)
@pytest.mark.parametrize("content", [b"{", b"\xff"])
def test_a_damaged_file_beside_an_onnx_model_is_named(tmp_path, name, content):
    folder = save_onnx(tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name} is damaged .* delete it"):
        load_cross_encoder(str(folder), tmp_path, quiet)
