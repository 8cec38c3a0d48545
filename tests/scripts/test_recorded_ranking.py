"""The ranking that the playground shows before a key is entered is the one of the default model."""

import json

import pytest

from scripts.recorded_ranking import RECORDED, record, scene


def test_the_recorded_ranking_is_the_default_models(real_reranker):
    recorded, made = json.loads(RECORDED.read_text(encoding="utf-8")), record(real_reranker)
    assert len(recorded["results"]) == len(recorded["tokens"]) == len(scene()[1])
    assert recorded["query"] == made["query"]
    assert recorded["results"][0][0] == made["results"][0][0]
    scores = {row[0]: row[1:] for row in made["results"]}  # by another processor a little different
    assert all(row[1:] == pytest.approx(scores[row[0]], abs=0.05) for row in recorded["results"]), (
        "run `python -m scripts.recorded_ranking`"
    )
