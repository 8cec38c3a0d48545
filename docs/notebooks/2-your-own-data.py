# %% [markdown]
# # Notebook 2: your own data
#
# Evaluate on your own documents, fit the parameters to them, choose a threshold, serve. The documents here are
# Python's language reference; put your own `corpus.jsonl` in their place.

# %%
import json
from pathlib import Path

from retrieval.text.demo import demo_passages

data = Path("reference")
(data / "qrels").mkdir(parents=True)
first = {passage.title: passage for passage in demo_passages() if passage.id.endswith("-1") and passage.title}
passages = list(first.values())
with (data / "corpus.jsonl").open("w") as file:
    for passage in passages:
        file.write(json.dumps({"_id": passage.id, "text": passage.text}) + "\n")
print(len(passages), "documents; one of them:", passages[0].title)

# %% [markdown]
# ## Judgements
#
# Best are real queries of your users, judged by people: a line in `queries.jsonl` each, and what is relevant in
# `qrels/test.tsv`. For a start, the title of each document is a query that this document answers; titles are
# not in the documents here. (`qrerank evaluate --known-item title` makes such queries by itself.)

# %%
with (data / "queries.jsonl").open("w") as queries, (data / "qrels" / "test.tsv").open("w") as qrels:
    qrels.write("query-id\tcorpus-id\tscore\n")
    for number, passage in enumerate(passages):
        queries.write(json.dumps({"_id": f"q{number}", "text": passage.title}) + "\n")
        qrels.write(f"q{number}\t{passage.id}\t1\n")

# %% [markdown]
# ## Evaluate
#
# Every method on the same candidates, with p-values of a paired test.

# %% language="bash"
# qrerank evaluate reference --candidates 50 --no-times --json evaluated.json

# %%
result = json.loads(Path("evaluated.json").read_text())
for method, scores in result["methods"].items():
    print(f"{method:10} nDCG@10 {scores['ndcg@10']:.3f}")

# %% [markdown]
# ## Fit
#
# `fit` looks for weights, smoothing and bandwidth that are better on queries that they were not fitted on, and
# fits the scores' calibration. What is not significantly better stays as it is.

# %% language="bash"
# qrerank fit reference --queries 60 --output parameters.json

# %% [markdown]
# ## A threshold
#
# 20 to 50 pairs, judged yes or no: from which score on are nine of ten pairs relevant?

# %%
with Path("pairs.jsonl").open("w") as file:
    for number in range(24):
        query, own, other = passages[number].title, passages[number], passages[-1 - number]
        for passage, is_relevant in ((own, True), (other, False)):
            file.write(json.dumps({"query": query, "document": passage.text, "relevant": is_relevant}) + "\n")

# %% language="bash"
# QRERANK_PARAMETERS=parameters.json qrerank threshold pairs.jsonl --precision 0.9 --json | tee threshold.json

# %% [markdown]
# ## Serve
#
# A collection of these documents, the parameters and the threshold.

# %% language="bash"
# qrerank index build reference reference/corpus.jsonl --json

# %%
import os
import subprocess
import time

import httpx

threshold = json.loads(Path("threshold.json").read_text())["score"]
settings = {"QRERANK_MIN_SCORE": str(round(threshold, 3)), "QRERANK_DEFAULT_COLLECTION": "reference"}
command = ["qrerank", "serve", "--port", "8766", "--parameters", "parameters.json"]
server = subprocess.Popen(command, env=os.environ | settings, stderr=subprocess.DEVNULL)
client = httpx.Client(base_url="http://127.0.0.1:8766", timeout=60)


def is_ready():
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


while not is_ready():
    time.sleep(0.2)
for query in ("how do I repeat something for every item of a list", "the capital of Mongolia"):
    answer = client.post("/rerank", json={"query": query, "top_n": 3, "deadline_ms": 0}).json()
    print(query, "- answerable:", answer["meta"]["answerable"])
    for row in answer["results"]:
        print(f"   {row['relevance_score']:.2f}  {row['document']['id']}: {row['document']['text'][:70]!r}")

# %%
server.terminate()
print("exit status", server.wait())
