"""A request that is not done when the server stops; what the limits refuse stands in tests/app/server."""

import asyncio
import json

import pytest

from app.api.dialects import dashscope
from app.api.middleware.body_limits import BodyLimitsMiddleware
from app.api.middleware.request_record import RequestRecordMiddleware
from app.quotas.fair_share import Shares
from app.settings import LimitSettings

START = {"type": "http.response.start", "status": 200, "headers": []}


def stopped(app, *, half=True):
    """The messages and records of a request with half a body or a whole one, whose server stops while the app waits."""
    sent, records = [], []

    async def send(message):
        sent.append(message)

    async def serve():
        parts = iter([{"type": "http.request", "body": b"{}", "more_body": half}])
        began = asyncio.Event()

        async def receive():
            if part := next(parts, None):
                return part
            began.set()
            return await asyncio.Future()

        recorded = RequestRecordMiddleware(app, [records.append])
        limited = BodyLimitsMiddleware(recorded, LimitSettings(), bodies)
        chunked = [(b"transfer-encoding", b"chunked")]
        scope = {"type": "http", "method": "POST", "path": dashscope.PATH, "headers": chunked}
        task = asyncio.create_task(limited(scope, receive, send))
        await began.wait()
        task.cancel()
        await task

    bodies = Shares(2**20)
    try:
        asyncio.run(serve())
    finally:
        assert bodies.total == 0
    return sent, records


def test_a_request_whose_body_has_not_ended_when_the_server_stops_gets_503():
    async def app(scope, receive, send):
        while True:
            await receive()

    (start, body), [record] = stopped(app)
    assert (start["status"], record.status, record.problem) == (503, 503, "not-ready")
    media_type = (b"content-type", b"application/json")  # all that clients of this path read
    assert {(b"retry-after", b"5"), (b"connection", b"close"), media_type} <= set(start["headers"])
    assert json.loads(body["body"])["request_id"] == record.request_id


def test_a_refusal_does_not_wait_for_the_rest_of_the_body_when_the_server_stops():
    async def app(scope, receive, send):
        await send(START | {"status": 413})  # is sent once the body was read

    (start, _), [record] = stopped(app)
    assert (start["status"], record.status) == (503, 413)


def test_a_response_that_has_begun_is_cut_off_when_the_server_stops():
    async def app(scope, receive, send):
        await receive()
        await send(START)
        await receive()

    with pytest.raises(asyncio.CancelledError):
        stopped(app, half=False)
