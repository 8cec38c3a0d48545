"""The stages of indexing: bounded, in order, and ended together."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoder.chunks import splitter
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import EncodingError
from retrieval.index.segment import BLOCK
from retrieval.store.pipeline import ahead, by_batch, pipeline
from retrieval.store.rows import Document, Waiting
from retrieval.text.bm25 import Terms
from retrieval.text.passages import Passage
from retrieval.text.splitters import Chunking
from tests.waiting import eventually

CHUNKING = Chunking("token", 40, 4)


def waiting(lengths, first=0):
    """Documents of so many words each."""
    return [
        Waiting(first + at, Document(str(first + at), " ".join(f"w{n}" for n in range(length))))
        for at, length in enumerate(lengths)
    ]


@given(st.lists(st.lists(st.integers(0, 120), min_size=1, max_size=4), max_size=4))
def test_it_gives_what_a_plain_loop_gives(sizes):
    batches = [waiting(lengths, 10 * at) for at, lengths in enumerate(sizes)]
    encoder, counted = HashEncoder(), list[int]()
    split = splitter(encoder, CHUNKING, "en")
    found = []
    for batch in by_batch(pipeline(batches, encoder, CHUNKING, "en"), counted.append):
        blocks = list(batch.blocks())
        found.append(batch.documents)
        documents = [Passage(each.document.id, "", each.document.text) for each in batch.documents]
        expected = list(split.passages(documents))
        passages = [passage for some in expected for passage in some]
        assert [passage for block in blocks for passage in block.passages] == passages
        assert batch.owners == [at for at, some in enumerate(expected) for _ in some]
        contents = [passage.content for passage in passages]
        numbers = [terms.numbers.tolist() for block in blocks for terms in block.terms]
        assert numbers == [Terms.of(text, "en").numbers.tolist() for text in contents]
        pooled = [row.tolist() for block in blocks for row in block.states.pooled]
        assert pooled == encoder.encode(contents).pooled.tolist()
    assert found == batches
    assert sum(counted) == sum(map(len, sizes))


def test_no_stage_is_more_than_a_block_ahead_however_long_a_document_is():
    class Counting(HashEncoder):
        encoded = 0

        def encode_tokens(self, tokens):
            self.encoded += 1
            assert len(tokens) <= BLOCK
            return super().encode_tokens(tokens)

    encoder = Counting()
    pieces = pipeline([waiting([40 * 3 * BLOCK])], encoder, CHUNKING, "en")
    first = next(pieces)
    eventually(lambda: encoder.encoded == 2)
    assert (len(first.owners), first.is_last) == (BLOCK, False)
    assert [piece.is_last for piece in pieces][-1]
    assert encoder.encoded == 4, "overlapping chunks: a few more than three blocks of them"


def test_an_error_comes_after_what_was_before_it():
    class Choosy(HashEncoder):
        def encode_tokens(self, tokens):
            if any(text.ids.size == 7 for text in tokens):
                raise EncodingError("seven")
            return super().encode_tokens(tokens)

    batches = [waiting([3, 5]), waiting([7], 10), waiting([1], 20)]
    pieces = by_batch(pipeline(batches, Choosy(), CHUNKING, "en"), lambda _: None)
    assert len(list(next(pieces).blocks())) == 1
    with pytest.raises(EncodingError, match="seven"):
        next(pieces)


def test_closing_ends_the_thread_and_the_generator():
    ended = threading.Event()

    def numbers():
        try:
            yield from range(1, 1000)
        finally:
            ended.set()

    before = {*threading.enumerate()}
    some = ahead(numbers())
    assert [next(some), next(some)] == [1, 2]
    some.close()
    assert ended.is_set()
    assert {*threading.enumerate()} <= before  # threads of other tests may end meanwhile
