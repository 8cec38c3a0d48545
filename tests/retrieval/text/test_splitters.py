"""Laws of splitting: nothing is lost, every chunk fits, chunks overlap as asked, and time grows as the text does."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.encoder.chunks import content_tokens, splitter
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.text import splitters
from retrieval.text.passages import Passage
from retrieval.text.splitters import KINDS, LEAST_SIZE, WHOLE, Chunking, Splitter

SPLITTING = [by for by in KINDS if by != "none"]
PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "Owls hunt at night. ",
                "Dr. Grey saw one!\n\n",
                "antidisestablishmentarianism",
                "夜里听见猫头鹰的叫声",
                "。",
            ),
            *(
                "الطيور تغني في الليل. ",
                "e\u0301\u0323",
                "👩\u200d👩\u200d👧",
                "ﷺ",
                "x" * 50,
                "- ",
                "\r\n",
                " " * 40,
                "\x00",
                "¿Qué? ",
            ),
        ]
    )
    | st.text(max_size=20),
    max_size=60,
).map("".join)


def tokens_of(encoder, text: str) -> int:
    return len(encoder.token_spans([text])[0]) - len(encoder.token_spans([""])[0])


@pytest.mark.parametrize("by", SPLITTING)
@settings(max_examples=40)
@given(text=PIECES, size=st.integers(LEAST_SIZE, 60), data=st.data())
def test_chunks_cover_the_text_fit_and_overlap_as_asked(real_encoder, by, text, size, data):
    overlap = data.draw(st.integers(0, size // 2))
    split = splitter(real_encoder, Chunking(by, size, overlap), "auto")
    chunks = list(split.split(text))
    assert chunks == list(split.split(text))
    assert chunks[0][0] == 0
    assert chunks[-1][1] == len(text)
    for (start, end), (following, beyond) in pairwise(chunks):
        assert start < following <= end < beyond
        repeated = text[following:end]
        assert (len(repeated) if by == "character" else tokens_of(real_encoder, repeated)) <= overlap + 1
    for start, end in chunks:
        if by == "character":
            assert end - start <= size
        else:
            assert tokens_of(real_encoder, text[start:end]) <= size


def test_no_chunk_is_repeated_whole_by_the_next(real_encoder):
    text = "An owl hunts. " + "at night " * 100  # a short sentence before one that is cut
    first, second, *_ = splitter(real_encoder, Chunking("sentence", 64, 16), "en").split(text)
    assert first[0] < second[0] < first[1]


@pytest.mark.parametrize("by", SPLITTING)
@pytest.mark.parametrize("unit", ["a.", "ab.", "An owl sings. "])
@pytest.mark.parametrize("overlap", [1, 16])
def test_no_chunk_at_the_end_of_a_block_is_in_the_one_before_it(by, unit, overlap):
    text = unit * (12_000 // len(unit))
    chunks = list(splitter(HashEncoder(), Chunking(by, 32, overlap), "en").split(text))
    assert (chunks[0][0], chunks[-1][1]) == (0, len(text))
    assert all(start < following <= end < beyond for (start, end), (following, beyond) in pairwise(chunks))


@pytest.mark.parametrize("by", SPLITTING)
@settings(max_examples=25)
@given(title=PIECES, text=PIECES)
def test_the_model_reads_every_passage_to_its_end(real_encoder, by, title, text):
    document = Passage("a", title, text * 8)
    [passages] = splitter(real_encoder, Chunking(by), "auto").passages([document])
    if passages == [document]:
        return
    seen = np.zeros(len(document.text), dtype=bool)
    for passage in passages:
        start, end = passage.chunk
        assert passage.text == document.text[start:end]
        assert title.startswith(passage.title)
        assert real_encoder.tokenize([passage.content])[0].ids.size < real_encoder.max_tokens
        seen[start:end] = True
    assert not splitters.VISIBLE.search("".join(document.text[at] for at in np.flatnonzero(~seen)))


def chunks_of(text: str, chunking: Chunking, language: str = "en") -> list[str]:
    """With words as tokens."""
    return [text[start:end] for start, end in splitter(HashEncoder(), chunking, language).split(text)]


def words(first: int, last: int) -> str:
    return " ".join(f"w{at}" for at in range(first, last))


def test_tokens_are_counted_out():
    assert chunks_of(words(0, 100), Chunking("token", 40, 10)) == [
        words(0, 40) + " ",
        words(30, 70) + " ",
        words(60, 100),
    ]


def test_characters_are_counted_out_and_marks_stay_with_their_letters():
    assert chunks_of("a" * 100, Chunking("character", 40, 10)) == ["a" * 40] * 3
    assert chunks_of("a" * 39 + "e\u0301" + "b" * 9, Chunking("character", 40)) == ["a" * 39, "e\u0301" + "b" * 9]


def test_sentences_stay_whole_and_are_repeated_whole():
    text = f"Dr. Owl {words(0, 18)}. B {words(0, 11)}. C {words(0, 20)}."
    assert chunks_of(text, Chunking("sentence", 34)) == [
        f"Dr. Owl {words(0, 18)}. B {words(0, 11)}. ",
        f"C {words(0, 20)}.",
    ]
    assert chunks_of(text, Chunking("sentence", 34, 13)) == [
        f"Dr. Owl {words(0, 18)}. B {words(0, 11)}. ",
        f"B {words(0, 11)}. C {words(0, 20)}.",
    ]


def test_a_sentence_that_is_too_long_is_cut_between_words():
    assert chunks_of(f"Owls! Long {words(0, 50)}.", Chunking("sentence", 32)) == [
        "Owls! ",
        f"Long {words(0, 31)} ",
        words(31, 50) + ".",
    ]


def test_a_recursive_chunk_ends_with_its_paragraph():
    text = f"{words(0, 20)}\n\n{words(0, 10)}\n{words(0, 10)}\n\n{words(0, 30)}"
    assert [chunk.strip() for chunk in chunks_of(text, Chunking("recursive", 32))] == [
        words(0, 20),
        f"{words(0, 10)}\n{words(0, 10)}",
        words(0, 30),
    ]


def test_what_fits_stays_one_passage_and_none_keeps_all_of_them():
    short, long = Passage("a", "Owls", words(0, 30)), Passage("b", "Owls", words(0, 3000))
    split = splitter(HashEncoder(), Chunking("token", 40), "en")
    kept, [first, *_] = split.passages([short, long])
    assert kept == [short]
    assert first == Passage("b", "Owls", words(0, 40) + " ", (0, len(words(0, 40)) + 1))
    assert list(splitter(HashEncoder(), WHOLE, "en").passages([short, long])) == [[short], [long]]
    assert list(splitter(HashEncoder(), WHOLE, "en").split("ab c")) == [(0, 4)]
    assert len(next(splitter(HashEncoder(), Chunking("character", 100), "en").passages([long]))) > 100


def test_a_long_title_leaves_room_for_the_text_and_blank_chunks_are_left_out():
    [passages] = splitter(HashEncoder(), Chunking("token", 40), "en").passages([Passage("a", words(0, 999), "owl")])
    assert [(passage.title, passage.text) for passage in passages] == [(words(0, 255), "owl")]
    [passages] = splitter(HashEncoder(), Chunking("token", 40), "en").passages([Passage("a", "", " " * 9999 + "owl")])
    assert [passage.text.strip() for passage in passages] == ["owl"]


class Counting(HashEncoder):
    """Counts the code points that are looked at."""

    looked = 0

    def token_spans(self, texts):
        self.looked += sum(map(len, texts))
        return super().token_spans(texts)


@pytest.mark.parametrize("by", SPLITTING)
@pytest.mark.parametrize("unit", ["a", " ", "a ", "A b. ", "夜里", "e\u0301", "\n"])
def test_the_work_grows_as_the_text_does(by, unit):
    work = []
    for length in (2**14, 2**15):
        encoder = Counting()
        list(splitter(encoder, Chunking(by, 128, 32), "auto").split(unit * (length // len(unit))))
        work.append(encoder.looked)
    assert work[1] < 2.5 * work[0]


@pytest.mark.parametrize(
    ("chunking", "reason"),
    [
        (Chunking("token", LEAST_SIZE - 1), "size: from 32 to 511"),
        (Chunking("token", 512), "size: from 32 to 511"),
        (Chunking("character", 511 * 32 + 1), "size: from 32 to 16352"),
        (Chunking("sentence", 100, 51), "overlap: from 0 to half of the size, 50"),
        (Chunking("sentence", 100, -1), "overlap"),
        (Chunking("none", 100), "none splits nothing"),
        (Chunking("none", None, 1), "none splits nothing"),
    ],
)
def test_what_cannot_be_is_refused_with_the_bounds(chunking, reason):
    with pytest.raises(ValueError, match=reason):
        splitter(HashEncoder(), chunking, "en")


def test_without_a_size_chunks_are_as_long_as_the_model_reads(real_encoder):
    assert splitter(real_encoder, Chunking("sentence"), "en").chunking == Chunking(
        "sentence", content_tokens(real_encoder) - 1
    )
    assert splitter(real_encoder, Chunking("token", 253, 126), "en").chunking.size == 253


def test_a_model_of_few_tokens_is_served():
    split = Splitter(Chunking("token"), 3, HashEncoder().token_spans)
    assert list(split.split("a b c d")) == [(0, 6), (6, 7)]
    by_characters = Splitter(Chunking("character"), 3, HashEncoder().token_spans)
    assert by_characters.chunking.size == 96, "a size that nobody chose is one that the model can read"


def test_a_chunking_says_whether_its_size_was_chosen():
    assert str(Chunking("sentence", 100, 10)) == "sentence (100 tokens, overlap 10)"
    assert str(Chunking("sentence")) == "sentence (as many tokens as the model reads, overlap 0)"
    assert str(Chunking("character")) == "character (up to 1000 characters, overlap 0)"
    assert str(Chunking("none")) == "none"


@pytest.mark.parametrize("by", ["token", "sentence", "recursive"])
def test_a_size_that_an_older_version_kept_though_nobody_chose_it_is_told_from_a_chosen_one(real_encoder, by):
    for encoder in (HashEncoder(), real_encoder):
        kept = splitter(encoder, Chunking(by, None, 8), "en").chunking
        assert kept.without_default(encoder.max_tokens) == Chunking(by, None, 8)
        chosen = Chunking(by, 100, 8)
        assert chosen.without_default(encoder.max_tokens) == chosen
    assert Chunking("character", 1000).without_default(512) == Chunking("character")
    assert Chunking("none").without_default(512) == Chunking("none")
