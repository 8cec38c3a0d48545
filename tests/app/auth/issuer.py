"""A token issuer: its keys, its tokens, and a server for its public keys."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

SHARED = "a-shared-text-of-at-least-thirty-two-bytes"
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
WEAK_RSA = rsa.generate_private_key(65537, 1024)  # noqa: S505 - must be rejected
EC = ec.generate_private_key(ec.SECP256R1())


def public(key: Any, kid: str | None = None, **members: object) -> dict[str, Any]:
    """The public key as a JWK."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    own = {"kid": kid} if kid else {}
    return algorithm.to_jwk(key.public_key(), as_dict=True) | own | members


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = None, **claims: object) -> str:
    """A signed token; a claim that is None is left out."""
    claims = {"sub": "owl", "exp": time.time() + 86_400} | claims
    own = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(own, key, algorithm, {"kid": kid} if kid else None)


class Served:
    """The response of a server, and the number and headers of its requests."""

    def __init__(self) -> None:
        self.status, self.text, self.requests, self.url = 200, b"", 0, ""
        self.headers: dict[str, str] = {}
        self.told: dict[str, str] = {}  # headers of the last request


@contextmanager
def serve() -> Iterator[Served]:
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests += 1
            served.told = dict(self.headers)
            self.send_response(served.status)
            for name, value in served.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(served.text)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}/keys"
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
