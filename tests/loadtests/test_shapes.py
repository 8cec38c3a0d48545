import pytest

from loadtests.shapes import AFTER_S, MOST_USERS, NORMAL_USERS, PLANS, STEP_S, Climb, Stage, stretched, users_at


@pytest.mark.parametrize(
    ("seconds", "users"), [(0, 50), (29.9, 50), (30, 400), (44.9, 400), (45, 50), (89.9, 50), (90, None)]
)
def test_a_plan_says_how_many_users_there_are(seconds, users):
    assert users_at(PLANS["spike"], seconds) == users


def test_a_plan_may_be_stretched():
    assert stretched(PLANS["spike"], seconds=9, users=10) == [Stage(3, 10), Stage(1.5, 80), Stage(4.5, 10)]
    assert stretched(PLANS["peak"], users=1)[1] == Stage(90, 2)
    assert stretched(PLANS["normal"]) == [Stage(120, 50)]


def test_it_climbs_until_it_is_too_much_and_goes_back():
    climb = Climb(users=50, step=10)
    assert climb.next(0.5, too_much=True) == 50  # too early to tell
    assert climb.next(STEP_S, too_much=False) == 60
    assert climb.next(STEP_S + 1, too_much=True) == 60
    assert climb.next(2 * STEP_S, too_much=True) == 120
    assert climb.next(3 * STEP_S, too_much=False) == 50
    assert climb.held == 50
    assert climb.next(3 * STEP_S + AFTER_S - 0.1, too_much=True) == 50
    assert climb.next(3 * STEP_S + AFTER_S, too_much=False) is None


def test_it_does_not_climb_for_ever():
    climb, asked, now = Climb(), [NORMAL_USERS], 0.0
    while not climb.back:
        now += STEP_S
        asked.append(climb.next(now, too_much=False))
    assert asked[-3:] == [MOST_USERS, 2 * MOST_USERS, NORMAL_USERS]
