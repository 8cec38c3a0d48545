"""Words in any script, identifiers, and texts that are not natural language."""

import sys
import unicodedata
from itertools import groupby, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.text import words
from retrieval.text.words import stream_safe, words_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Nightingale SINGS after dusk.", ["the", "nightingale", "sings", "after", "dusk"]),
        ("C, C++ and a T-cell", ["c", "c", "and", "a", "t", "cell", "tcell"]),
        ("Don't say it's the dog’s", ["don't", "say", "it's", "the", "dog's"]),
        ("п’ять п'ять п\u02bcять", ["п'ять"] * 3),
        ("צ׳ק צ'ק", ["צ'ק"] * 2),
        ("o‘zbek o\u02bbzbek O’zbek ‘owl’ rock ‘n’ roll", ["o'zbek"] * 3 + ["owl", "rock", "n", "roll"]),
        ("۱۴۰۲ ١٤٠٢ १४०२ ১৪০২ ๑๔๐๒ ၁၄၀၂ 𝟏402", ["1402"] * 7),
        ("İstanbul I\u0307STANBUL i\u0307stanbul istanbul İZMİR'de", ["istanbul"] * 4 + ["izmir'de"]),
        ("ﬁnding ｆｕｌｌ ЁЖ", ["finding", "full", "ёж"]),
        ("soft\u00adhyphen, zero\u200bwidth, \u202bright\u202c", ["softhyphen", "zerowidth", "right"]),
        ("हिन्दी में किताबें", ["हिन्दी", "में", "किताबें"]),
        ("مَرْحَبًا 123 עולם", ["مَرْحَبًا", "123", "עולם"]),
        ("cafe\u0301 naïve", ["café", "naïve"]),
        ("", []),
        ("?! -- \u0301\u0301", []),
        ("👨‍👩‍👧‍👦 🇩🇪 ❤️", []),
    ],
)
def test_words_of_scripts_with_spaces(text, expected):
    assert words_of(text) == words_of(text, query=True) == expected


@pytest.mark.parametrize(
    ("text", "pairs", "single"),
    [
        ("東京都", ["東京", "京都"], ["東", "京", "都"]),
        ("すしを食べる", ["すし", "しを", "を食", "食べ", "べる"], ["す", "し", "を", "食", "べ", "る"]),
        ("ｶﾀｶﾅ", ["カタ", "タカ", "カナ"], ["カ", "タ", "カ", "ナ"]),
        ("한국어", ["한국", "국어"], ["한", "국", "어"]),
        ("ง่ายมาก", ["ง่า", "าย", "ยม", "มา", "าก"], ["ง่", "า", "ย", "ม", "า", "ก"]),
        ("ລາວ", ["ລາ", "າວ"], ["ລ", "າ", "ວ"]),
        ("ខ្មែរ", ["ខ្មែ", "មែរ"], ["ខ្", "មែ", "រ"]),
        ("မြန်", ["မြန်"], ["မြ", "န်"]),
    ],
)
def test_dense_scripts_are_read_in_pairs(text, pairs, single):
    assert words_of(text) == pairs + single
    assert words_of(text, query=True) == pairs


@pytest.mark.parametrize("text", ["山", "は", "가", "ก", "é"])
def test_single_characters_stay(text):
    assert words_of(text) == words_of(text, query=True) == [text]


def test_scripts_beside_each_other():
    assert words_of("Python3で東京 API", query=True) == ["python3", "で東", "東京", "api"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("getUserName", ["getusername", "get", "user", "name"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("user_name", ["user_name", "user", "name"]),
        ("__init__", ["__init__"]),
        ("parse_Header2", ["parse_header2", "parse", "header", "2", "header2"]),
        ("os.path.join", ["os", "path", "join", "os.path.join"]),
        ("src/main.c", ["src", "main", "c", "src/main.c"]),
        (r"C:\Users\x", ["c", "users", "x", r"c:\users\x"]),
        ("std::vector", ["std", "vector", "std::vector"]),
        ("v1.2.3", ["v1", "2", "3", "v1.2.3"]),
        ("größe_max", ["größe_max", "größe", "max"]),
        ("the end. Next", ["the", "end", "next"]),
        ("iPhone", ["iphone", "i", "phone"]),
        ("HELLO World", ["hello", "world"]),
    ],
)
def test_identifiers_give_their_parts_beside_the_whole(text, parts):
    assert words_of(text) == parts


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("wifi", "free Wi-Fi"),
        ("E-Mail", "an email"),
        ("covid19", "COVID\u201119"),
        ("2023-05-12", "invoice of 2023-05-12"),
        ("1000", "1,000 euros"),
        ("1’000", "1.000 Euro"),
        ("5 kg", "5kg"),
        ("16GB", "16 gb"),
        ("sha256", "sha256_hash(x)"),
        ("sha256", "getSha256Sum"),
        ("utf8", "utf8_decode"),
        ("oauth2", "oauth2_token"),
        ("می خواهم", "می\u200cخواهم"),
        ("دانش\u200cآموز", "دانش آموز"),
        ("Пушкин", "Алекса\u0301ндр Пу\u0301шкин"),
        ("lego", "LEGO™"),
        ("theory", "theory¹ of relativity²"),
        ("CO2", "CO₂"),
        ("½", "2½ cups"),
    ],
)
def test_what_is_spelled_in_two_ways_meets(query, document):
    asked = words_of(query, query=True)
    assert {*asked[-2:]} & {*words_of(document)}
    assert {*asked} & {*words_of(document)} == {*words_of(document, query=True)} & {*words_of(query)}


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("21", "2½ cups"),
        ("2023-05-12", "invoice of 2023-12-05"),
        ("stateoftheart", "state-of-the-art"),
        ("1234", "1,23,4"),
        ("3", "h3g"),
    ],
)
def test_what_is_something_else_does_not(query, document):
    assert words_of(query, query=True)[-1] not in words_of(document)


def test_only_compounds_give_parts_and_each_word_comes_once_however_lines_end():
    assert words_of("سلام\nمی\u200cخواهم\tسلام\u00a0من") == ["سلام", "میخواهم", "سلام", "من", "می", "خواهم"]
    assert words_of("क\u094d\u200cष") == ["क\u094dष"]  # there it draws letters, and parts nothing


def test_a_decimal_is_no_grouped_number():
    assert words_of("p = 0.001 of 1.000") == ["p", "0", "001", "of", "1", "000", "0.001", "1.000", "1000"]


def test_letters_with_marks_of_their_own_keep_them():
    assert words_of("й ѓ ё м²") == ["й", "ѓ", "ё", "м2"]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())), st.booleans())
def test_any_text_has_lower_case_words_without_gaps(text, query):
    found = words_of(text, query=query)
    assert all(word and not any(character.isspace() for character in word) for word in found)
    assert words_of(text, query=query) == found
    assert bool(found) or not any(character.isascii() and character.isalnum() for character in text)


@given(st.text(st.sampled_from("東京都かな漢字ab 가")), st.text(st.sampled_from("東京都かな漢字가"), min_size=1))
def test_a_query_of_a_dense_script_is_found_wherever_it_stands(around, query):
    document = set(words_of(around + query + around))
    assert set(words_of(query, query=True)) <= document


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10**6,
        "aA" * 10**5,
        "a_" * 10**5,
        "a." * 10**5,
        "東" * 10**5,
        "é" * 10**6,
        "\u0301" * 10**6,
        "a\u0301" * 10**5,
    ],
    ids=lambda text: text[:2],
)
def test_words_of_repetitive_texts_take_about_the_memory_of_the_text(text):
    found = words_of(text)
    assert sum(map(len, found)) <= 4 * len(text)


def test_very_long_words_are_whole():
    word = "aB" * 33
    assert words_of(word) == [word.lower()]
    assert len(words_of("aB" * 32)) > 1


MARK = st.sampled_from("\u0301\u0316\u0334\u0345\u0344\u0f73\u0f75\u0f81\u0f71\uff9e\uff9f\u3099\u05b0\U0001d165")
OTHER = st.sampled_from("eaがﾊ가각ᄀ9 ﬁ\u034f\u200d\ufdfa") | st.characters()
SHORT_RUNS = st.lists(st.tuples(OTHER, st.lists(MARK, max_size=30).map("".join)).map("".join)).map("".join)
LONG_RUNS = st.lists(st.tuples(OTHER, st.lists(MARK, max_size=80).map("".join)).map("".join)).map("".join)


def non_starters(text: str) -> list[bool]:
    """For each character, whether its full decomposition begins with a non-starter, as the standard defines it."""
    return [unicodedata.combining(unicodedata.normalize("NFKD", one)[0]) > 0 for one in text]


def longest_run(text: str) -> int:
    return max((len(list(run)) for marks, run in groupby(non_starters(text)) if marks), default=0)


def test_every_character_that_normalising_may_move_is_known():
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert words._REORDERABLE.tolist() == non_starters(everything)


@given(SHORT_RUNS.filter(lambda text: longest_run(text) <= 30))
def test_text_without_long_runs_of_marks_stays_as_it_is(text):
    assert stream_safe(text) == text


@given(LONG_RUNS)
def test_of_a_long_run_of_marks_the_first_thirty_are_kept(text):
    runs = groupby(zip(text, non_starters(text), strict=True), lambda pair: pair[1])
    kept = "".join(one for marks, run in runs for one, _ in islice(run, 30 if marks else None))
    assert stream_safe(text) == kept
    decomposed = [unicodedata.combining(one) > 0 for one in unicodedata.normalize("NFKD", kept)]
    assert max((len(list(run)) for marks, run in groupby(decomposed) if marks), default=0) <= 2 * 30 + 3


def test_one_character_may_become_many_but_a_page_of_them_no_book():
    assert len(words_of("\ufdfa")) == 4
    assert sum(map(len, words_of("\ufdfa" * 5000))) <= 4 * 5000
