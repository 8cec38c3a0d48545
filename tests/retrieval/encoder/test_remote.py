"""The remote encoder against the real application behind a proxy that fails on demand."""

import json
import logging
import math
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.ranking import Reranker
from retrieval.deadline import Deadline
from retrieval.encoder.batching import SharedEncoder
from retrieval.encoder.embeddings_client import Endpoint
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.jobs import Interrupted
from retrieval.encoder.remote import Reach, connect
from retrieval.errors import EncoderUnavailable, EncodingError, ModelError
from retrieval.states.cache import StateCache
from retrieval.states.record import TextState, from_bytes, to_bytes
from retrieval.states.source import StateSource
from retrieval.text.bm25 import NO_TERMS
from tests.embeddings_peer import at_most, connected, drop, edit, poison, serving_peer, status, truncate
from tests.processes import holds_in_fork
from tests.waiting import PATIENT_S, eventually

TEXTS = [
    "the nightingale sings after dusk",
    "an owl",
    "",
    "stock prices fell sharply on Monday, said the bank",
    "an owl",
]


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    with serving_peer(tmp_path_factory.mktemp("peer"), {"hash": HashEncoder()}) as proxy:
        yield proxy


@pytest.fixture
def proxy(peer):
    peer.reset()
    yield peer
    peer.reset()


@pytest.fixture
def remote(proxy, tmp_path):
    encoder, pauses = connected(proxy, tmp_path)
    proxy.sent.clear()
    encoder.pauses = pauses
    yield encoder
    encoder.breaker.close()


def same(encoded, texts):
    """Whether these are the vectors that the server has for the texts."""
    np.testing.assert_allclose(encoded.pooled, HashEncoder().encode(texts).pooled, atol=1e-6)
    return True


def test_a_text_has_one_vector_and_it_is_the_servers(remote, proxy):
    states = remote.encode(TEXTS)
    assert same(states, TEXTS)
    assert np.diff(states.offsets).tolist() == [1] * 5
    np.testing.assert_allclose(states.token_rows(), states.pooled, atol=0.01)
    assert (remote.granularity, remote.pooled_dimension, remote.token_dimension) == ("document", 64, 64)
    assert proxy.sizes == [5]
    assert proxy.sent[0]["input"][2] == " ", "servers refuse empty texts"


def test_states_can_be_stored(remote):
    state = TextState(remote.encode(["word " * 200]).take([0]), NO_TERMS)
    assert from_bytes(to_bytes(state), 64, 64).encoded.lengths.tolist() == [200]


def test_tokens_are_estimated_and_long_texts_cut_where_they_say(proxy, tmp_path):
    encoder, _ = connected(proxy, tmp_path, max_tokens=10, prompts={"query": "find: ", "document": ""})
    assert encoder.max_tokens == 8, "two are the prompt's"
    (eight, nine) = encoder.tokenize(["night owls hunt " + "a " * 4, "night owls hunt " + "a " * 6])
    assert (eight.ids.size, nine.ids.size, nine.text) == (8, 8, "night owls hunt a a a a")
    assert [len(spans) for spans in encoder.token_spans(["night owls, 夜鳥", ""])] == [6, 0]
    assert encoder.tokenize(["owl"], "query")[0].text == "find: owl"


def test_what_was_read_with_another_limit_is_not_taken_for_the_whole_text(proxy, tmp_path):
    """Replicas share states, and one that was started with a greater limit must read more of the same text."""
    cache, text = StateCache(10**6), "night owls hunt " * 5
    for limit, tokens in ((10, 10), (64, 20)):
        encoder, _ = connected(proxy, tmp_path, max_tokens=limit)
        source = StateSource(encoder, cache)
        assert source.cached([text]) == [None]
        source.encode([text], [NO_TERMS], math.inf, Deadline())
        assert source.cached([text])[0].encoded.lengths.tolist() == [tokens]


def test_ranking_is_as_with_the_model_at_hand(tmp_path, real_encoder, monkeypatch):
    monkeypatch.setattr(Reranker, "warm_up", lambda _: None)  # of the server, whose speed does not matter
    documents = [
        "an owl hunts mice",
        "the nightingale sings after dusk",
        "stock prices fell",
        "birds of the night sing",
    ]
    with serving_peer(tmp_path / "peer", {"all-MiniLM-L6-v2": real_encoder}) as server:
        encoder, _ = connected(server, tmp_path, "all-MiniLM-L6-v2")
        there, here = Reranker(encoder), Reranker(real_encoder)
        for query in ("which bird sings at night", "what do owls eat", "how are markets"):
            found, expected = (each.rerank(query, documents, method="classical") for each in (there, here))
            np.testing.assert_allclose(found.rankers["classical"], expected.rankers["classical"], atol=1e-5)
            assert found.order.tolist() == expected.order.tolist()
        ranking = there.rerank("which bird sings at night", documents, method="quantum")
        assert ranking.order[0] in {1, 3}
        assert ranking.tokens_read.tolist() == [5, 9, 5, 7], "estimated"
        with pytest.raises(ValueError, match="one vector for a whole text"):
            there.relevant_spans("which bird sings", documents)
        encoder.breaker.close()


def test_connections_are_kept_and_no_more_than_allowed_are_used(remote, proxy):
    before = proxy.connections
    texts = [f"text {i}" for i in range(40 * 32)]
    assert same(remote.encode(texts), texts)
    assert proxy.connections - before <= 4
    assert proxy.sizes == [32] * 40


def test_forked_processes_have_connections_of_their_own(remote, proxy):
    """Two on one connection would read each other's answers."""
    remote.encode(["an owl song"])
    before = proxy.connections
    assert holds_in_fork(lambda: remote.encode(["an owl song"]))
    assert proxy.connections > before


def test_what_may_pass_is_tried_again_after_growing_pauses(remote, proxy):
    proxy.next.extend([drop, status(503), truncate])
    assert same(remote.encode(TEXTS), TEXTS)
    assert len(remote.pauses) == 3
    assert all(least <= pause <= least + 0.1 for least, pause in zip((0.1, 0.2, 0.4), remote.pauses, strict=True))


def test_pauses_grow_to_five_seconds_and_no_further(remote, proxy):
    proxy.always = status(503)
    with pytest.raises(EncoderUnavailable):
        remote._client.embed(["owl"], 64, tries=9)
    least = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    assert all(at <= pause <= at + 0.1 for at, pause in zip(least, remote.pauses, strict=True))


def test_after_four_tries_it_is_given_up(remote, proxy):
    proxy.always = status(502)
    with pytest.raises(EncoderUnavailable, match="it answered 502"):
        remote.encode(TEXTS)
    assert (len(proxy.sent), len(remote.pauses)) == (4, 3)


def test_the_pause_that_the_server_wants_is_made(remote, proxy):
    proxy.next.append(status(429, Retry_After="3"))
    assert same(remote.encode(TEXTS), TEXTS)
    assert remote.pauses == [3]


@pytest.mark.parametrize("odd", ["not a number", "Fri, 31 Dec 99999 23:59:59 GMT", "9" * 5000])
def test_a_pause_that_nobody_can_read_is_as_none(remote, proxy, odd):
    proxy.next.append(status(429, Retry_After=odd))
    assert same(remote.encode(TEXTS), TEXTS)
    assert 0.1 <= remote.pauses[0] <= 0.2


def test_a_pause_longer_than_there_is_time_is_the_clients(remote, proxy):
    proxy.always = status(429, Retry_After="30")
    with pytest.raises(EncoderUnavailable) as error:
        remote.encode(TEXTS)
    assert (error.value.retry_after_s, remote.pauses, len(proxy.sent)) == (30, [], 1)


def test_a_server_that_does_not_answer_in_time_is_given_up(proxy, tmp_path):
    encoder, _ = connected(proxy, tmp_path, timeout_s=1)
    proxy.open.clear()
    with pytest.raises(EncoderUnavailable, match="did not answer in time"):
        encoder.encode(["owl"])
    encoder.breaker.close()


@pytest.mark.parametrize("code", [413, 422])
def test_fewer_texts_are_sent_once_the_server_refuses_so_many(remote, proxy, code):
    proxy.always = at_most(9, code)
    texts = [f"text {i}" for i in range(64)]
    assert same(remote.encode(texts), texts)
    proxy.sent.clear()
    assert same(remote.encode(texts), texts)
    assert proxy.sizes == [8] * 8
    assert remote.tokenize(["owl"])[0].padded * 8 == 512, "so a pass of many requests' texts has eight, too"


@pytest.mark.parametrize(("batch", "taken"), [(25, 13), (50, 13), (32, 16), (17, 9)])
def test_requests_shrink_no_further_than_the_server_wants(proxy, tmp_path, batch, taken):
    encoder, _ = connected(proxy, tmp_path, batch=batch)
    proxy.always = at_most(16)
    texts = [f"text {i}" for i in range(4 * batch + 5)]
    assert same(encoder.encode(texts), texts)
    proxy.sent.clear()
    encoder.encode(texts)
    assert max(proxy.sizes) == taken
    assert len(proxy.sizes) == -(-len(texts) // taken)
    encoder.breaker.close()


@pytest.mark.parametrize("code", [400, 422, 500])
def test_one_text_that_the_server_refuses_costs_the_others_nothing(remote, proxy, code):
    proxy.always = poison(code)
    texts = [f"text {i}" for i in range(7)] + ["poison"]
    shared = SharedEncoder(remote)
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(shared.encode, [t.encode() for t in part], remote.tokenize(part), 1e18, Deadline())
            for part in (texts[:7], texts[7:])
        ]
        assert all(state is not None for state in jobs[0].result(PATIENT_S))
        with pytest.raises(EncodingError, match="takes no such text"):
            jobs[1].result(PATIENT_S)
    proxy.sent.clear()
    remote.encode(texts[:7])
    assert proxy.sizes == [7], "it was not their number"
    assert remote.breaker.available


@pytest.mark.parametrize("code", [400, 500])
def test_a_server_that_refuses_every_text_is_what_fails(remote, proxy, code):
    proxy.always = status(code)
    with pytest.raises(EncoderUnavailable):
        remote.encode(["owl"])


def test_vectors_come_in_the_order_of_the_texts_and_get_length_one(remote, proxy):
    def shuffled(data):
        return [entry | {"embedding": [10 * number for number in entry["embedding"]]} for entry in reversed(data)]

    remote._client.form = "float"
    proxy.always = edit(shuffled)
    assert same(remote.encode(TEXTS), TEXTS)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda data: data[1:], EncoderUnavailable, "4 vectors for 5 texts"),
        (lambda data: [*data[1:], data[1]], EncoderUnavailable, "indices"),
        (lambda data: [entry | {"embedding": [1.0] * 63} for entry in data], EncoderUnavailable, "restart"),
        (lambda data: [entry | {"embedding": "?"} for entry in data], EncoderUnavailable, "base64"),
        (lambda data: [data[0] | {"embedding": [float("nan")] * 64}, *data[1:]], EncodingError, "non-finite"),
        (lambda data: [data[0] | {"embedding": [0] * 64}, *data[1:]], EncodingError, "zero"),
    ],
)
def test_a_wrong_answer_is_an_error_and_no_score(remote, proxy, change, error, message):
    proxy.always = edit(change)
    with pytest.raises(error, match=message):
        remote.encode(TEXTS)


def test_after_five_failures_nobody_waits_until_the_server_is_back(proxy, tmp_path, caplog):
    caplog.set_level(logging.INFO, "retrieval.circuit_breaker")
    encoder, _ = connected(proxy, tmp_path, retry_s=0.005)
    proxy.always = status(501)
    for _ in range(5):
        assert encoder.breaker.available
        with pytest.raises(EncoderUnavailable, match="it answered 501"):
            encoder.encode(["owl"])
    assert not encoder.breaker.available
    with pytest.raises(EncoderUnavailable, match="failed several times"):
        encoder.encode(["dusk"])
    assert "dusk" not in {text for sent in proxy.sent for text in sent["input"]}
    proxy.always = edit(lambda data: [entry | {"embedding": [1.0] * 64} for entry in data])
    eventually(lambda: "another model" in encoder.breaker.last_fault.text)
    assert not encoder.breaker.available, "a model in its place does not count as back"
    proxy.always = None
    eventually(lambda: encoder.breaker.available)
    assert same(encoder.encode(TEXTS), TEXTS)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    encoder.breaker.close()


def test_an_open_circuit_asks_again_after_a_minute(remote, proxy):
    proxy.always = status(501)
    for _ in range(5):
        with pytest.raises(EncoderUnavailable):
            remote.encode(["owl"])
    assert not remote.breaker.available
    assert 50 < remote.breaker.retry_after_s <= 60


@pytest.fixture
def self_signed(tmp_path):
    """The address of a server with a certificate that nobody signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    file.write_bytes(key.private_bytes(pem, *plain) + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # the client hangs up
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://localhost:{server.server_port}/v1/embeddings"
        server.shutdown()


def test_a_certificate_that_nobody_signed_is_refused_and_nothing_is_sent(self_signed, tmp_path):
    endpoint = Endpoint(self_signed, "hash", "sk-secret", 1, 10.0)
    with pytest.raises(ModelError, match=r"localhost:\d+/v1/embeddings cannot be used: its certificate is not valid"):
        connect(endpoint, Reach(32, 512, {}), tmp_path)


def test_a_request_leaves_at_its_deadline_and_what_comes_later_is_for_the_next(remote, proxy, monotonic):
    shared = SharedEncoder(remote)
    ask = ([b"owl"], remote.tokenize(["owl"]))
    proxy.open.clear()
    # It leaves after 0.01 s. On a busy machine nothing was sent by then, and it asks again.
    eventually(lambda: shared.encode(*ask, monotonic() + 0.01, Deadline()) == [None] and proxy.sent)
    proxy.open.set()
    eventually(lambda: shared.counts().pending == 0)
    assert same(shared.encode(*ask, monotonic() + 1e6, Deadline())[0], ["owl"])
    assert len(proxy.sent) == 1


def test_what_was_encoded_before_a_failure_is_not_lost(remote, proxy):
    shared = SharedEncoder(remote)
    texts = [f"text {i}" for i in range(33)]
    proxy.always = poison(501, "text 32")
    failed = []

    def gather():
        try:
            shared.encode([t.encode() for t in texts], remote.tokenize(texts), 1e18, Deadline())
        except Interrupted as error:
            failed.append(error)

    thread = threading.Thread(target=gather)
    thread.start()
    thread.join(PATIENT_S)
    assert failed[0].encoded[32] is None
    eventually(lambda: shared.counts().pending == 0)
    proxy.always = None
    proxy.sent.clear()
    missing = [t for t, state in zip(texts, failed[0].encoded, strict=True) if state is None]
    found = shared.encode([t.encode() for t in missing], remote.tokenize(missing), 1e18, Deadline())
    assert all(state is not None for state in found)
    assert proxy.sizes == [1], "the rest came while or after the request failed"


def test_the_key_goes_to_this_address_alone_and_is_nowhere_written(proxy, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    encoder, _ = connected(proxy, tmp_path, api_key="sk-secret")
    assert proxy.keys == ["Bearer sk-secret"]
    proxy.always = status(307, Location=f"http://localhost:{proxy.server.server_port}/elsewhere")
    proxy.sent.clear()
    with pytest.raises(EncoderUnavailable, match="redirects are not followed") as error:
        encoder.encode(["owl"])
    assert len(proxy.sent) == 1
    written = [caplog.text, repr(encoder._client.endpoint), repr(error.value), str(encoder.breaker.last_fault)]
    written += [path.read_text() for path in tmp_path.rglob("*.json")]
    assert not any("secret" in text for text in written)
    encoder.breaker.close()


@pytest.mark.parametrize("code", [401, 404])
def test_wrong_settings_end_the_start_and_say_so(proxy, tmp_path, code):
    proxy.always = status(code)
    with pytest.raises(ModelError, match=f"answered {code}: check the URL"):
        connected(proxy, tmp_path)


def test_a_server_without_base64_is_asked_for_floats(proxy, tmp_path):
    proxy.next.append(status(422))
    encoder, _ = connected(proxy, tmp_path)
    assert same(encoder.encode(TEXTS), TEXTS)
    assert [sent["encoding_format"] for sent in proxy.sent] == ["base64", "float", "float"]


def test_a_model_is_known_again_though_its_last_digits_differ_and_another_is_not(proxy, tmp_path, caplog):
    first = connected(proxy, tmp_path)[0]

    def shifted(by):
        vector = (first._probe + by).tolist()
        return edit(lambda data: [entry | {"embedding": vector} for entry in data])

    proxy.always = shifted(np.linspace(-1e-3, 1e-3, 64, dtype=np.float32))
    assert connected(proxy, tmp_path)[0].digest == first.digest
    proxy.always = shifted(np.linspace(-0.1, 0.1, 64, dtype=np.float32))
    other = connected(proxy, tmp_path)[0]
    assert other.digest != first.digest
    assert "another model than before" in caplog.text
    assert connected(proxy, tmp_path)[0].digest == other.digest
    proxy.always = None
    assert connected(proxy, tmp_path)[0].digest == first.digest, "it is back"
    assert connected(proxy, tmp_path, prompts={"query": "q: "})[0].digest != first.digest


def test_a_damaged_memory_is_made_anew(proxy, tmp_path):
    digest = connected(proxy, tmp_path)[0].digest
    (file,) = tmp_path.rglob("probe.json")
    file.write_text(json.dumps({"digest": 1}))
    assert connected(proxy, tmp_path)[0].digest == digest
