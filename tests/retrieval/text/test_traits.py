"""What is known of a text without reading it: equal texts have equal digests, others do not, whatever they hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.text.traits import TRAITS, symbol_share, traits_of

ANY = st.text(st.characters(), max_size=20)  # with lone surrogates


@given(st.lists(ANY, max_size=10))
def test_digests_are_equal_where_texts_are(texts):
    traits = traits_of(texts)
    assert traits.dtype == TRAITS
    np.testing.assert_array_equal(traits["characters"], list(map(len, texts)))
    for one, digest in zip(texts, traits["digest"], strict=True):
        np.testing.assert_array_equal(traits["digest"] == digest, [one == other for other in texts])


@given(ANY)
def test_a_share_lies_between_0_and_1_but_for_an_empty_text(text):
    share = symbol_share(text)
    assert np.isnan(share) if not text else 0 <= share <= 1


@pytest.mark.parametrize(
    ("text", "share"), [("abcd", 0), ("(a)=", 0.75), ("é(", 1 / 3), ("a" * 1000 + "((((", 0), ("()" * 999, 1)]
)
def test_symbols_are_counted_at_the_beginning_in_bytes(text, share):
    assert symbol_share(text) == pytest.approx(share)
