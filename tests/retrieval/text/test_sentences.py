from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.text.sentences import VISIBLE, sentences

PROSE = st.lists(st.sampled_from(["owl", "Dusk", ".", "!", "?", "…", "。", "」", '"', ")", " ", "\n", "\u2003", "3.5"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("An owl hunts. It sings!  Does it? Yes…", ["An owl hunts.", "It sings!", "Does it?", "Yes…"]),
        ("It costs 3.5 dollars at example.com.", ["It costs 3.5 dollars at example.com."]),
        ('He said "no." (Twice!) And left...', ['He said "no."', "(Twice!)", "And left..."]),
        ("Title\n\n- one\r\n- two", ["Title", "- one", "- two"]),
        ("你好。世界！「再见。」吗？", ["你好。", "世界！", "「再见。」", "吗？"]),
        ('उल्लू रात में उड़ता है\u0964 "हाँ\u0964" श्लोक\u0965', ["उल्लू रात में उड़ता है\u0964", '"हाँ\u0964"', "श्लोक\u0965"]),
        ("هل يغني\u061f نعم. ہے\u06d4 رات", ["هل يغني\u061f", "نعم.", "ہے\u06d4", "رات"]),
        ("Բուն է\u0589 ጉጉት ነው\u1362 ሌሊት ነው\u1367", ["Բուն է\u0589", "ጉጉት ነው\u1362", "ሌሊት ነው\u1367"]),
        ("ငှက်\u104bည\u104b សត្វ\u17d4យប់", ["ငှက်\u104b", "ည\u104b", "សត្វ\u17d4", "យប់"]),
        ("  no end  ", ["no end"]),
        ("Dr. Smith leads it. He is old.", ["Dr. Smith leads it.", "He is old."]),
        ("U.S. troops left in 2021. They went.", ["U.S. troops left in 2021.", "They went."]),
        ("J. R. R. Tolkien wrote. So did I.", ["J. R. R. Tolkien wrote.", "So did I."]),
        ("See (Fig. 3) and No. 5. I said no. Yes.", ["See (Fig. 3) and No. 5.", "I said no.", "Yes."]),
        (
            "1. Download it. 2. Run it. 100. It was 15. Then.",
            ["1. Download it.", "2. Run it.", "100.", "It was 15.", "Then."],
        ),
        ("Das ist z. B. gut, d.h. fertig. Ja.", ["Das ist z. B. gut, d.h. fertig.", "Ja."]),
        ("Wait ... what? At 5 p.m. in it. Yes", ["Wait ... what?", "At 5 p.m. in it.", "Yes"]),
        ("„Komm mit!“ Dann ging er. »Komm.« Er", ["„Komm mit!“", "Dann ging er.", "»Komm.«", "Er"]),
        ("« Viens ! » Puis il part. »Und«", ["« Viens ! »", "Puis il part.", "»Und«"]),
        ("**Bold.** It is so.[1][2] Then.", ["**Bold.**", "It is so.[1][2]", "Then."]),
        ("no capitals. an owl. it sings, e.g. now.", ["no capitals.", "an owl.", "it sings, e.g. now."]),
        ("A list.\nand more. \n dr.\nSmith", ["A list.", "and more.", "dr.", "Smith"]),
        ("", []),
        (" \n\t\u2028 ", []),
    ],
)
def test_sentences_end_where_readers_see_them_end(text, expected):
    assert [text[start:end] for start, end in sentences(text)] == expected


@given(PROSE.map("".join) | st.text())
def test_sentences_are_the_text_but_for_white_space_between_them(text):
    found = sentences(text)
    assert [text[start:end] for start, end in found] == [text[start:end].strip() for start, end in found]
    assert all(start < end for start, end in found)
    bounds = [0, *(at for span in found for at in span), len(text)]
    assert bounds == sorted(bounds)
    assert "".join("".join(text[start:end] for start, end in found).split()) == "".join(text.split())


@given(
    st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Zs"])),
    st.characters(categories=["L", "M", "N", "P", "S"]),
)
def test_a_text_is_blank_until_it_holds_something_to_read(unseen, seen):
    assert not VISIBLE.search(unseen)
    assert VISIBLE.search(unseen + seen + unseen)


def test_white_space_is_blank():
    assert not VISIBLE.search("".join(char for char in map(chr, range(0x110000)) if char.isspace()))


def test_what_unicode_says_is_unseen_is_blank_and_nothing_else_is():
    unseen = {"Cc", "Cf", "Zl", "Zp", "Zs"}
    everything = [chr(code) for code in range(0x110000)]
    assert VISIBLE.findall("".join(everything)) == [each for each in everything if category(each) not in unseen]
