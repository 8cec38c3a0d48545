"""An encoder whose passes wait for the test makes concurrency deterministic."""

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.deadline import Cancelled, Deadline
from retrieval.encoder.batching import SharedEncoder
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.protocol import PASS_TOKENS, pass_shapes
from retrieval.errors import EncodingError
from tests.waiting import PATIENT_S, Clock, eventually

NEVER = float("inf")


class Gated(HashEncoder):
    """Runs one pass per `go`, and records its texts."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.passes: list[list[int]] = []  # tokens of each text

    def forward(self, batch):
        self.passes.append([len(text.ids) for text in batch])
        assert self.gate.acquire(timeout=PATIENT_S)
        if any(text.ids.size == 13 for text in batch):
            raise EncodingError("thirteen")
        return super().forward(batch)

    def go(self, passes: int = 1000) -> None:
        for _ in range(passes):
            self.gate.release()

    def has_begun(self, passes: int) -> None:
        """Wait until this many passes have started."""
        eventually(lambda: len(self.passes) >= passes)


class Timed(HashEncoder):
    """Advances a fake clock by a number of seconds per padded token."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def forward(self, batch):
        self.clock.now += self.seconds * sum(text.padded for text in batch)
        return super().forward(batch)


class RequestRecord(SharedEncoder):
    """Signals when a request has been queued."""

    def __init__(self, encoder: HashEncoder) -> None:
        super().__init__(encoder)
        self.queued = threading.Semaphore(0)

    def _admit(self, *request):
        tickets = super()._admit(*request)
        self.queued.release()
        return tickets


class Callers:
    """Threads that use one shared encoder."""

    def __init__(self, encoder: HashEncoder) -> None:
        self.shared = RequestRecord(encoder)
        self.pool = ThreadPoolExecutor(200)

    def encode(self, texts: list[str], until: float = NEVER, deadline: Deadline | None = None) -> Future:
        """Encode in a new thread, and return once the request has been queued."""
        keys = [text.encode() for text in texts]
        read = self.shared.encoder.tokenize(texts)
        future = self.pool.submit(self.shared.encode, keys, read, until, deadline or Deadline())
        assert self.shared.queued.acquire(timeout=PATIENT_S)
        return future

    def begin(self, text: str) -> Future:
        """Encode one text, and return once its pass has started: later requests wait for the next pass."""
        future = self.encode([text])
        self.shared.encoder.has_begun(1)
        return future


def words(count: int, name: str) -> str:
    return " ".join(f"{name}{i}" for i in range(count))


@given(st.lists(st.integers(1, 40), max_size=30))
def test_every_text_gets_its_own_states(lengths):
    texts = [words(n, "w") for n in lengths]
    found = Callers(HashEncoder()).encode(texts).result(PATIENT_S)
    for text, states in zip(texts, found, strict=True):
        np.testing.assert_array_equal(states.tokens, HashEncoder().encode([text]).tokens)


def test_requests_share_a_pass():
    gated = Gated()
    callers = Callers(gated)
    first = callers.begin(words(7, "first"))
    others = [callers.encode([words(5, f"q{i}")]) for i in range(4)]
    gated.go()
    for future in [first, *others]:
        assert future.result(PATIENT_S)[0] is not None
    assert gated.passes == [[7], [5, 5, 5, 5]]


def test_what_is_announced_waits_for_whoever_asks_first_and_shares_its_pass():
    gated = Gated()
    gated.go()
    shared = SharedEncoder(gated)
    texts = [[words(5, f"q{i}")] for i in range(4)]
    jobs = [shared.announce([text.encode() for text in own], gated.tokenize(own), NEVER, Deadline()) for own in texts]
    assert (shared.counts().pending, gated.passes) == (4, [])
    for own, job in zip(texts, jobs[::-1], strict=True):
        assert shared.result(job)[0] is not None, own
    assert (shared.counts().pending, gated.passes) == (0, [[5, 5, 5, 5]])


def test_of_what_is_announced_only_the_one_that_cannot_be_encoded_fails():
    gated = Gated()
    gated.go()
    shared = SharedEncoder(gated)
    texts = [words(count, "w") for count in (13, 12, 14)]
    jobs = [shared.announce([text.encode()], gated.tokenize([text]), NEVER, Deadline()) for text in texts]
    assert [shared.result(job)[0] is not None for job in jobs[1:]] == [True, True]
    with pytest.raises(EncodingError, match="thirteen"):
        shared.result(jobs[0])


def test_what_was_announced_by_a_cancelled_request_is_not_encoded():
    gated, gone = Gated(), Deadline()
    gated.go()
    shared = SharedEncoder(gated)
    announced = shared.announce([b"gone"], gated.tokenize([words(3, "gone")]), NEVER, gone)
    gone.cancel()
    assert shared.encode([b"here"], gated.tokenize([words(4, "here")]), NEVER, Deadline())[0] is not None
    assert gated.passes == [[4]]
    with pytest.raises(Cancelled):
        shared.result(announced)


def test_what_is_withdrawn_is_not_encoded():
    gated = Gated()
    gated.go()
    shared = SharedEncoder(gated)
    one, both = (gated.tokenize([words(3, name)]) for name in ("one", "both"))
    kept = shared.announce([b"both"], both, NEVER, Deadline())
    withdrawn = shared.announce([b"one", b"both"], one + both, NEVER, Deadline())
    shared.withdraw(withdrawn)
    assert shared.counts().pending == 1
    assert shared.result(kept)[0] is not None
    assert gated.passes == [[3]]
    shared.withdraw(kept)  # its result is there
    assert shared.result(withdrawn) == [None, kept.tickets[0].encoded]


def test_a_text_wanted_twice_is_encoded_once():
    gated = Gated()
    callers = Callers(gated)
    callers.begin(words(3, "busy"))
    waiting = callers.encode(["owl", "dusk lamp", "owl"])
    same = callers.encode(["owl"])  # while it waits
    gated.go(1)
    gated.has_begun(2)
    late = callers.encode(["owl"])  # while it is encoded
    gated.go()
    assert [len(future.result(PATIENT_S)) for future in (waiting, same, late)] == [3, 1, 1]
    assert gated.passes == [[3], [1], [2]]
    assert callers.shared.counts().texts == 3
    assert callers.shared.counts().pending == 0


def test_a_small_request_does_not_wait_for_a_large_one():
    gated = Gated()
    callers = Callers(gated)
    large = callers.encode([words(100 + i, f"large{i}") for i in range(40)])
    gated.go(10)
    gated.has_begun(11)
    small = callers.encode([words(50 + i, f"small{i}") for i in range(5)])
    gated.go()
    assert len(small.result(PATIENT_S)) == 5
    assert len(large.result(PATIENT_S)) == 40
    sizes = [size for batch in gated.passes for size in batch]
    last_small = max(at for at, size in enumerate(sizes) if size < 100)
    assert last_small <= 11 + 5 + 3  # each gets the same number of tokens: half as many large texts between small ones


def test_newcomers_do_not_hold_up_an_elder_for_good():
    gated = Gated()
    callers = Callers(gated)
    elder = callers.encode([words(30 + i, f"elder{i}") for i in range(8)])
    young = [callers.encode([words(60 + i, f"young{i}")]) for i in range(10)]
    while not elder.done() and len(young) < 150:  # one new caller for each pass
        young.append(callers.encode([words(60 + len(young), f"young{len(young)}")]))
        begun = len(gated.passes)
        gated.go(1)
        eventually(lambda begun=begun: len(gated.passes) > begun or elder.done())
    assert elder.done()
    gated.go()
    for future in young:
        future.result(PATIENT_S)


@pytest.mark.parametrize(("lengths", "left"), [((6, 12, 3), 10), ((6, 6, 6), 5), ((6, 6, 6, 6, 3), 5)])
def test_what_does_not_fit_before_the_deadline_is_not_begun(monotonic, lengths, left):
    gated = Gated()
    callers = Callers(gated)
    callers.shared._cost = 1.0
    texts = [words(length, f"a{at}") for at, length in enumerate(lengths)]
    future = callers.encode(texts, until=monotonic() + left)
    gated.go()
    found = future.result(PATIENT_S)
    assert [states is not None for states in found] == [True, *[False] * (len(texts) - 1)]
    assert gated.passes == [[6]]


def test_a_cost_learned_too_high_is_unlearned(monotonic):
    callers = Callers(Timed(monotonic, 0.001))
    callers.shared._cost = 1.0
    results = []
    for i in range(100):
        found = callers.encode([words(6, f"a{i}"), words(12, f"b{i}")], monotonic() + 0.5).result(PATIENT_S)
        results.append([states is not None for states in found])
    assert results[0] == [True, False]
    assert results[-1] == [True, True]
    assert all(first for first, _ in results)
    assert callers.shared.counts().seconds_per_token == pytest.approx(0.001, rel=0.05)


def test_a_deadline_that_has_passed_encodes_nothing(monotonic):
    gated = Gated()
    assert Callers(gated).encode(["owl", "dusk"], until=monotonic() - 1).result(PATIENT_S) == [None, None]
    assert gated.passes == []


def test_a_text_that_another_request_still_wants_is_encoded_though_the_first_gave_up():
    gated = Gated()
    callers = Callers(gated)
    busy = callers.begin(words(9, "busy"))
    off = Deadline()
    impatient = callers.encode([words(4, "x"), words(3, "alone")], deadline=off)
    patient = callers.encode([words(4, "x")])
    off.cancel()
    gated.go()
    with pytest.raises(Cancelled):
        impatient.result(PATIENT_S)
    assert patient.result(PATIENT_S)[0] is not None
    assert busy.result(PATIENT_S)[0] is not None
    assert gated.passes == [[9], [4]]


def test_one_bad_text_fails_its_own_request_only():
    gated = Gated()
    callers = Callers(gated)
    first = callers.begin(words(7, "first"))
    good = callers.encode([words(13, "good")[:-1].replace("good", "g")])
    bad = callers.encode([words(13, "bad")])
    gated.go()
    assert first.result(PATIENT_S)[0] is not None
    for future in (good, bad):
        with pytest.raises(EncodingError, match="thirteen"):
            future.result(PATIENT_S)
    assert callers.encode(["after"]).result(PATIENT_S)[0] is not None
    assert callers.shared.counts().pending == 0


def test_a_failing_pass_is_run_again_text_by_text():
    class Picky(HashEncoder):
        def forward(self, batch):
            if any("bad" in str(text.ids.tolist()) for text in batch) or len(batch) > 1:
                raise EncodingError("several at once")
            return super().forward(batch)

    found = Callers(Picky()).encode(["owl", "dusk", "lamp"]).result(PATIENT_S)
    assert all(states is not None for states in found)


def test_a_fault_of_the_queue_itself_reaches_every_waiter(monkeypatch):
    gated = Gated()
    callers = Callers(gated)
    first = callers.begin("owl")
    second = callers.encode(["dusk lamp"])
    monkeypatch.setattr(callers.shared, "_finish", lambda *_: 1 // 0)
    gated.go()
    for future in (first, second):
        with pytest.raises(ZeroDivisionError):
            future.result(PATIENT_S)
    monkeypatch.undo()
    assert callers.encode(["after"]).result(PATIENT_S)[0] is not None


def test_the_cost_of_a_token_is_learned(monotonic):
    callers = Callers(Timed(monotonic, 0.002))
    callers.encode([words(10, f"t{i}") for i in range(3)]).result(PATIENT_S)
    counts = callers.shared.counts()
    assert counts.seconds_per_token == pytest.approx(0.002)
    assert (counts.texts, counts.tokens) == (3, 30)
    assert counts.passes == {2: 1, 1: 1}  # batch sizes are powers of two


def test_warming_up_learns_and_counts_nothing():
    shared = SharedEncoder(HashEncoder())
    shared.warm_up()
    counts = shared.counts()
    assert counts.seconds_per_token > 0
    assert (counts.texts, counts.passes) == (0, {})


def test_warming_up_runs_each_small_shape_once_and_measures_a_large_one_on_all_streams():
    ran = Counter()

    class Recorded(HashEncoder):
        streams = 3

        def forward(self, batch):
            ran[len(batch), batch[0].padded] += 1
            return super().forward(batch)

    SharedEncoder(Recorded()).warm_up()
    small = {shape for shape in pass_shapes(Recorded.max_tokens) if shape[0] * shape[1] <= PASS_TOKENS // 2}
    measured = {shape for shape, times in ran.items() if times == 1 + 3}
    assert len(measured) == 1
    assert measured < {(size, PASS_TOKENS // 2 // size) for size, _ in small}
    assert ran == Counter(small) + Counter(list(measured) * 3)


def test_many_threads_get_what_they_asked_for():
    callers = Callers(HashEncoder())
    requests = [[words(1 + (i * j) % 23, f"k{j % 7}") for j in range(20)] for i in range(40)]
    futures = [
        callers.pool.submit(
            callers.shared.encode, [t.encode() for t in texts], HashEncoder().tokenize(texts), NEVER, Deadline()
        )
        for texts in requests
    ]
    for texts, future in zip(requests, futures, strict=True):
        for text, states in zip(texts, future.result(PATIENT_S), strict=True):
            np.testing.assert_array_equal(states.tokens, HashEncoder().encode([text]).tokens)
    assert callers.shared.counts().pending == 0


def test_an_expired_request_is_let_go_though_others_had_less(monotonic):
    gated = Gated()
    callers = Callers(gated)
    running = callers.begin(words(9, "running"))
    served = callers.encode([words(8 + i, f"s{i}") for i in range(12)], until=monotonic() + 0.1)
    gated.go(3)
    gated.has_begun(4)
    young = [callers.encode([words(40 + i, f"y{i}")]) for i in range(6)]  # all have been served less
    monotonic.now += 0.15
    gated.go(2)
    found = served.result(PATIENT_S)  # while the new callers still wait
    assert found[0] is not None
    assert found[-1] is None
    assert not young[-1].done()
    gated.go()
    assert [future.result(PATIENT_S)[0] is not None for future in [running, *young]] == [True] * 7


def test_what_is_not_counted_teaches_nothing_and_takes_its_turn():
    shared = SharedEncoder(HashEncoder())

    def encode(text: str, **how: bool) -> list:
        return shared.encode([text.encode()], shared.encoder.tokenize([text]), NEVER, Deadline(), **how)

    encode("an owl")
    before, wanted = shared.counts(), shared.wanted_s
    (state,) = encode("a text that nobody sent", counted=False)
    np.testing.assert_array_equal(state.pooled, shared.encoder.encode(["a text that nobody sent"]).pooled)
    assert (shared.counts(), shared.wanted_s) == (before, wanted)
    encode("a text that nobody sent")
    assert shared.counts().texts == before.texts + 1
    assert shared.wanted_s > wanted


def test_callers_share_equally_however_many_jobs_each_has():
    gated = Gated()
    callers = Callers(gated)
    greedy = [
        callers.encode(
            [words(100 + 16 * (job % 2), f"g{job}-{text}") for text in range(9)], deadline=Deadline(caller="g")
        )
        for job in range(16)
    ]
    alone = callers.encode([words(200, f"o{text}") for text in range(9)], deadline=Deadline(caller="o"))
    while not alone.done():
        begun = len(gated.passes)
        gated.go(1)
        eventually(lambda begun=begun: len(gated.passes) > begun or alone.done())
    picked = [length for lengths in gated.passes for length in lengths]
    other = 9 * 208
    assert sum(length for length in picked if length < 200) <= other + 3 * 512, "about as much as the other caller"
    gated.go()
    for future in greedy:
        future.result(PATIENT_S)
