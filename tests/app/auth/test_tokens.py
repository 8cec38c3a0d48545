"""Tokens: valid ones, and known attacks."""

import asyncio
import base64
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from app.auth.settings import TokenSettings
from app.auth.store import Grant, Refusal
from app.auth.tokens import Tokens
from app.errors import KeysUnavailable
from app.identity import Identity
from tests.app.auth.issuer import EC, OTHER_RSA, RSA, SHARED, WEAK_RSA, jwks, public, token

DAY_S = 86_400  # longer than the tests run: parameters are computed before the first test


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(public(RSA, "rsa"), public(EC, "ec")))
    return path


def check(credential, **settings):
    return asyncio.run(Tokens(TokenSettings(**settings), asyncio.to_thread).check(credential))


def encoded(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "rsa"), (RSA, "RS256", None), (EC, "ES256", "ec"), (EC, "ES256", None), (SHARED, "HS256", None)],
)
def test_each_algorithm_is_taken_with_its_own_key(file, key, algorithm, kid):
    end = int(time.time()) + 60
    result = check(token(key, algorithm, kid, exp=end), jwks_file=file, secret=SHARED, leeway_s=5)
    assert result == Grant(Identity("token:owl", "user", "standard"), end + 5)


def test_role_and_tier_are_the_tokens_if_known(file):
    result = check(token(role="admin", tier="premium"), jwks_file=file)
    assert result.identity == Identity("token:owl", "admin", "premium")
    result = check(token(scope="read-only", plan="public"), jwks_file=file, role_claim="scope", tier_claim="plan")
    assert result.identity == Identity("token:owl", "read-only", "public")
    result = check(token(), jwks_file=file, role="read-only", tier="unlimited")
    assert result.identity == Identity("token:owl", "read-only", "unlimited")


@pytest.mark.parametrize(
    ("claims", "collections", "can_write"),
    [
        ({}, None, True),
        ({"read_only": False}, None, True),
        ({"read_only": True}, None, False),
        ({"collections": []}, (), True),
        ({"collections": ""}, (), True),
        ({"collections": "birds team-a-*"}, ("birds", "team-a-*"), True),
        ({"collections": ["a"] * 64, "read_only": True}, ("a",) * 64, False),
    ],
)
def test_claims_limit_to_collections_and_to_reading(file, claims, collections, can_write):
    identity = check(token(**claims), jwks_file=file).identity
    assert (identity.collections, identity.can_write) == (collections, can_write)


def test_a_claim_that_is_null_opens_nothing(file):
    nothing = jwt.encode({"sub": "owl", "exp": time.time() + 60, "collections": None}, SHARED, "HS256")
    assert "`collections`" in check(nothing, secret=SHARED).reason


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"exp": time.time() - 100}, "expired"),
        ({"exp": None}, "`exp`"),
        ({"exp": "soon"}, "not valid"),
        ({"sub": None}, "`sub`"),
        ({"sub": ""}, "`sub`"),
        ({"sub": "a\nb"}, "`sub`"),
        ({"sub": "x" * 129}, "`sub`"),
        ({"sub": 7}, "not valid"),
        ({"nbf": time.time() + DAY_S}, "not valid yet"),
        ({"iat": time.time() + DAY_S}, "not valid yet"),
        ({"role": "root"}, "`role` is none of read-only"),
        ({"role": ["admin"]}, "`role`"),
        ({"tier": "gold"}, "`tier` is none of public"),
        ({"tier": {}}, "`tier`"),
        ({"aud": "elsewhere"}, "another service"),
        ({"collections": None, "read_only": "yes"}, "`read_only` is neither"),
        ({"collections": 7}, "`collections` is not a list"),
        ({"collections": {"a": 1}}, "`collections` is not a list"),
        ({"collections": ["a", 7]}, "`collections` is not a list"),
        ({"collections": ["a*b"]}, "`collections` is not a list"),
        ({"collections": ["a"] * 65}, "`collections` is not a list of up to 64"),
        ({"role": "admin", "collections": ["*"]}, "administrator"),
        ({"role": "admin", "read_only": True}, "administrator"),
    ],
)
def test_claims_that_do_not_do_are_said(file, claims, message):
    refused = check(token(**claims), jwks_file=file)
    assert isinstance(refused, Refusal)
    assert message in refused.reason


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"iss": "https://issuer", "aud": "us"}, None),
        ({"iss": "https://issuer", "aud": ["others", "us"]}, None),
        ({"iss": "https://other", "aud": "us"}, "issuer"),
        ({"aud": "us"}, "`iss`"),
        ({"iss": "https://issuer", "aud": "them"}, "audience"),
        ({"iss": "https://issuer"}, "`aud`"),
    ],
)
def test_issuer_and_audience_are_checked_where_they_are_set(file, claims, message):
    result = check(token(**claims), jwks_file=file, issuer="https://issuer", audience="us")
    assert isinstance(result, Grant) if message is None else message in result.reason


def test_the_leeway_is_kept(file):
    late = token(exp=time.time() - 30)
    assert isinstance(check(late, jwks_file=file, leeway_s=60), Grant)
    assert isinstance(check(late, jwks_file=file, leeway_s=0), Refusal)


def test_the_public_key_is_not_a_shared_secret(file):
    """Algorithm confusion: the public key as the shared secret of HS256, in every usual encoding."""
    key = RSA.public_key()
    forms = [
        key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        json.dumps(public(RSA, "rsa")).encode(),
        file.read_bytes(),
    ]
    signing = jwt.PyJWS()
    signing.get_algorithm_by_name("HS256").prepare_key = lambda secret: secret  # PyJWT refuses to sign with these
    for form in forms:
        claims = json.dumps({"sub": "owl", "exp": time.time() + 60, "role": "admin"}).encode()
        forged = signing.encode(claims, form, "HS256", {"kid": "rsa"})
        for settings in ({}, {"secret": SHARED}):
            assert isinstance(check(forged, jwks_file=file, **settings), Refusal)


def test_unsigned_tokens_are_refused(file):
    claims = {"sub": "owl", "exp": time.time() + 60}
    for algorithm in ("none", "None", "NONE", "", None, ["RS256"], {"a": 1}, 7, "HS512", "RS384", "PS256", "EdDSA"):
        for signature in ("", "x", token().rpartition(".")[2]):
            forged = f"{encoded({'alg': algorithm, 'kid': 'rsa'})}.{encoded(claims)}.{signature}"
            assert isinstance(check(forged, jwks_file=file, secret=SHARED), Refusal)
    assert isinstance(check(jwt.encode(claims, None, "none"), jwks_file=file, secret=SHARED), Refusal)


def test_algorithms_that_are_not_configured_are_refused(file):
    for key, algorithm in ((RSA, "RS256"), (EC, "ES256"), (SHARED, "HS256")):
        others = [other for other in ("RS256", "ES256", "HS256") if other != algorithm]
        credential = token(key, algorithm)
        assert isinstance(check(credential, jwks_file=file, secret=SHARED, algorithms=others), Refusal)
        assert isinstance(check(credential, jwks_file=file, secret=SHARED, algorithms=[algorithm]), Grant)
    assert isinstance(check(token(SHARED, "HS256"), jwks_file=file), Refusal)
    assert isinstance(check(token(), secret=SHARED), Refusal)


@pytest.mark.filterwarnings("ignore:The RSA key is 1024")
@pytest.mark.parametrize("key", [OTHER_RSA, WEAK_RSA])
@pytest.mark.parametrize("kid", [None, "rsa", "unknown"])
def test_keys_of_others_sign_nothing(file, key, kid):
    assert isinstance(check(token(key, kid=kid), jwks_file=file), Refusal)


def test_a_kid_chooses_among_keys_and_without_one_all_are_tried(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(public(OTHER_RSA, "other"), public(RSA, "rsa")))
    assert isinstance(check(token(kid="rsa"), jwks_file=path), Grant)
    assert isinstance(check(token(), jwks_file=path), Grant)
    assert isinstance(check(token(kid="other"), jwks_file=path), Refusal)


@pytest.mark.parametrize("change", [lambda t: t[:-4] + "AAAA", lambda t: t + "x", lambda t: t[1:], lambda t: t.upper()])
def test_a_token_that_was_touched_is_refused(file, change):
    assert isinstance(check(change(token()), jwks_file=file), Refusal)


def test_claims_of_another_token_are_refused(file):
    head, _, signature = token().split(".")
    claims = encoded({"sub": "owl", "exp": time.time() + 60, "role": "admin"})
    assert isinstance(check(f"{head}.{claims}.{signature}", jwks_file=file), Refusal)


def test_headers_that_must_be_understood_are_not_passed_over(file):
    claims = {"sub": "owl", "exp": time.time() + 60}
    for headers in ({"crit": ["exp"], "exp": 1}, {"b64": False}, {"b64": False, "crit": ["b64"]}):
        try:
            credential = jwt.encode(claims, RSA, "RS256", headers)
        except jwt.PyJWTError:
            continue
        assert isinstance(check(credential, jwks_file=file), Refusal)


def test_a_token_of_unreasonable_length_is_not_read(file):
    assert isinstance(check(token(sub="owl", more="x" * 20_000), jwks_file=file), Refusal)


@given(st.one_of(st.text(), st.lists(st.binary(max_size=40), min_size=3, max_size=3)))
def test_any_text_is_rejected_without_an_error(credential):
    if isinstance(credential, list):
        credential = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in credential)
    assert isinstance(check(credential, secret=SHARED), Refusal)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "crit", "typ", "b64"]), st.sampled_from([None, "HS256", 1, [], {}]))
)
def test_any_header_is_survived(header):
    claims = encoded({"sub": "owl", "exp": time.time() + 60})
    assert isinstance(check(f"{encoded(header)}.{claims}.AAAA", secret=SHARED), Refusal)


@pytest.mark.parametrize("exp", [1e400, -1e400, 1e308])
def test_numbers_beyond_reason_are_survived(exp):
    claims = f'{{"sub": "owl", "exp": {exp}}}'.replace("inf", "1e400").encode()
    signed = jwt.PyJWS().encode(claims, SHARED, "HS256")
    assert isinstance(check(signed, secret=SHARED), Grant | Refusal)


def test_without_the_issuers_keys_no_token_is_called_invalid(tmp_path):
    with pytest.raises(KeysUnavailable) as lost:
        check(token(), jwks_file=tmp_path / "none")
    assert "No such file" in lost.value.reason
