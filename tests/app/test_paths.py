import pytest

from app.paths import canonical


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("/rerank", "/rerank"),
        ("//rerank", "/rerank"),
        ("/v1//rerank/", "/v1/rerank"),
        ("/v1/v1/rerank", "/v1/rerank"),
        ("/v1/v2/rerank", "/v2/rerank"),
        ("//v1///v1//rerank//", "/v1/rerank"),
        ("/v1/models/v1/x", "/v1/models/v1/x"),
        ("/v1/v1x", "/v1/v1x"),
        ("/", "/"),
        ("///", "/"),
        ("", "/"),
    ],
)
def test_slips_are_mended(sent, meant):
    assert canonical(sent) == meant
    assert canonical(meant) == meant
