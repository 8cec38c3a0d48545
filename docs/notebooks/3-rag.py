# %% [markdown]
# # Notebook 3: RAG with LangChain and LlamaIndex
#
# Both have a reranker for Cohere's API, which this service speaks: give it the service's address. It needs
# `langchain-cohere`, `llama-index-core` and `llama-index-postprocessor-cohere-rerank`.
#
# There is no language model in this notebook, since there is none on the machine that runs it. What a model
# would be given is printed, and `answer` is where yours goes.

# %%
import subprocess
import time

import httpx

server = subprocess.Popen(["qrerank", "serve", "--port", "8767", "--demo"], stderr=subprocess.DEVNULL)
client = httpx.Client(base_url="http://127.0.0.1:8767", timeout=60)


def is_ready():
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


while not is_ready():
    time.sleep(0.2)

# %% [markdown]
# ## Retrieve from a collection, as LangChain's retriever
#
# The collection `demo` holds Python's language reference. A retriever of ten lines asks the service for candidates.

# %%
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever


class Collection(BaseRetriever):
    """Passages of a collection, retrieved and reranked by the service."""

    name: str
    top_n: int = 20
    min_score: float = 0.0

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:  # noqa: ARG002
        body = {"query": query, "top_n": self.top_n, "min_score": self.min_score, "deadline_ms": 0}
        rows = client.post(f"/v1/collections/{self.name}/search", json=body).json()["results"]
        return [
            Document(row["document"]["text"], metadata={"id": row["document"]["id"], "score": row["relevance_score"]})
            for row in rows
        ]


for document in Collection(name="demo", top_n=3).invoke("how do I repeat something for every item of a list"):
    print(f"{document.metadata['score']:.2f}  {document.metadata['id']}: {document.page_content[:60]!r}")

# %% [markdown]
# ## Rerank what another retriever found, with LangChain's own class

# %%
from langchain_cohere import CohereRerank

PASSAGES = [
    "Standard delivery takes three to five working days; express orders arrive the next day.",
    "Boots come up half a size large. Measure your foot and compare it with the size chart.",
    "You can return unworn shoes free of charge within 30 days of delivery.",
    "Refunds are paid to the card you used, a week after the parcel reaches our warehouse.",
    "Clean leather boots with a damp cloth and wax them twice a year.",
]
QUESTION = "How many days do I have to return shoes?"
found = [Document(text, metadata={"source": f"help/{number}"}) for number, text in enumerate(PASSAGES)]
reranker = CohereRerank(model="any", base_url="http://127.0.0.1:8767", cohere_api_key="any", top_n=2)
best = reranker.compress_documents(found, QUESTION)
for document in best:
    print(f"{document.metadata['relevance_score']:.2f}  {document.page_content}")

# %% [markdown]
# ## From passages to an answer

# %%
from langchain_core.prompts import ChatPromptTemplate

prompt = ChatPromptTemplate.from_template(
    "Answer from these passages alone, or say that they do not answer it.\n\n{passages}\n\nQuestion: {question}"
)
context = "\n".join(f"- {document.page_content}" for document in best)
print(prompt.invoke({"passages": context, "question": QUESTION}).to_string())


def answer(question):
    """The chain: put `| YourChatModel()` after the prompt."""
    passages = reranker.compress_documents(found, question)
    return prompt.invoke({"passages": "\n".join(each.page_content for each in passages), "question": question})


# %% [markdown]
# ## LlamaIndex

# %%
from llama_index.core import SummaryIndex
from llama_index.core.schema import TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank as LlamaRerank

retriever = SummaryIndex([TextNode(text=text) for text in PASSAGES]).as_retriever()  # or any other index
postprocessor = LlamaRerank(model="any", base_url="http://127.0.0.1:8767", api_key="any", top_n=2)
for node in postprocessor.postprocess_nodes(retriever.retrieve(QUESTION), query_str=QUESTION):
    print(f"{node.score:.2f}  {node.text}")

# %%
server.terminate()
print("exit status", server.wait())
