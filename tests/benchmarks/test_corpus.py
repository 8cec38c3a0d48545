import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer

from benchmarks.corpus import SPECIAL_TOKENS, Passages


@pytest.fixture
def tokenizer():
    made = Tokenizer(WordPiece({"[UNK]": 0, "a": 1, "b": 2, "long": 3, "##er": 4, ".": 5}, unk_token="[UNK]"))  # noqa: S106 - no password
    made.pre_tokenizer = BertPreTokenizer()
    return made


def test_passages_follow_each_other_and_cut_no_word(tokenizer):
    assert Passages("a b. b a. a a.", tokenizer).take(3, 3 + SPECIAL_TOKENS) == ("a b.", "b a.", "a a.")
    # The second passage would start within "longer", and so starts after it.
    assert Passages("a longer b a b", tokenizer).take(2, 2 + SPECIAL_TOKENS) == ("a", "b")


def test_no_passage_comes_twice(tokenizer):
    text = " ".join(f"{'a ' * (i % 7)}{'b ' * (i % 5)}." for i in range(100))
    assert len(set(Passages(text, tokenizer).take(50, 20 + SPECIAL_TOKENS))) == 50
    with pytest.raises(ValueError, match="no further passage"):
        Passages("a b a b", tokenizer).take(9, 2 + SPECIAL_TOKENS)
