"""An upload: an NDJSON stream of documents on its way into a collection, batch by batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.api.dependencies import dependencies, still_allowed
from app.api.dialects.body import memory_of
from app.api.dialects.collections import SHOWN, documents_of_lines, no_documents, no_valid_document
from app.api.dialects.jobs import job_id
from app.api.exchange import counted, pay
from app.api.ndjson import Batch, batches
from app.errors import NotReady, ServiceError
from app.quotas.quotas import Cost
from retrieval.store.collection import Collection
from retrieval.store.jobs import Writing, new_key
from retrieval.store.rows import Document


@dataclass
class Upload:
    """The state of an upload. What a batch stored stays, however the stream ends."""

    request: Request
    name: str  # of the collection in its job's id
    collection: Collection
    key: str = field(default_factory=new_key)  # of its job
    is_begun: bool = False  # whether a batch was stored
    lines: int = 0  # that are done
    documents: int = 0  # in these lines, valid or not
    stored: int = 0
    changed: int = 0
    rejected: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)  # the first ones that were rejected

    @property
    def job(self) -> str:
        """The id of its job."""
        return job_id(self.name, self.key)

    async def run(self) -> None:
        """Store the stream.

        Raises:
            ServiceError: A batch could not be read, paid for or stored. It tells what came before it and is kept.
            ClientDisconnect: The client left.
        """
        try:
            async with aclosing(batches(self.request)) as stream:
                # What cannot be read counts as a request; later batches are parts of one that was counted.
                await self._take(await counted(self.request, lambda: anext(stream)))
                async for batch in stream:
                    await self._take(batch)
        except (ServiceError, ClientDisconnect) as error:
            if self.is_begun:
                await self._end_early(error)
            raise

    async def _take(self, batch: Batch) -> None:
        """Store one batch. Few do so at once: they share the memory and the threads with all other requests."""
        deps = dependencies(self.request)
        if self.is_begun:
            await still_allowed(self.request)
            if deps.engine.stops:
                raise NotReady("the service is about to stop")
        async with deps.ingestion.uploading:
            self.request.state.hold(await asyncio.to_thread(_memory, batch.lines))
            found, failed, count = await asyncio.to_thread(documents_of_lines, batch.lines, batch.first, self.documents)
            await self._pay(len(found))
            if batch.is_last and not self.stored + len(found):
                raise no_valid_document((self.failed + failed)[0]) if self.documents + count else no_documents()
            await self._write(found, Writing(self.key, len(failed), batch.is_last))
        self.is_begun = True
        self.lines += len(batch.lines)
        self.documents += count
        self.rejected += len(failed)
        self.failed += failed[: SHOWN - len(self.failed)]

    async def _pay(self, documents: int) -> None:
        if documents or not self.is_begun:
            await pay(self.request, Cost(0, documents, "embedding", requests=0 if self.is_begun else 1))

    async def _write(self, documents: Sequence[Document], job: Writing) -> None:
        ingestion = dependencies(self.request).ingestion
        changed = await ingestion.in_thread(partial(ingestion.put, self.collection, documents, job))
        self.stored += len({each.id for each in documents})
        self.changed += len(set(changed))

    async def _end_early(self, error: ServiceError | ClientDisconnect) -> None:
        """Have the job and the error say how far it came."""
        kept = f"the first {self.lines} lines are done, and {self.stored} documents of them are kept"
        reason = str(error) if isinstance(error, ServiceError) else "the client left"
        with suppress(ServiceError):  # a collection that is deleted, or takes no writes, has no job to tell
            await self._write([], Writing(self.key, error=f"{reason}; {kept}"))
        if isinstance(error, ServiceError):
            error.args = (f"{reason}; {kept}: send the later ones again, or all",)
            error.members = {"stored": self.stored, "lines": self.lines, "job": self.job}


def _memory(lines: Sequence[bytes | None]) -> int:
    """An upper bound of what the lines take once parsed, in bytes."""
    return memory_of(b"\n".join(line for line in lines if line is not None))
