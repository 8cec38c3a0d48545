"""Vector indexes, inverted indexes, segments of passages on disk, and passages in Milvus."""
