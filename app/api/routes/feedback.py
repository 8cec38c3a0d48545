"""Feedback: what users say of rankings, and the weights that are learned from it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.dependencies import dependencies, origin_of
from app.api.dialects.body import fields_of, validate
from app.api.dialects.feedback import (
    FeedbackBody,
    FeedbackResponse,
    ForgottenResponse,
    StandingsResponse,
    respond_standings,
)
from app.api.exchange import as_json, check_parameters, paid
from app.api.openapi import content, example, reference
from app.api.problems import problems
from app.auth import audit
from app.auth.usage import who
from app.errors import InvalidRequest, UnknownRequest
from app.identity import TIERS
from app.ranking.hybrid import RANKERS
from app.settings import NAME_RULE, is_collection_name

if TYPE_CHECKING:
    from app.feedback.feedback import Feedback  # for types only: SQLAlchemy takes memory

_MAX_BYTES = 2**20
_PATH = "/v1/feedback"

router = APIRouter(tags=["feedback"])
admin_router = APIRouter(tags=["feedback"])

MODELS: tuple[type[BaseModel], ...] = (FeedbackBody, FeedbackResponse, StandingsResponse, ForgottenResponse)


def _responses(response: type[BaseModel], *errors: int) -> dict[int | str, dict[str, Any]]:
    return problems(*errors) | {HTTPStatus.OK.value: {"description": response.__doc__, **content(reference(response))}}


def _feedback(request: Request) -> Feedback:
    feedback = dependencies(request).feedback
    if feedback is None:
        raise UnknownRequest("feedback is off, so no ranking can be judged: set QRERANK_FEEDBACK__ENABLED=true")
    return feedback


@router.post(
    _PATH,
    summary="Judge a ranking",
    responses=_responses(FeedbackResponse, 400, 401, 403, 404, 408, 413, 422, 429, 503),
    openapi_extra={
        "requestBody": {"required": True, **content(reference(FeedbackBody), {"example": example(FeedbackBody)})}
    },
)
async def judge(request: Request) -> Response:
    """Say which documents of a ranking were relevant, clicked, or not relevant.

    `hybrid` learns from it how much each ranker counts, for each collection and tier of keys. The key must be the one
    that the ranking was made with. Each document counts once.
    """
    feedback = _feedback(request)
    body = await paid(request, lambda raw: validate(FeedbackBody, fields_of(raw)), most_bytes=_MAX_BYTES)
    judgements = body.all_judgements()
    accepted = await feedback.judge(who(request.state.identity), body.request_id, judgements)
    return as_json(
        {
            "object": "feedback",
            "request_id": body.request_id,
            "accepted": accepted,
            "repeated": len(judgements) - accepted,
        }
    )


@admin_router.get(_PATH, summary="What was learned", responses=_responses(StandingsResponse, 401, 403, 404, 503))
async def standings(request: Request) -> Response:
    """The weights of the rankers that were learned, by collection and tier of keys."""
    found = await _feedback(request).standings()
    return as_json(
        respond_standings(
            found, dependencies(request).engine.ready_models().default.fusion.text.values()[: len(RANKERS)]
        )
    )


_OF = [
    {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
    for name, text in (
        ("collection", "Only of this collection; empty: only of documents that came with requests. Absent: of all."),
        ("key_group", "Only of this tier. Absent: of all."),
    )
]


@admin_router.delete(
    _PATH,
    summary="Forget what was learned",
    responses=_responses(ForgottenResponse, 401, 403, 404, 422, 503),
    openapi_extra={"parameters": _OF},
)
async def forget(request: Request) -> Response:
    """Rank as without feedback again. What was judged is not counted anew."""
    feedback, asked = _feedback(request), request.query_params
    check_parameters(request, "collection", "key_group")
    collection, key_group = asked.get("collection"), asked.get("key_group")
    if collection and not is_collection_name(collection):
        raise InvalidRequest(f"collection: a name {NAME_RULE}", ("collection",))
    if key_group not in {None, *TIERS}:
        raise InvalidRequest(f"key_group: must be one of {', '.join(TIERS)}", ("key_group",))
    callers = await feedback.forget(collection, key_group)
    about = {"collection": collection, "key_group": key_group, "callers": callers}
    by, origin = request.state.identity.name, origin_of(request)
    audit.record("feedback.forgotten", by=by, origin=origin, result="done", about=about)
    return as_json({"object": "feedback.forgotten", "callers": callers})
