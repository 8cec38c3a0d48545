"""Detection, stems and frequencies of languages."""

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import Stemmer

from retrieval.errors import DataError
from retrieval.text import languages
from retrieval.text.languages import AUTO, NONE, STEMMERS, check_language, detect, frequencies, known_languages, terms
from retrieval.text.words import words_of

SENTENCES = {
    "en": "The nightingale sings at night, and many people have heard its song in the forest.",
    "de": "Die Nachtigall singt in der Nacht, und viele Menschen haben ihr Lied im Wald gehört.",
    "fr": "Le rossignol chante la nuit, et beaucoup de gens ont entendu son chant dans la forêt.",
    "es": "El ruiseñor canta por la noche, y mucha gente ha oído su canto en el bosque.",
    "it": "L'usignolo canta di notte, e molte persone hanno sentito il suo canto nella foresta.",
    "pt": "O rouxinol canta à noite, e muitas pessoas já ouviram o seu canto na floresta.",
    "nl": "De nachtegaal zingt 's nachts, en veel mensen hebben zijn lied in het bos gehoord.",
    "sv": "Näktergalen sjunger på natten, och många människor har hört dess sång i skogen.",
    "pl": "Słowik śpiewa w nocy i wielu ludzi słyszało jego śpiew w lesie.",
    "cs": "Slavík zpívá v noci a mnoho lidí slyšelo jeho píseň v lese.",
    "ru": "Соловей поёт ночью, и многие люди слышали его песню в лесу.",
    "uk": "Соловей співає вночі, і багато людей чули його пісню в лісі.",
    "el": "Το αηδόνι τραγουδάει τη νύχτα και πολλοί άνθρωποι έχουν ακούσει το τραγούδι του.",
    "tr": "Bülbül geceleri öter ve birçok insan onun şarkısını ormanda duymuştur.",
    "hu": "A fülemüle éjszaka énekel, és sok ember hallotta már a dalát az erdőben.",
    "fi": "Satakieli laulaa yöllä, ja monet ihmiset ovat kuulleet sen laulun metsässä.",
    "ar": "يغني العندليب في الليل وقد سمع كثير من الناس أغنيته في الغابة",
    "he": "הזמיר שר בלילה ואנשים רבים שמעו את שירו ביער",
    "fa": "بلبل در شب می خواند و بسیاری از مردم آواز او را در جنگل شنیده اند",
    "hi": "बुलबुल रात में गाती है और बहुत से लोगों ने जंगल में उसका गाना सुना है",
    "ja": "ナイチンゲールは夜に歌い、多くの人が森でその歌を聞いたことがある。",
    "zh": "夜莺在晚上唱歌，很多人在森林里听过它的歌声。",
    "ko": "나이팅게일은 밤에 노래하고 많은 사람들이 숲에서 그 노래를 들었다.",
    "id": "Burung bulbul bernyanyi di malam hari dan banyak orang telah mendengar lagunya di hutan.",
    "vi": "Chim sơn ca hót vào ban đêm và nhiều người đã nghe tiếng hót của nó trong rừng.",
}


def plain(text: str) -> np.ndarray:
    return terms(words_of(text), NONE)


@pytest.mark.parametrize(("language", "text"), SENTENCES.items(), ids=SENTENCES)
def test_a_sentence_shows_its_language(language, text):
    assert detect(plain(text)) == language


@pytest.mark.parametrize("text", ["", "?!", "CVE-2021-44228", "la", "ภาษาไทยง่ายมาก", "xyzzy plugh", "👋🏽"])
def test_without_a_winner_there_is_no_language(text):
    assert detect(plain(text)) == NONE


def test_the_first_words_decide():
    assert detect(plain(SENTENCES["de"] + " " + SENTENCES["fr"] * 100)) != NONE
    long = plain(SENTENCES["de"] * 200)[:1000]
    assert detect(np.concatenate([long, plain(SENTENCES["fr"] * 500)])) == "de"


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [("en", "singing", "sings"), ("de", "Häuser", "Haus"), ("fr", "chanteuses", "chanteuse"), ("ru", "песни", "песню")],
)
def test_words_of_one_stem_are_one_term(language, one, other):
    words = words_of(f"{one} {other}")
    assert len(set(terms(words, language).tolist())) == 1
    assert len(set(terms(words, NONE).tolist())) == 2


@pytest.mark.parametrize("language", ["zh", "th", "xx", NONE])
def test_other_languages_leave_words_as_they_are(language):
    words = ["singing", "東京"]
    np.testing.assert_array_equal(terms(words, language), terms(words, NONE))


def test_every_algorithm_is_one_of_pystemmers():
    assert set(STEMMERS.values()) <= set(Stemmer.algorithms())
    for language in STEMMERS:
        assert terms(["word"], language).shape == (1,)


def test_common_words_are_frequent_and_unknown_ones_rare():
    the, bird, nightingale, unknown = frequencies(terms(["the", "bird", "nightingale", "qqxqzz"], NONE), "en")
    assert the > 0.03 > bird > 1e-5 > nightingale >= unknown > 0
    np.testing.assert_allclose(frequencies(terms(["the"], NONE), "xx"), unknown)
    assert frequencies(terms([], NONE), "en").shape == (0,)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "another"])
def test_a_damaged_file_of_frequencies_says_what_to_do(tmp_path, monkeypatch, damage):
    path, content = tmp_path / "frequencies.npz", bytearray(languages.FILE.read_bytes())
    if damage == "flipped":
        content[len(content) // 2 :: 4096] = bytes(len(content[len(content) // 2 :: 4096]))
    elif damage == "another":
        np.savez(path, numbers=np.arange(3))
        content = bytearray(path.read_bytes())
    if damage != "missing":
        path.write_bytes(content[: {"empty": 0, "cut": len(content) // 2}.get(damage, len(content))])
    monkeypatch.setattr(languages, "FILE", path)
    with pytest.raises(DataError, match=r"frequencies.npz is missing or damaged .* install quantum-rerank again"):
        languages._frequencies.__wrapped__()


def test_a_word_is_as_frequent_as_its_stem():
    sing, sings = frequencies(terms(["sing", "sings"], NONE), "en")
    assert sing == sings


def test_english_and_at_least_twenty_other_languages_have_frequencies_in_three_megabytes():
    assert len(languages._frequencies().codes) >= 21
    assert set(SENTENCES) <= set(languages._frequencies().codes)
    assert languages.FILE.stat().st_size <= 3 * 2**20


def test_languages_of_requests():
    for language in (AUTO, NONE, *known_languages()):
        assert check_language(language) == language
    for wrong in ("", "xx", "english", "EN", "de-DE"):
        with pytest.raises(ValueError, match=r"auto, none or the code of a known language: ar, bg, .* zh"):
            check_language(wrong)


def test_threads_agree():
    words = [f"relation{i} running{i} foxes".split()[i % 3] for i in range(600)]
    with ThreadPoolExecutor(4) as pool:
        assert len({each.tobytes() for each in pool.map(lambda _: terms(words, "en"), range(16))}) == 1


def test_long_words_are_neither_stemmed_nor_cached():
    languages._cached_term.cache_clear()
    word = "nightingale" * 5 + "warblings"
    short, long = terms([word, word + "s"], "en")
    assert short == terms([word[:-4]], NONE)[0]
    assert long == terms([word + "s"], NONE)[0]
    assert languages._cached_term.cache_info().currsize == 1


@pytest.mark.slow
def test_cached_terms_of_all_threads_together_take_some_megabytes():
    alphabet = "𐐨𐐩𐐪𐐫"  # four bytes each; distinct words of the maximal length

    def work() -> None:
        for number in range(languages._STEMS + 100):
            word = "".join(alphabet[number >> 2 * digit & 3] for digit in range(9)) + alphabet[0] * 55
            languages._cached_term(word, "en")

    languages._cached_term.cache_clear()
    gc.collect()
    tracemalloc.start()
    ThreadPoolExecutor(1).submit(work).result()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert languages._cached_term.cache_info().currsize == languages._STEMS
    assert peak < 40 * 2**20
    languages._cached_term.cache_clear()
