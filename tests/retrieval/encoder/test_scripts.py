"""Which scripts a vocabulary has words of."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from retrieval.encoder.scripts import scripts_of

LATIN = [f"owl{chr(97 + at // 26)}{chr(97 + at % 26)}" for at in range(100)]
CYRILLIC = [f"##со{chr(0x430 + at // 32)}{chr(0x430 + at % 32)}" for at in range(100)]
SIGNS = [chr(0x4E00 + at) for at in range(900)]
KANA = [chr(0x3042 + at) for at in range(80)] + [chr(0x30A2 + at) for at in range(80)]
ENGLISH = frozenset({"LATIN"})


def tokenizer(entries: list[str]) -> Tokenizer:
    return Tokenizer(models.WordPiece({entry: at for at, entry in enumerate(entries)}))


def test_a_script_is_read_if_its_words_are_in_the_vocabulary_and_not_its_letters_alone():
    letters = [chr(0x430 + at) for at in range(32)] + [chr(0x5D0 + at) for at in range(27)]
    assert scripts_of(tokenizer(LATIN + letters)) == ENGLISH
    assert scripts_of(tokenizer(LATIN + CYRILLIC)) == {"LATIN", "CYRILLIC"}
    assert scripts_of(tokenizer(LATIN + CYRILLIC[:-1])) == ENGLISH


def test_a_thousand_signs_are_words_and_japanese_counts_all_of_its_own():
    assert scripts_of(tokenizer(LATIN + SIGNS)) == ENGLISH
    assert scripts_of(tokenizer(LATIN + SIGNS + KANA)) == {"LATIN", "CJK"}


def test_a_vocabulary_of_bytes_is_decoded_first():
    write = pre_tokenizers.ByteLevel(add_prefix_space=False)
    entries = ["Ġ", *LATIN, *(write.pre_tokenize_str(f"со{chr(0x430 + at)}")[0][0] for at in range(32))]
    entries += [write.pre_tokenize_str(f"сова{chr(0x430 + at)}")[0][0] for at in range(32)]
    entries += [write.pre_tokenize_str(f"совы{chr(0x430 + at)}я")[0][0] for at in range(36)]
    made = Tokenizer(models.BPE({entry: at for at, entry in enumerate(dict.fromkeys(entries))}, []))
    made.decoder = decoders.ByteLevel()
    assert scripts_of(made) == {"LATIN", "CYRILLIC"}


def test_the_default_model_reads_the_latin_script(real_encoder):
    assert real_encoder.scripts == ENGLISH
