"""Assertions for error responses."""


def problem(response, status: int, detail: str, media_type: str = "application/problem+json") -> None:
    """Assert that the response is a problem with this status and text in its detail, and contains no document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == media_type
    body = response.json()
    assert body["status"] == status
    listed = isinstance(body["detail"], list)
    text = body["detail"][0]["msg"] if listed else body["detail"]
    assert detail in text
    assert text == body["message"] == body["error"]
    assert body["error_type"]
    assert body["code"] == body["error_type"]
    assert not listed or status == 422
    assert body["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text
