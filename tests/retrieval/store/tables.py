"""The tables of one database, and a stand-in for the indexer."""

from pathlib import Path

from retrieval.store.connection import Connection
from retrieval.store.documents import Documents
from retrieval.store.segment_table import SegmentTable


class Tables:
    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.connection = Connection(folder, create=create)
        self.documents, self.segments = Documents(self.connection), SegmentTable(self.connection)

    def index(self, most: int) -> None:
        """Each waiting document becomes one passage."""
        waiting = self.documents.waiting(most)
        if waiting:
            self.segments.add(waiting, range(len(waiting)), self.segments.next_number())
