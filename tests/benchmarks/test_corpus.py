import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer

from benchmarks.corpus import SPECIAL_TOKENS, Passages, open_passages
from retrieval.encoder import weights

UNKNOWN = "[UNK]"
VOCABULARY = {UNKNOWN: 0, "a": 1, "b": 2, "long": 3, "##er": 4, ".": 5}


@pytest.fixture
def tokenizer():
    made = Tokenizer(WordPiece(VOCABULARY, unk_token=UNKNOWN))
    made.pre_tokenizer = BertPreTokenizer()
    return made


def test_passages_follow_each_other_in_the_text(tokenizer):
    passages = Passages("a b. b a. a a.", tokenizer)
    assert passages.take(3, 3 + SPECIAL_TOKENS) == ("a b.", "b a.", "a a.")


def test_no_word_is_cut(tokenizer):
    # The second passage would start within "longer", and so starts after it.
    passages = Passages("a longer b a b", tokenizer)
    assert passages.take(2, 2 + SPECIAL_TOKENS) == ("a", "b")


def test_the_text_is_walked_again_from_later_and_no_passage_comes_twice(tokenizer):
    text = " ".join(f"{'a ' * (i % 7)}{'b ' * (i % 5)}." for i in range(100))
    taken = Passages(text, tokenizer).take(50, 20 + SPECIAL_TOKENS)
    assert len(set(taken)) == 50


def test_a_text_that_holds_too_few_is_an_error(tokenizer):
    with pytest.raises(ValueError, match="no further passage"):
        Passages("a b a b", tokenizer).take(9, 2 + SPECIAL_TOKENS)


def test_passages_of_the_demo_text_have_the_tokens_asked_for():
    source = weights.find(weights.DEFAULT_MODEL)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tasks = open_passages().tasks(2, 20, 216)
    texts = [text for task in tasks for text in task.documents]
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]
    assert len(set(texts)) == 40
    assert 206 <= min(lengths) <= max(lengths) == 216
