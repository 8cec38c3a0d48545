"""Rerank the nodes that a LlamaIndex retriever returns.

    pip install llama-index-core llama-index-postprocessor-cohere-rerank
    python examples/with_llama_index.py

QRERANK_URL is where the service is, QRERANK_API_KEY one of its keys; a service without keys takes any.
"""

import os

from llama_index.core import SummaryIndex
from llama_index.core.schema import TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank

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

retriever = SummaryIndex([TextNode(text=text) for text in PASSAGES]).as_retriever()  # or any other index
reranker = CohereRerank(model="quantum-rerank", base_url=URL, api_key=KEY, top_n=3)
for node in reranker.postprocess_nodes(retriever.retrieve(QUESTION), query_str=QUESTION):
    print(f"{node.score:.2f}  {node.text}")
