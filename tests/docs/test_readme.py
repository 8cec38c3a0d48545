"""README.md is short, and its request gets the answer that it shows."""

import json
import re

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.docs.pages import BY_NAME
from tests.waiting import eventually

README = BY_NAME["README.md"]


def test_it_is_read_in_one_sitting():
    assert len(README.text.splitlines()) <= 120


def test_it_has_its_place_for_the_table_of_quality():
    assert README.text.index("<!-- quality -->") < README.text.index("<!-- /quality -->")


def test_the_request_gets_the_answer(real_encoder, tmp_path):
    (request,) = re.findall(r"-d '(\{\n.*?\n\})'", README.text, re.DOTALL)
    (shown,) = [json.loads(text) for language, text in README.blocks if language == "json"]
    app = create_app(Settings(data_dir=tmp_path), {"all-MiniLM-L6-v2": real_encoder})
    with TestClient(app) as client:
        eventually(lambda: app.state.dependencies.engine.state.phase != "loading")
        given = client.post("/rerank", content=request).json()
    assert given.keys() == shown.keys()
    assert given["meta"].keys() == shown["meta"].keys()
    for changing in ("id", "meta"):
        assert type(given.pop(changing)) is type(shown.pop(changing))
    # The scores of another CPU's arithmetic differ a little.
    scores = [[row.pop("relevance_score") for row in answer["results"]] for answer in (given, shown)]
    assert scores[0] == pytest.approx(scores[1], abs=0.03)
    assert given == shown
