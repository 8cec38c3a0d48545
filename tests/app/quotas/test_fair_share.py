from hypothesis import given
from hypothesis import strategies as st

from app.quotas.fair_share import Shares, part_of_one


def test_one_may_take_most_and_never_all():
    shares = Shares(100)
    assert shares.take("greedy", 75)
    assert not shares.take("greedy", 1)
    assert shares.take("other", 25)
    assert not shares.take("third", 1)
    shares.give("greedy", 75)
    assert shares.take("third", 75)
    assert shares.total == 100
    shares.give("third", 75)
    assert shares.take("greedy", 75)


def test_a_small_amount_can_be_taken_all_the_same():
    assert [part_of_one(amount) for amount in (1, 2, 3, 4, 8)] == [1, 2, 3, 3, 6]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=60), st.integers(1, 100))
def test_what_is_taken_and_given_back_is_counted_once(steps, amount):
    shares, held = Shares(amount), {}
    for caller, size in steps:
        before = sum(held.values())
        fits = before + size <= amount and held.get(caller, 0) + size <= part_of_one(amount)
        assert shares.take(caller, size) == fits
        if fits:
            held[caller] = held.get(caller, 0) + size
        elif held.get(caller):
            shares.give(caller, held.pop(caller))
        assert shares.total == sum(held.values())
        assert set(shares._taken) == {caller for caller, size in held.items() if size}
    for caller, size in held.items():
        shares.give(caller, size)
    assert (shares.total, dict(shares._taken)) == (0, {})
