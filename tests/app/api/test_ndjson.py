"""Lines of a stream: whatever parts it comes in, they are those of the whole."""

from hypothesis import given
from hypothesis import strategies as st

from app.api import ndjson
from app.api.ndjson import BATCH_LINES, LineBuffer

MOST = 5


@given(st.lists(st.sampled_from([b"", b"a", b"\n", b"bc\n", b"12345", b"123456\n", b"\n\nx", b"\r\n"]), max_size=30))
def test_parts_become_the_lines_of_the_whole(parts):
    buffer = LineBuffer(MOST)
    for part in parts:
        buffer.add(part)
        assert buffer.size <= sum(map(len, parts))
    buffer.end()
    lines = b"".join(parts).split(b"\n")
    if not lines[-1]:
        lines.pop()
    batch = buffer.take()
    assert batch.first == 1
    assert list(batch.lines) == [line if len(line) <= MOST else None for line in lines]
    assert buffer.size == 0


def test_a_batch_has_a_thousand_lines_or_a_megabyte():
    buffer = LineBuffer(2**22)
    buffer.add(b"a\n" * (BATCH_LINES - 1))
    assert not buffer.is_full
    buffer.add(b"a\n" * 2)
    assert buffer.is_full
    assert len(buffer.take().lines) == BATCH_LINES
    rest = buffer.take()
    assert (rest.first, rest.lines) == (BATCH_LINES + 1, [b"a"])
    buffer.add(b"b" * (ndjson.BATCH_BYTES - 1) + b"\n")
    assert not buffer.is_full
    buffer.add(b"c\n" * 2)
    assert buffer.is_full
    assert len(buffer.take().lines) == 2


def test_a_line_that_is_too_long_takes_no_memory():
    buffer = LineBuffer(10)
    for _ in range(100):
        buffer.add(b"x" * 100)
        assert buffer.size == 0
    buffer.add(b"\nshort\n")
    assert list(buffer.take().lines) == [None, b"short"]
