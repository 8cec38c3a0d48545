import math

import pytest

from app.admission import Admission, size_of
from app.errors import Overloaded
from retrieval.deadline import Deadline

ENDLESS = Deadline()
pytestmark = pytest.mark.usefixtures("monotonic")


def learned(room: int = 100, seconds: float = 0.1) -> Admission:
    """One that knows what a request of size 1000 costs."""
    admission = Admission(room, least=0.75)
    finish(admission, seconds)
    return admission


def finish(admission: Admission, seconds: float, wanted: float = 0.0) -> None:
    place = admission.enter(1000, ENDLESS)
    place.spent = seconds
    admission.leave(place, wanted)


def room_for(admission: Admission, size: int, deadline_s: float) -> int:
    """How many requests of a size are let in before one is refused."""
    for let_in in range(1000):
        try:
            admission.enter(size, Deadline.after(deadline_s))
        except Overloaded:
            return let_in
    return 1000


def test_there_is_room_for_so_many_as_get_most_of_what_they_need():
    assert room_for(learned(), 1000, 0.4) == 5  # 0.5 s of work are within 0.4 / 0.75
    assert room_for(learned(), 100, 0.4) == 53
    assert room_for(learned(), 1000, math.inf) == 100


def test_before_anything_is_learned_only_the_number_counts():
    assert room_for(Admission(7), 10**9, 0.01) == 7


def test_one_alone_is_let_in_however_large_and_however_late():
    for deadline_s in (0.4, 0, -1):
        assert room_for(learned(), 10**6, deadline_s) >= 1


def test_what_is_large_does_not_keep_out_what_is_small():
    admission = learned()
    admission.enter(10**6, ENDLESS)
    assert room_for(admission, 1000, 0.4) == 4


def test_a_large_one_is_let_in_where_little_else_is_in_work():
    admission = learned()
    admission.enter(1000, Deadline.after(0.4))
    admission.enter(100_000, Deadline.after(0.4))
    with pytest.raises(Overloaded):
        admission.enter(100_000, Deadline.after(0.4))


def test_what_was_wanted_counts_whether_it_was_done_or_not():
    admission = learned(seconds=0.0)
    for _ in range(100):
        finish(admission, 0.0, wanted=admission._wanted + 0.2)
    assert 2 <= room_for(admission, 1000, 0.4) <= 3
    for place in list(admission._places):
        admission.leave(place, 0.0)
    for _ in range(100):  # and what costs nothing any more is soon seen to
        finish(admission, 0.0, wanted=admission._wanted)
    assert room_for(admission, 1000, 0.4) == 100


def test_work_that_failed_or_was_refused_teaches_nothing():
    admission = learned()
    admission.leave(admission.enter(10**6, ENDLESS), 0.0)
    assert room_for(admission, 1000, 0.4) == 5


def test_the_refused_are_told_when_the_work_will_be_done():
    admission = learned(seconds=0.5)
    for _ in range(9):
        admission.enter(1000, ENDLESS)
    with pytest.raises(Overloaded, match=r"9 requests.*again in 5 s") as refused:
        admission.enter(1000, Deadline.after(1))
    assert refused.value.retry_after_s == 5


def test_who_waited_too_long_for_a_thread_is_refused(monotonic):
    admission = learned()
    place = admission.enter(1000, Deadline.after(0.4))
    assert (len(admission), admission.running) == (1, 0)
    admission.check(place)
    assert (len(admission), admission.running) == (1, 1)
    monotonic.now += 0.35
    with pytest.raises(Overloaded):
        admission.check(place)


def test_who_hardly_waited_is_answered_however_late():
    admission = learned()
    place = admission.enter(1000, Deadline.after(-1))
    admission.check(place)


def test_size_counts_what_is_read():
    assert size_of([]) == 1000
    assert size_of(["x" * 500, "x" * 10**6]) == 21_500
