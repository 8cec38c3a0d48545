"""The search of ChromaDB, in an environment of its own: `make large` runs it.

usage: chroma_peer.py FOLDER, which holds vectors.npy (n, D) and queries.npy (m, D), rows of length 1. It prints JSON:
seconds to index, the milliseconds of each search, the places that each one finds, bytes on disk and of memory.
"""

import json
import resource
import time
from pathlib import Path

import chromadb
import numpy as np
import typer

CANDIDATES, AT_ONCE = 100, 5000


def main(folder: Path) -> None:
    """Index the vectors, ask the queries one after the other, and print what it took."""
    vectors, queries = np.load(folder / "vectors.npy"), np.load(folder / "queries.npy")
    client = chromadb.PersistentClient(str(folder / "chroma"))
    collection = client.create_collection("passages", configuration={"hnsw": {"space": "cosine"}})
    begun = time.perf_counter()
    for start in range(0, len(vectors), AT_ONCE):
        some = vectors[start : start + AT_ONCE]
        collection.add(ids=[str(start + at) for at in range(len(some))], embeddings=some)
    seconds, ms, found = time.perf_counter() - begun, [], []
    for query in queries:
        begun = time.perf_counter()
        ids = collection.query(query_embeddings=[query], n_results=CANDIDATES, include=[])["ids"][0]
        ms.append(1e3 * (time.perf_counter() - begun))
        found.append([int(i) for i in ids])
    size = sum(path.stat().st_size for path in (folder / "chroma").rglob("*") if path.is_file())
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "ms": ms, "found": found, "bytes": size, "memory": memory}))


if __name__ == "__main__":
    typer.run(main)
