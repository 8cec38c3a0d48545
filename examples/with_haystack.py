"""A Haystack pipeline: BM25 finds passages, the service ranks them.

    pip install haystack-ai huggingface-api-haystack
    python examples/with_haystack.py

QRERANK_URL is where the service is, QRERANK_API_KEY one of its keys; a service without keys takes any.
"""

import os

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import Secret
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

QUESTION = "How many days do I have to return shoes?"
PASSAGES = [
    "Standard delivery takes three to five working days; express orders arrive the next day.",
    "Boots come up half a size large. Measure your foot and compare it with the size chart.",
    "You can return unworn shoes free of charge within 30 days of delivery.",
    "Refunds are paid to the card you used, a week after the parcel reaches our warehouse.",
    "Clean leather boots with a damp cloth and wax them twice a year.",
]
URL = os.environ.get("QRERANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("QRERANK_API_KEY", "any")

store = InMemoryDocumentStore()
store.write_documents([Document(content=text) for text in PASSAGES])
pipeline = Pipeline()
pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=100))
pipeline.add_component("ranker", HuggingFaceTEIRanker(url=URL, token=Secret.from_token(KEY), top_k=3))
pipeline.connect("retriever", "ranker")
answer = pipeline.run({"retriever": {"query": QUESTION}, "ranker": {"query": QUESTION}})
for document in answer["ranker"]["documents"]:
    print(f"{document.score:.2f}  {document.content}")
