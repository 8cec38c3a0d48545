"""Rerank passages with the Cohere SDK.

    pip install cohere
    python examples/with_cohere.py

QRERANK_URL is where the service is, QRERANK_API_KEY one of its keys; a service without keys takes any.
"""

import os

import cohere

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

client = cohere.ClientV2(api_key=KEY, base_url=URL)
answer = client.rerank(model="quantum-rerank", query=QUESTION, documents=PASSAGES, top_n=3)
for row in answer.results:
    print(f"{row.relevance_score:.2f}  {PASSAGES[row.index]}")
