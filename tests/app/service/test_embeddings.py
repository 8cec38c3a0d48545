"""Texts as vectors."""

from types import SimpleNamespace

import numpy as np
import pytest

import app.service.embeddings
from app.errors import TooLate
from app.ranking.reranker import Reranker
from app.service.embeddings import embed
from retrieval.deadline import Cancelled, Deadline
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.states.cache import StateCache
from retrieval.states.source import StateSource
from retrieval.text.bm25 import NO_TERMS
from retrieval.text.limits import AT_ONCE

TEXTS = ["an owl song", "", "market prices fell", "an owl song"]


class Prompted(HashEncoder):
    """Reads a prompt before each text."""

    def tokenize(self, texts, role="document"):
        return super().tokenize([f"{role} {text}" for text in texts])


@pytest.fixture
def cached():
    return Reranker(StateSource(Prompted(), StateCache(2**20)))


@pytest.mark.parametrize("role", ["query", "document"])
@pytest.mark.parametrize("part", [1, 2, 100])
def test_vectors_are_the_encoders(cached, monkeypatch, role, part):
    monkeypatch.setattr(app.service.embeddings, "_PART", part)
    found = embed(cached, TEXTS, role)
    assert np.array_equal(found.vectors, cached.encoder.encode(TEXTS, role).pooled)
    assert found.tokens == 4 + 1 + 4 + 4
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(1)


def test_what_is_known_is_not_encoded_again_and_gives_the_same(cached):
    first = embed(cached, TEXTS)
    done = cached.source.shared_encoder.counts().texts
    again = embed(cached, [*TEXTS, "night"])
    assert np.array_equal(again.vectors[:-1], first.vectors)
    assert cached.source.shared_encoder.counts().texts == done + 1


def test_vectors_are_what_classical_compares(cached):
    scores = cached.rerank("owl", TEXTS, method="classical").rankers["classical"]
    assert embed(cached, TEXTS).vectors @ embed(cached, ["owl"], "query").vectors[0] == pytest.approx(scores, abs=1e-6)


def test_what_embeddings_remember_changes_no_rerank(cached):
    long = "owl song market " * 1000
    before = Reranker(Prompted()).rerank("market prices", [long, "prices"]).scores
    embed(cached, [long, "prices"])
    assert np.array_equal(cached.rerank("market prices", [long, "prices"]).scores, before)


def test_a_long_text_is_cut(cached):
    long = " ".join(f"word{i}" for i in range(2000))
    assert embed(cached, [long]).tokens == cached.encoder.max_tokens
    assert np.array_equal(embed(cached, [long]).vectors, embed(cached, [long + " more"]).vectors)


def test_cancelled_work_ends(cached):
    deadline = Deadline()
    deadline.cancel()
    with pytest.raises(Cancelled):
        embed(cached, TEXTS, deadline=deadline)


def test_work_that_is_cancelled_while_words_are_cut_ends(cached, monkeypatch):
    length = min(cached.source.code_points, AT_ONCE // 4)
    texts, deadline, cut = [f"{at} ".ljust(length, "w") for at in range(2 * AT_ONCE // length)], Deadline(), []

    def cancel(some):
        cut.extend(some)
        deadline.cancel()
        return [NO_TERMS] * len(some)

    monkeypatch.setattr(app.service.embeddings, "Terms", SimpleNamespace(of_each=cancel))
    with pytest.raises(Cancelled):
        embed(cached, texts, deadline=deadline)
    assert cut == texts[: AT_ONCE // length]


def test_what_is_not_done_by_the_deadline_is_no_answer(cached):
    embed(cached, TEXTS)
    with pytest.raises(TooLate, match="send fewer"):
        embed(cached, [*TEXTS, "night"], deadline=Deadline(0))
    assert len(embed(cached, TEXTS, deadline=Deadline(0)).vectors) == 4  # what is cached takes no time
