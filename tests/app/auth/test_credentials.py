import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.credentials import presented

KEY = "a-long-enough-secret"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        {"authorization": KEY},
        {"x-api-key": KEY},
        {"api-key": f" {KEY}"},
        {"authorization": basic(f"user:{KEY}")},
        {"authorization": basic(f"{KEY}:")},
        {"authorization": basic(KEY)},
        {"authorization": "Bearer another", "x-api-key": KEY},
    ],
)
def test_a_key_is_found_wherever_clients_put_it(headers):
    assert KEY in presented(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": f"Digest {KEY}"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic /w=="},
        {"authorization": basic(":")},
        {"x-api-key": ""},
        {"x-api-key": KEY + "x"},
        {"x-api-key": KEY[:-1]},
    ],
)
def test_other_values_are_not_keys(headers):
    assert KEY not in presented(headers)


@given(st.dictionaries(st.sampled_from(["authorization", "x-api-key", "api-key"]), st.text(max_size=40)))
def test_any_headers_are_accepted(headers):
    credentials = presented(headers)
    assert len(credentials) <= 4
    assert all(isinstance(key, str) and key for key in credentials)
