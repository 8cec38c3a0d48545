"""Feedback of one process, whose database goes away and comes back."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from app.auth.database import Database, url_of
from app.auth.keys import Pepper
from app.errors import FeedbackUnavailable, UnknownRequest
from app.feedback.feedback import Feedback
from app.feedback.judgements import Judgement, Lesson, Scope
from app.feedback.learner import EXPERTS, Evidence, probabilities, weights
from app.feedback.settings import FeedbackSettings
from app.ranking.job import Contributions

SCORES = np.array([[1.0, 0.0, np.nan], [0.0, 1.0, np.nan], [1.0, 0.0, np.nan]])
DEFAULTS = np.array([0.5, 1.0, 1.0])
SCOPE = Scope("", "public")


@pytest.fixture
def feedback(tmp_path, monkeypatch):
    monkeypatch.setattr("app.feedback.feedback.WRITE_EVERY_S", 0)
    database = Database(url_of(None, tmp_path / "data"), Pepper("a-pepper-of-the-tests"), retry_s=0)
    made = Feedback(database, FeedbackSettings(keep_days=1, rankings=3, caller_judgements=10))
    yield made
    asyncio.run(made.close())
    database.close()


def remember(feedback, name, shown=(0, 1), ids=None):
    Lesson(feedback, SCOPE, "key_a").remember(name, Contributions(SCORES, DEFAULTS), shown, ids)


def judge(feedback, name, label="relevant", document=1):
    return asyncio.run(feedback.judge("key_a", name, [Judgement(document, label)]))


def test_weights_are_the_defaults_until_something_is_learned(feedback):
    np.testing.assert_allclose(feedback.weights(SCOPE, DEFAULTS), DEFAULTS / DEFAULTS.sum())
    remember(feedback, "a")
    assert judge(feedback, "a") == 1
    learned = feedback.weights(SCOPE, DEFAULTS)
    assert learned.sum() == pytest.approx(1)
    assert learned[1] > 0.4  # the ranker that put it first
    np.testing.assert_allclose(feedback.weights(Scope("", "premium"), DEFAULTS), DEFAULTS / DEFAULTS.sum())


@pytest.mark.parametrize(("first", "then"), [(0, 1), (1, 0), ("owl", 1), (1, "owl")])
def test_a_document_counts_once_whichever_of_its_passages_is_named(feedback, first, then):
    remember(feedback, "a", ids=["owl", "owl", "stone"])
    assert judge(feedback, "a", document=first) == 1
    assert judge(feedback, "a", document=then) == 0
    remember(feedback, "b", ids=["owl", "owl", "stone"])
    both = [Judgement(first, "relevant"), Judgement(then, "not")]
    assert asyncio.run(feedback.judge("key_a", "b", both)) == 1
    assert judge(feedback, "b", document="stone") == 1


def test_passages_of_one_document_do_not_stand_above_each_other(feedback):
    """Whatever the weights, the document that was judged is the first: no expert is better than another."""
    remember(feedback, "a", ids=["owl", "owl", "stone"])
    assert judge(feedback, "a", document=0) == 1
    nothing_learned = weights(probabilities([Evidence(1.0, np.zeros(EXPERTS))], 10), DEFAULTS)
    np.testing.assert_allclose(feedback.weights(SCOPE, DEFAULTS), nothing_learned)


def test_what_waits_for_a_database_is_written_when_it_answers(feedback, tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    remember(feedback, "a")
    with pytest.raises(FeedbackUnavailable):
        judge(feedback, "a")
    (tmp_path / "data").unlink()
    assert judge(feedback, "a") == 1


@pytest.mark.parametrize("names", [["a"], ["a", "b", "a"], ["b", "a", "b"]])
def test_a_ranking_of_another_process_can_be_judged_before_that_has_written_it(feedback, tmp_path, monkeypatch, names):
    database = Database(url_of(None, tmp_path / "data"), Pepper("a-pepper-of-the-tests"), retry_s=0)
    other = Feedback(database, FeedbackSettings(keep_days=1, rankings=3))

    async def second_passes(_: float) -> None:
        other.write()

    for name in names:
        remember(other, name)
    with monkeypatch.context() as patch:
        patch.setattr("app.feedback.feedback.asyncio.sleep", second_passes)
        assert judge(feedback, names[-1]) == 1
    asyncio.run(other.close())
    database.close()


def test_only_the_newest_rankings_can_be_judged(feedback):
    for name in "abcd":
        remember(feedback, name)
    with pytest.raises(UnknownRequest):
        judge(feedback, "a")
    assert judge(feedback, "d") == 1


def test_a_document_that_was_not_read_is_last_whatever_the_weights(feedback):
    remember(feedback, "a")
    judge(feedback, "a", document=2)
    np.testing.assert_allclose(feedback.weights(SCOPE, DEFAULTS), DEFAULTS / DEFAULTS.sum(), atol=0.2)


def test_a_click_far_below_counts_as_one_on_the_tenth():
    """Positions are stored in 16 bits, and a request may have more documents than those count."""
    many, rankings = 40_000, []
    learning = SimpleNamespace(remember=rankings.append)
    Lesson(learning, SCOPE, "key_a").remember("a", Contributions(np.zeros((3, many)), DEFAULTS), range(many), None)
    positions = rankings[0].positions
    assert (positions[0], positions[many - 1]) == (1, 32_767)
    assert (np.diff(positions.astype(int)) >= 0).all()
