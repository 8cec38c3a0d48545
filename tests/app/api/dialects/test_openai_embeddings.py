"""Bodies and responses of the embeddings route."""

from base64 import b64decode

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.api.dialects.body import validate
from app.api.dialects.openai_embeddings import EmbeddingsBody, EmbeddingsResponse, respond
from app.errors import InvalidRequest
from app.service.embeddings import Embeddings


@pytest.mark.parametrize(
    ("sent", "texts"), [("owl", ["owl"]), (["owl"], ["owl"]), (["owl", ""], ["owl", ""]), ("", [""])]
)
def test_one_text_or_several(sent, texts):
    assert validate(EmbeddingsBody, {"input": sent}).input == texts


def test_nulls_and_unknown_fields_are_accepted():
    fields = ("encoding_format", "dimensions", "input_type", "model", "user")
    body = validate(EmbeddingsBody, {"input": "owl", "priority": 7} | dict.fromkeys(fields))
    assert body == EmbeddingsBody(input=["owl"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": []}, "input: must be a text, or a list of at least one"),
        ({"input": None}, "input: must be a text"),
        ({"input": {"text": "secret"}}, "input: must be a text"),
        ({"input": [15339, 1917]}, "check_embedding_ctx_length=False"),
        ({"input": [[15339], [1917]]}, "check_embedding_ctx_length=False"),
        ({"input": ["secret", 3]}, "input: entry 1 is not text"),
        ({"input": ["secret", None]}, "input: entry 1 is not text"),
        ({"input": [[]]}, "input: entry 0 is not text"),
        ({"input": [["secret"]]}, "input: entry 0 is not text"),
        ({"encoding_format": "int8"}, "'float' or 'base64'"),
        ({"input_type": "passage"}, "'query' or 'document'"),
        ({"dimensions": 0}, "dimensions: "),
    ],
)
def test_an_invalid_field_is_named_without_its_value(change, message):
    with pytest.raises(InvalidRequest, match=message) as caught:
        validate(EmbeddingsBody, {"input": "secret"} | change)
    assert "secret" not in str(caught.value)


def test_input_is_required():
    with pytest.raises(InvalidRequest, match="input: is required"):
        validate(EmbeddingsBody, {"model": "m"})


rows = arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 5)), elements=st.floats(-1, 1, width=32))


@given(rows)
def test_both_encodings_are_lossless(vectors):
    sent = {}
    for encoding in ("float", "base64", None):
        body = validate(EmbeddingsBody, {"input": "owl", "encoding_format": encoding})
        answer = orjson.loads(
            orjson.dumps(respond(Embeddings(vectors, 7), body, "m"), option=orjson.OPT_SERIALIZE_NUMPY)
        )
        EmbeddingsResponse.model_validate(answer, strict=True)
        assert [row["index"] for row in answer["data"]] == list(range(len(vectors)))
        assert answer["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
        sent[encoding] = [row["embedding"] for row in answer["data"]]
    assert np.array_equal(np.array(sent["float"], dtype=np.float32), vectors)
    assert np.array_equal([np.frombuffer(b64decode(row), "<f4") for row in sent["base64"]], vectors)
    assert sent[None] == sent["float"]
