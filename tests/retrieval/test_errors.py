"""All errors of the package derive from RetrievalError."""

import pytest

from retrieval.errors import CollectionError, DataError, EncodingError, ModelError, RetrievalError


@pytest.mark.parametrize("kind", [ModelError, CollectionError, DataError, EncodingError])
def test_every_error_is_a_retrieval_error_and_no_programming_error(kind: type[Exception]) -> None:
    assert issubclass(kind, RetrievalError)
    assert not issubclass(kind, ValueError | OSError)
    assert str(kind("build it again")) == "build it again"
