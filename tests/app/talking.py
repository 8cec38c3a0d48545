"""A WebSocket client."""

import json
from contextlib import contextmanager
from functools import partial

from websockets.sync import client as websockets

from tests.waiting import PATIENT_S

DOCUMENTS = [f"{i} an owl " + "song " * (i % 7) for i in range(150)]
ASKED = {"type": "rerank", "query": "owl song", "documents": DOCUMENTS, "deadline_ms": 0}
SMALL = {"type": "rerank", "query": "owl", "documents": ["an owl", "market prices"]}


# Who does not read sees no pong. By default such a connection is closed after 40 s, which a busy machine takes.
connect = partial(websockets.connect, open_timeout=PATIENT_S, ping_interval=None)


class Client:
    """Sends and receives JSON frames."""

    def __init__(self, connection):
        self.connection = connection

    def send(self, frame):
        self.connection.send(json.dumps(frame))

    def receive(self):
        return json.loads(self.connection.recv(timeout=PATIENT_S))

    def until(self, request_id, *kinds):
        """The frames up to the first of these kinds with this id."""
        frames = [self.receive()]
        while not (frames[-1]["type"] in kinds and frames[-1]["id"] == request_id):
            frames.append(self.receive())
        return frames

    def ask(self, frame):
        """Send a request; its last frame."""
        self.send(frame)
        return self.until(frame["id"], "final", "error")[-1]


@contextmanager
def talking(port, **options):
    """A client of the server on this port; closed at the end of the block."""
    with connect(f"ws://127.0.0.1:{port}/v1/ws", **options) as connection:
        yield Client(connection)
