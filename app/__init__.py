"""The reranking service: HTTP, the pipeline and the command line."""
