"""From what one process served to how many cores and how much memory a demand takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.settings import CacheSettings
from benchmarks.report import number, table

WARM, COLD = "warm", "cold"
USE = 0.6  # of the cores: at random arrivals, the rest is what keeps the queue short
REFERENCE_DOCUMENTS = 100  # where what a document costs to read is taken from
DEFAULT_CACHE_MIB = CacheSettings().max_bytes / 2**20  # which was full in the end


@dataclass(frozen=True)
class Served:
    """What clients who always had another request ready got of one process."""

    processors: int  # that it was to compute on
    states: str  # WARM: the documents' are remembered; COLD: nobody has seen them
    documents: int  # of each request; 0: one pair of texts for POST /v1/similarity
    tokens: int  # of each document
    per_second: float  # requests
    cores: float  # that it took, on average
    client_cores: float  # that the clients took

    @property
    def core_ms(self) -> float:
        """Milliseconds of one core for one request."""
        return 1000 * self.cores / self.per_second


@dataclass(frozen=True)
class Footprint:
    """What one process held, in MiB."""

    processors: int
    idle: float
    loaded: float  # after all requests, its cache full
    document_bytes: dict[int, float]  # that the cache takes for a document, by its tokens


@dataclass(frozen=True)
class Demand:
    """What a plan is made for."""

    per_second: float  # requests at the busiest time
    documents: int
    tokens: int
    known: float  # share of the documents whose states are remembered, in [0, 1]
    remembered: int  # documents that a process must remember for that


@dataclass(frozen=True)
class Plan:
    """What a demand takes."""

    warm_ms: float  # milliseconds of a core for a request whose documents are all known
    read_ms: float  # and for each that is not
    request_ms: float
    cores: float
    processes: int
    cache_mib: float  # of each process
    memory_mib: float  # of all


def core_ms(rows: Sequence[Served], states: str, documents: int, tokens: int, processors: int) -> float:
    """A row's milliseconds of a core; ValueError where it was not measured."""
    wanted = (states, documents, tokens, processors)
    for row in rows:
        if (row.states, row.documents, row.tokens, row.processors) == wanted:
            return row.core_ms
    raise ValueError(f"not measured: {wanted}")


def plan(rows: Sequence[Served], footprint: Footprint, demand: Demand) -> Plan:
    """Cores and memory for a demand, of processes like the one that left this footprint."""
    processors, tokens = footprint.processors, demand.tokens
    warm = core_ms(rows, WARM, demand.documents, tokens, processors)
    more = core_ms(rows, COLD, REFERENCE_DOCUMENTS, tokens, processors)
    read = (more - core_ms(rows, WARM, REFERENCE_DOCUMENTS, tokens, processors)) / REFERENCE_DOCUMENTS
    request = warm + (1 - demand.known) * demand.documents * read
    cores = demand.per_second * request / 1000 / USE
    processes = math.ceil(cores / processors)
    cache = demand.remembered * footprint.document_bytes[tokens] / 2**20
    return Plan(
        warm, read, request, cores, processes, cache, processes * (footprint.loaded - DEFAULT_CACHE_MIB + cache)
    )


def report(rows: Sequence[Served], footprints: Sequence[Footprint], demand: Demand) -> str:
    """The tables, the formula and the demand worked out, as markdown."""
    parts = [_served(rows, footprint.processors) for footprint in footprints]
    parts += [_memory(footprints), _formula(), _example(rows, footprints[-1], demand)]
    return "\n\n".join(parts)


def _served(rows: Sequence[Served], processors: int) -> str:
    """One process's requests a second and their cost."""
    mine = [row for row in rows if row.processors == processors]
    columns = list(dict.fromkeys((row.states, row.tokens) for row in mine))
    cells = {(row.documents, row.states, row.tokens): row for row in mine}
    lines = []
    for documents in dict.fromkeys(row.documents for row in mine):
        found = [cells.get((documents, *column)) for column in columns]
        told = (f"{number(row.per_second)} / {number(row.core_ms)}" if row else "" for row in found)
        lines.append((str(documents) if documents else "one pair, /v1/similarity", *told))
    headings = ("documents", *(f"{states}, {tokens} tokens" for states, tokens in columns))
    most = max(row.client_cores for row in mine)
    return (
        f"### One process, `QRERANK_ENGINE__PROCESSORS={processors}`: requests a second / ms of a core for each\n\n"
        f"{table(headings, lines)}\n\n"
        f"It took {_span([row.cores for row in mine])} cores; the clients beside it up to {number(most)}."
    )


def _memory(footprints: Sequence[Footprint]) -> str:
    sizes = list(footprints[0].document_bytes)
    headings = (
        "processors",
        "idle, MiB",
        "after this load, MiB",
        *(f"a remembered document of {tokens} tokens, KiB" for tokens in sizes),
    )
    lines = [
        (
            str(each.processors),
            number(each.idle),
            number(each.loaded),
            *(number(each.document_bytes[tokens] / 1024) for tokens in sizes),
        )
        for each in footprints
    ]
    return f"### Memory of one process\n\n{table(headings, lines)}"


def _formula() -> str:
    return (
        "### Formula\n\n"
        "```\n"
        "request_ms = warm_ms + (1 - known) x documents x read_ms\n"
        f"read_ms    = (cold_ms - warm_ms) / {REFERENCE_DOCUMENTS}, at {REFERENCE_DOCUMENTS} documents\n"
        f"cores      = requests a second x request_ms / 1000 / {USE}\n"
        "processes  = cores / processors of each, rounded up\n"
        "cache      = documents to remember x bytes of each, QRERANK_CACHE__MAX_BYTES of each process\n"
        f"memory     = processes x (MiB after load - {DEFAULT_CACHE_MIB:g} + cache)\n"
        "```"
    )


def _example(rows: Sequence[Served], footprint: Footprint, demand: Demand) -> str:
    found = plan(rows, footprint, demand)
    return (
        f"Worked example, by the command from the rows above: {demand.per_second:g} requests a second with "
        f"{demand.documents} documents of {demand.tokens} tokens, {100 * demand.known:.0f} % of them known as each "
        f"process remembers {demand.remembered}; processes of {footprint.processors} processors. "
        f"warm_ms = {number(found.warm_ms)} and read_ms = {number(found.read_ms)}, so request_ms = "
        f"{number(found.request_ms)}: **{number(found.cores)} cores, {found.processes} processes, a cache of "
        f"{number(found.cache_mib)} MiB each, {number(found.memory_mib / 1024)} GiB in all**. So that "
        f"one may be lost, run one more, of {number(found.memory_mib / found.processes / 1024)} GiB."
    )


def _span(values: Sequence[float]) -> str:
    return f"{number(min(values))} to {number(max(values))}"
