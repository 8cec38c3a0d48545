import asyncio
import math

import pytest

from app.engine.admission import Admission
from app.errors import NotReady, Overloaded
from retrieval.deadline import Deadline

ENDLESS = Deadline()
pytestmark = pytest.mark.usefixtures("monotonic")


def learned(room: int = 100, seconds: float = 0.1) -> Admission:
    """One that knows what a request of size 1000 costs."""
    admission = Admission(room, 0, least=0.75)
    finish(admission, seconds)
    return admission


def finish(admission: Admission, seconds: float, wanted: float = 0.0) -> None:
    place = admission.enter(1000, ENDLESS)
    place.spent = seconds
    admission.leave(place, wanted)


def room_for(admission: Admission, size: int, deadline_s: float, caller: str = "") -> int:
    """How many requests of a size are let in before one is refused."""
    for let_in in range(1000):
        try:
            admission.enter(size, Deadline.after(deadline_s, caller))
        except Overloaded:
            return let_in
    return 1000


def test_there_is_room_for_so_many_as_get_most_of_what_they_need():
    assert room_for(learned(), 1000, 0.4) == 5  # 0.5 s of work are within 0.4 / 0.75
    assert room_for(learned(), 100, 0.4) == 53
    assert room_for(learned(), 1000, math.inf) == 100


def test_before_anything_is_learned_only_the_number_counts():
    assert room_for(Admission(7, 0), 10**9, 0.01) == 7


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
    asyncio.run(admission.wait(place))
    admission.check(place)
    assert (len(admission), admission.running) == (1, 1)
    monotonic.now += 0.35
    with pytest.raises(Overloaded):
        admission.check(place)


def test_where_no_load_is_shed_the_wait_for_a_thread_refuses_nobody(monotonic):
    admission = Admission(2, 9, least=0.0)
    place = admission.enter(1000, Deadline.after(0.4))
    monotonic.now += 60
    admission.check(place)


def test_who_hardly_waited_is_answered_however_late():
    admission = learned()
    place = admission.enter(1000, Deadline.after(-1))
    admission.check(place)


def test_beside_a_greedy_caller_another_gets_half():
    admission = learned()
    while True:
        try:
            admission.enter(100_000, Deadline.after(60, "greedy"))
        except Overloaded:
            break
    # Each of theirs takes 10 s, and ours 0.1 s: beside all of theirs together it has half of the machine.
    assert room_for(admission, 1000, 0.4, "other") == 2  # 0.2 s for one, 0.4 s for two, and 0.6 > 0.4 / 0.75
    assert room_for(admission, 1000, 0.4, "third") == 1  # beside the two


def test_a_caller_has_the_same_whatever_others_call_themselves():
    alone, beside = learned(), learned()
    beside.enter(10**6, Deadline.after(60, "greedy"))
    assert room_for(alone, 1000, 0.4, "a") == 5
    assert room_for(beside, 1000, 0.4, "a") == 2


class Waiting:
    """Requests that wait for threads, and in which order they got one."""

    def __init__(self, admission: Admission) -> None:
        self.admission, self.got = admission, []
        self.places, self.tasks = {}, {}

    async def ask(self, name: str, caller: str) -> None:
        self.places[name] = self.admission.enter(1, Deadline(caller=caller))
        self.tasks[name] = asyncio.create_task(self._wait(name))
        await asyncio.sleep(0)

    async def _wait(self, name: str) -> None:
        await self.admission.wait(self.places[name])
        self.got.append(name)

    async def leave(self, name: str) -> None:
        self.admission.leave(self.places[name], 0.0)
        await asyncio.sleep(0)


def test_threads_go_to_callers_in_turn_and_one_is_left_for_whoever_comes_next():
    async def story():
        waiting = Waiting(Admission(4, 100))
        for number in range(10):
            await waiting.ask(f"g{number}", "greedy")
        assert waiting.got == ["g0", "g1", "g2"]  # three of four
        for number in range(3):
            await waiting.ask(f"o{number}", "other")
        assert waiting.got[3:] == ["o0"]
        await waiting.leave("g0")
        assert waiting.got[4:] == ["o1"], "who has fewer comes first"
        await waiting.leave("o0")
        await waiting.leave("o1")
        assert waiting.got[5:] == ["o2", "g3"]
        assert waiting.admission.running == 4

    asyncio.run(story())


def test_one_alone_may_have_all_places_and_makes_room_for_another():
    async def story():
        waiting = Waiting(Admission(1, 3))
        for number in range(4):
            await waiting.ask(f"g{number}", "greedy")
        with pytest.raises(Overloaded):
            await waiting.ask("g4", "greedy")
        await waiting.ask("o0", "other")  # in the place of the last of theirs
        with pytest.raises(Overloaded):
            await waiting.tasks["g3"]
        assert waiting.admission.running == 1
        await waiting.leave("g3")  # as whoever waited does in any case
        await waiting.ask("o1", "other")  # two of each
        with pytest.raises(Overloaded):
            await waiting.ask("o2", "other")
        assert len(waiting.admission) == 4

    asyncio.run(story())


def test_who_does_not_wait_any_more_is_passed_over():
    async def story():
        waiting = Waiting(Admission(1, 3))
        for name in ("a", "b", "c"):
            await waiting.ask(name, "one")
        waiting.tasks["b"].cancel()
        await asyncio.sleep(0)
        await waiting.leave("b")
        await waiting.leave("a")
        assert waiting.got == ["a", "c"]
        await waiting.leave("c")
        assert (len(waiting.admission), waiting.admission.running) == (0, 0)

    asyncio.run(story())


def test_when_it_closes_nobody_waits_any_more():
    async def story():
        waiting = Waiting(Admission(1, 3))
        for name in ("a", "b", "c"):
            await waiting.ask(name, name)
        waiting.admission.close()
        for name in ("b", "c"):
            with pytest.raises(NotReady):
                await waiting.tasks[name]

    asyncio.run(story())
