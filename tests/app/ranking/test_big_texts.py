"""Of a text that is far too long no more is held or done than of one that is just too long, whatever it consists of."""

import gc
import tracemalloc

import numpy as np
import pytest

from app.ranking.reranker import Reranker
from app.service.embeddings import embed
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.states.cache import StateCache
from retrieval.states.source import StateSource

KINDS = {
    "one word": "x",
    "short words": "a ",
    "long words": "nightingale" * 9 + " ",
    "white space": " ",
    "lines": "\n",
    "dots": ".",
    "sentences": "A. ",
    "marks": "\u0345\u0316\u0301",
    "invisible": "\u200d",
    "ligatures": "\ufdfa",
    "Chinese": "語",
    "beyond the first plane": "🦉",
}
USES = {
    "document": lambda reranker, text: reranker.rerank("owl", [text, "owl"]),
    "query": lambda reranker, text: reranker.rerank(text, ["owl"]),
    "exclusion": lambda reranker, text: reranker.rerank("owl", ["owl"], exclude=[text]),
    "embedding": lambda reranker, text: embed(reranker, [text]),
    "spans": lambda reranker, text: reranker.relevant_spans("owl", [text]),
    "states that are missing": lambda reranker, text: reranker.source.uncached([text]),
}


class Short(HashEncoder):
    """Reads sixteen words at once, in sixteen chunks: 8192 code points are looked at."""

    max_tokens = 16


def peak(work) -> int:
    """Bytes that Python's memory grew by while something was done, at most."""
    gc.collect()
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.fixture(scope="module")
def warm():
    for use in USES.values():
        use(Reranker(Short()), "dusk. " * 5000)
    gc.collect()
    gc.freeze()  # what other tests left, which each collection would look at


FEW = {"short words", "ligatures", "beyond the first plane"}  # with which every use is tried; the others in `make soak`
CASES = [
    pytest.param(kind, use, marks=() if use == "document" or kind in FEW else pytest.mark.soak)
    for kind in KINDS
    for use in USES
]


@pytest.mark.parametrize(("kind", "use"), CASES)
def test_memory_does_not_grow_with_a_text_beyond_what_is_looked_at(warm, kind, use):
    # A query's words count for BM25 however many they are, up to 131072 code points.
    least = 140_000 if use == "query" else 10_000
    few, many = (
        peak(lambda: USES[use](reranker, text))  # noqa: B023
        for size in (least, 2 * least)
        for reranker, text in [(Reranker(Short()), KINDS[kind] * (size // len(KINDS[kind])) + "lamp")]
    )
    assert many < 1.05 * few + 2**15


def test_memory_for_many_documents_is_a_few_bytes_a_code_point(warm):
    """Their terms are held in one array each; lists of them take 7 bytes a code point, of different ones many more."""
    few, many = (
        peak(lambda: Reranker(HashEncoder()).rerank("owl a", documents, encode_limit=1))  # noqa: B023
        for count in (50, 200)
        for documents in [[f"a{at} " + "a owl " * 1300 for at in range(count)]]
    )
    assert many - few < 2 * 150 * 7800


@pytest.mark.parametrize("begin", [" ", "x", "\u200d", "\u0301"])
def test_a_document_whose_beginning_holds_too_few_words_is_said_to_be_truncated(begin):
    reranker = Reranker(StateSource(Short(), StateCache(2**22)))
    documents = ["owl", begin * 8192 + " owl", "owl " * 10_000, "owl"]
    for _ in range(2):  # fresh and remembered
        ranking = reranker.rerank("owl", documents)
        assert (ranking.truncated, ranking.incomplete, ranking.encoded) == (1, False, 4)
        assert ranking.order[-1] == 1
    assert reranker.rerank("owl", [documents[0], documents[2]]).truncated == 0


def test_a_chunk_of_which_the_encoder_reads_a_part_only_is_said_to_be_truncated():
    reranker = Reranker(StateSource(Short(), StateCache(2**22)))
    gap = "owl" + 600 * " " + "dusk"
    for _ in range(2):
        ranking = reranker.rerank("dusk", [gap, "owl dusk"], method="quantum")
        assert (ranking.truncated, ranking.incomplete) == (1, False)
        assert ranking.scores[0] < ranking.scores[1]
    np.testing.assert_array_equal(embed(reranker, [gap]).vectors, embed(reranker, ["owl"]).vectors)


def test_what_is_looked_at_counts_and_nothing_after_it():
    reranker = Reranker(Short())
    end = 8192 - 4
    seen, unseen = reranker.rerank("owl", [" " * end + " owl", " " * end + "  owl"]).rankers["lexical"]
    assert seen > 0 == unseen
