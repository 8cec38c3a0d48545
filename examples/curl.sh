#!/bin/sh
# Rerank passages with nothing but curl; the answer is JSON.
#
# QRERANK_URL is where the service is, QRERANK_API_KEY one of its keys; a service without keys takes any.
curl --silent --show-error --fail-with-body "${QRERANK_URL:-http://127.0.0.1:8000}/rerank" \
  --header "Authorization: Bearer ${QRERANK_API_KEY:-any}" --header "Content-Type: application/json" \
  --data '{
    "query": "How many days do I have to return shoes?",
    "documents": [
      "Standard delivery takes three to five working days; express orders arrive the next day.",
      "Boots come up half a size large. Measure your foot and compare it with the size chart.",
      "You can return unworn shoes free of charge within 30 days of delivery.",
      "Refunds are paid to the card you used, a week after the parcel reaches our warehouse.",
      "Clean leather boots with a damp cloth and wax them twice a year."
    ],
    "top_n": 3,
    "return_documents": true
  }'
