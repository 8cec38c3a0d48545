"""The dialects of rerank clients: each a small pure translation to one request, and from one result."""
