"""The reranking pipeline, usable as a library: `from app.ranking import Reranker`."""
