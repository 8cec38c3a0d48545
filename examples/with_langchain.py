"""Compress what a LangChain retriever found to the passages that answer the question.

    pip install langchain-cohere
    python examples/with_langchain.py

QRERANK_URL is where the service is, QRERANK_API_KEY one of its keys; a service without keys takes any.
"""

import os

from langchain_cohere import CohereRerank
from langchain_core.documents import Document

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

found = [Document(text, metadata={"source": f"help/{number}"}) for number, text in enumerate(PASSAGES)]
reranker = CohereRerank(model="quantum-rerank", base_url=URL, cohere_api_key=KEY, top_n=3)
for document in reranker.compress_documents(found, QUESTION):
    print(f"{document.metadata['relevance_score']:.2f}  {document.page_content}  ({document.metadata['source']})")
