"""What late interaction changes for whoever reads texts with such a model, on the default model's weights."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from app.ranking.reranker import Reranker
from retrieval.deadline import Deadline
from retrieval.encoder.chunks import USUAL, Chunker, cut_up
from retrieval.encoder.transformer import ModelSpec
from retrieval.states.record import TextState, from_bytes, to_bytes
from retrieval.states.source import StateSource
from retrieval.text.bm25 import NO_TERMS


def test_a_query_is_marked_and_filled_up_and_a_document_loses_punctuation(late_encoder):
    tokenize = late_encoder.tokenize
    (query,), (document,) = tokenize(["an owl."], "query"), tokenize(["an owl."])
    cls, marker, *own, sep = query.ids[:6].tolist()
    assert document.ids.tolist() == [cls, 2, *own, sep]
    assert document.content.tolist() == [True] * 4 + [False, True]  # the dot
    assert (marker, query.filled, query.added) == (1, 26, 29)
    assert query.ids[6:].tolist() == [103] * 26
    assert query.content.all()


def test_nothing_of_a_long_query_is_lost(late_encoder):
    source = StateSource(late_encoder)
    query = "which owl hunts at night " * 10
    states = source.encode_query([query], np.inf, Deadline())
    chunks = source.query_chunks(query)
    assert "".join(chunks) == query
    assert [len(spans) for spans in late_encoder.token_spans(chunks)] == [25, 25]
    assert states.offsets.tolist() == [0, 64]
    assert source.is_cut("owl " * 1000)


def test_chunks_hold_what_is_read_whatever_has_no_row(late_encoder):
    text = "a.b;c!? owl, (mice) " * 50
    (cuts,) = Chunker(late_encoder, str.encode).cuts([text], USUAL)
    assert cuts[-1] == len(text)
    for chunk in cut_up(text, cuts):
        assert len(late_encoder.tokenize([chunk])[0].ids) == len(late_encoder.token_spans([chunk])[0]) + 3 <= 180


def test_a_query_of_unknown_words_is_unknown_though_it_is_filled_up(late_encoder):
    states = late_encoder.encode(["🦉🦉 𒀀", "an owl 𒀀 🦉"], "query")
    assert states.unknown.tolist() == [32, 16]
    assert not Reranker(late_encoder).rerank("🦉🦉 𒀀", ["owl", "mice"]).readable


def test_spans_are_found_beside_rows_that_are_of_no_token(late_encoder):
    text = "Prices, rates (and shares) fell! The nightingale: it sings at night. Mice; they hide."
    ((best,),) = Reranker(late_encoder).relevant_spans("which bird sings at night", [text], threshold=0, most=1)
    assert text[best.start : best.end] == "The nightingale: it sings at night."


def test_a_state_of_few_rows_is_kept(late_encoder):
    state = TextState(late_encoder.encode(["!" * 170 + " owl"]), NO_TERMS)
    dimensions = late_encoder.pooled_dimension, late_encoder.token_dimension
    assert from_bytes(to_bytes(state), *dimensions).encoded.offsets[-1] == 4
    assert state.encoded.lengths[0] == 174


@pytest.mark.parametrize("late", [True, False])
def test_a_spec_is_read_as_it_was_written(late_encoder, tmp_path, late):
    spec = late_encoder._spec if late else replace(late_encoder._spec, late_interaction=None)
    (tmp_path / "spec.json").write_text(json.dumps(asdict(spec)))
    assert ModelSpec.read(tmp_path / "spec.json") == spec
