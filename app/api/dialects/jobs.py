"""Responses about jobs of collections, and the ids by which clients ask for them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.api.dialects.keys import moment
from retrieval.store.jobs import Job, Status


class JobResponse(BaseModel):
    """Work that goes on after its request was answered."""

    object: Literal["job"]
    id: str
    collection: str
    kind: str = Field(
        description="documents: they are stored and indexed; compact: segments are merged into one; "
        "encode: documents are encoded with another model."
    )
    status: Status = Field(description="done: none of its documents waits. failed: it ended early; see `error`.")
    total: int = Field(description="Steps: the documents that are stored so far.")
    done: int = Field(description="Steps that are done: the documents that are searchable, or encoded.")
    stored: int = Field(description="Documents that are on the disk, the unchanged ones among them.")
    changed: int = Field(
        description="Documents whose content is new or changed, or that the model could not encode before."
    )
    rejected: int = Field(description="Documents that were not taken.")
    failed: int = Field(description="Documents that are kept, and that the model cannot encode.")
    created_at: str
    seconds_left: float | None = Field(description="An estimate by the speed so far. null: not known, or it is over.")
    error: str | None = Field(description="Why it failed; of one that is running: why it waits.")


class JobListResponse(BaseModel):
    """Jobs, the newest first."""

    object: Literal["list"]
    data: list[JobResponse]


def describe_job(name: str, job: Job) -> dict[str, Any]:
    """A `JobResponse`. name: of the collection, as it was asked for."""
    lost = "it was not finished: the server that received it ended" if job.status == "failed" else None
    return {
        "object": "job",
        "id": job_id(name, job.key),
        "collection": name,
        "kind": job.kind,
        "status": job.status,
        "total": job.total,
        "done": job.done,
        "stored": job.stored,
        "changed": job.changed,
        "rejected": job.rejected,
        "failed": job.failed,
        "created_at": moment(job.created_at),
        "seconds_left": None if job.seconds_left is None else round(job.seconds_left, 1),
        "error": job.error or lost or job.hindrance,
    }


def job_id(name: str, key: str) -> str:
    """The id of a job, which leads to its collection."""
    return f"{name}.{key}"
