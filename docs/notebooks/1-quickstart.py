# %% [markdown]
# # Notebook 1: quickstart
#
# A server, one request, and what its answer says. The server runs on this machine; nothing is sent elsewhere.

# %%
import subprocess
import time

import httpx

server = subprocess.Popen(["qrerank", "serve", "--port", "8765"], stderr=subprocess.DEVNULL)
client = httpx.Client(base_url="http://127.0.0.1:8765", timeout=60)


def is_ready():
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


while not is_ready():
    time.sleep(0.2)
info = client.get("/info").json()
print(info["model_id"], info["model_dtype"])

# %% [markdown]
# ## One request
#
# A question and the passages that some search returned. The best passage comes first. Its score is the
# probability that it is relevant.

# %%
PASSAGES = [
    "Standard delivery takes three to five working days; express orders arrive the next day.",
    "Boots come up half a size large. Measure your foot and compare it with the size chart.",
    "You can return unworn shoes free of charge within 30 days of delivery.",
    "Refunds are paid to the card you used, a week after the parcel reaches our warehouse.",
    "Clean leather boots with a damp cloth and wax them twice a year.",
]


def rerank(query, **options):
    answer = client.post("/rerank", json={"query": query, "documents": PASSAGES, "deadline_ms": 0} | options)
    return answer.json()


answer = rerank("How long can I keep shoes before I return them?")
for row in answer["results"]:
    print(f"{row['relevance_score']:.2f}  {PASSAGES[row['index']]}")

# %% [markdown]
# ## When nothing answers
#
# Scores compare across requests, so a threshold works: nothing below `min_score` comes back, and `answerable`
# says whether anything was good enough. A language model that gets no passage cannot be misled by a wrong one.

# %%
answer = rerank("Who won the chess championship in 1972?", min_score=0.5)
print(answer["results"], "answerable:", answer["meta"]["answerable"], f"best: {answer['meta']['best']:.2f}")

# %% [markdown]
# ## Without a topic

# %%
for row in rerank("boots", exclude=["cleaning and care of leather"], top_n=3)["results"]:
    print(f"{row['relevance_score']:.2f}  {PASSAGES[row['index']]}")

# %% [markdown]
# ## Three methods
#
# `classical` is the cosine of two vectors. `quantum` compares token by token, by the fidelity of small
# simulated circuits. `hybrid` fuses both with BM25, and is the default.

# %%
print(f"{'':8}" + "".join(f"{index:>7}" for index in range(len(PASSAGES))))
row = rerank("How long can I keep shoes before I return them?", explain=True)["results"]
for ranker in row[0]["scores"]:
    values = {each["index"]: each["scores"][ranker] for each in row}
    print(f"{ranker:9}" + "".join(f"{values[index]:7.2f}" for index in range(len(PASSAGES))))

# %% [markdown]
# ## Which words met
#
# `relevant_spans` gives the sentences that match, with their place in the text.

# %%
best = rerank("How long can I keep shoes before I return them?", relevant_spans=True, top_n=1)["results"][0]
for span in best["relevant_spans"]:
    print(f"{span['score']:.2f}  {PASSAGES[best['index']][span['start'] : span['end']]}")

# %%
server.terminate()
print("exit status", server.wait())
