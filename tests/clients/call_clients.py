"""Call every rerank client of Python once at each address and print what it raised, a JSON object a line.

Runs in .venv-clients: call_clients.py STATUS=URL … where the server at URL answers everything with that status.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cohere
import infinity_client
import litellm
import own_clients
import voyageai
from haystack import Document as HaystackDocument
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
from haystack_integrations.components.rankers.jina import JinaRanker
from haystack_integrations.components.rankers.vllm import VLLMRanker
from infinity_client.api.default import rerank as infinity_rerank
from infinity_client.models import RerankInput
from langchain_cohere import CohereRerank as LangchainCohere
from langchain_community.document_compressors import jina_rerank as langchain_jina
from langchain_community.document_compressors.infinity_rerank import InfinityRerank
from langchain_core.documents import Document as LangchainDocument
from langchain_voyageai import VoyageAIRerank as LangchainVoyage
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank as LlamaCohere
from llama_index.postprocessor.jinaai_rerank import JinaRerank as LlamaJina
from llama_index.postprocessor.siliconflow_rerank import SiliconFlowRerank as LlamaSiliconFlow
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference as LlamaTei
from llama_index.postprocessor.voyageai_rerank import VoyageAIRerank as LlamaVoyage
from llama_index.postprocessor.xinference_rerank import XinferenceRerank as LlamaXinference
from rerankers import Reranker
from xinference_client import RESTfulClient
from xinference_client.client.restful.restful_client import RESTfulRerankModelHandle

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
litellm.suppress_debug_info = True

KEY = "wrong"
MODEL = "any"
DOCUMENTS = ["Berlin is in Germany.", "Paris is the capital of France."]

Call = Callable[[str, str], object]  # url, query


def of_litellm(provider: str, path: str = "", **more: object) -> Call:
    return lambda url, query: litellm.rerank(
        model=f"{provider}/{MODEL}", query=query, documents=DOCUMENTS, api_base=url + path, api_key=KEY, **more
    )


def of_langchain(make: Callable[[str], object]) -> Call:
    documents = [LangchainDocument(text) for text in DOCUMENTS]
    return lambda url, query: make(url).compress_documents(documents, query)


def of_llama_index(make: Callable[[str], object]) -> Call:
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in DOCUMENTS]
    return lambda url, query: make(url).postprocess_nodes(nodes, query_str=query)


def of_haystack(make: Callable[[str], object]) -> Call:
    documents = [HaystackDocument(content=text) for text in DOCUMENTS]
    return lambda url, query: make(url).run(query=query, documents=documents)


def of_rerankers(kind: str, path: str) -> Call:
    return lambda url, query: Reranker(MODEL, model_type=kind, api_key=KEY, url=url + path, verbose=0).rank(
        query, DOCUMENTS
    )


def jina_of_langchain(url: str) -> object:
    langchain_jina.JINA_API_URL = f"{url}/v1/rerank"  # there is no argument for it
    return langchain_jina.JinaRerank(jina_api_key=KEY, model=MODEL)


def voyage_of_langchain(url: str) -> object:
    compressor = LangchainVoyage(model=MODEL, api_key=KEY)
    compressor.client = voyageai.Client(api_key=KEY, base_url=f"{url}/v1")
    return compressor


def voyage_of_llama_index(url: str) -> object:
    postprocessor = LlamaVoyage(model=MODEL, api_key=KEY)
    postprocessor._client._params["base_url"] = f"{url}/v1"  # nor here
    return postprocessor


def infinity(url: str, query: str) -> object:
    client = infinity_client.AuthenticatedClient(base_url=url, token=KEY, raise_on_unexpected_status=True)
    return infinity_rerank.sync(client=client, body=RerankInput(query=query, documents=DOCUMENTS, model=MODEL))


def infinity_of_langchain(url: str) -> object:
    client = infinity_client.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"})
    return InfinityRerank(client=client)


def with_user(url: str) -> str:
    return url.replace("//", f"//user:{KEY}@")


COHERE = {"documents": DOCUMENTS, "model": MODEL}
BEARER = {"Authorization": f"Bearer {KEY}"}
SECRET = Secret.from_token(KEY)

CLIENTS: dict[str, Call] = {
    "cohere-v1": lambda url, query: cohere.Client(KEY, base_url=url).rerank(query=query, **COHERE),
    "cohere-v1-objects": lambda url, query: cohere.Client(KEY, base_url=url).rerank(
        query=query, documents=[{"text": text} for text in DOCUMENTS], rank_fields=["text"]
    ),
    "cohere-v2": lambda url, query: cohere.ClientV2(KEY, base_url=url).rerank(query=query, **COHERE),
    "cohere-v2-async": lambda url, query: asyncio.run(
        cohere.AsyncClientV2(KEY, base_url=url).rerank(query=query, **COHERE)
    ),
    "langchain-cohere": of_langchain(lambda url: LangchainCohere(model=MODEL, cohere_api_key=KEY, base_url=url)),
    "langchain-jina": of_langchain(jina_of_langchain),
    "langchain-infinity": of_langchain(infinity_of_langchain),
    "langchain-voyage": of_langchain(voyage_of_langchain),
    "litellm-cohere": of_litellm("cohere"),
    "litellm-cohere-v1": of_litellm("cohere", "/v1/rerank"),
    "litellm-jina": of_litellm("jina_ai"),
    "litellm-infinity": of_litellm("infinity", "/infinity"),
    "litellm-infinity-nodocs": of_litellm("infinity", return_documents=False),
    "litellm-vllm": of_litellm("hosted_vllm"),
    "litellm-vllm-v1": of_litellm("hosted_vllm", "/v1"),
    "litellm-huggingface": of_litellm("huggingface"),
    "litellm-voyage": of_litellm("voyage", top_n=1),
    "litellm-voyage-notopn": of_litellm("voyage"),
    "litellm-together": of_litellm("together_ai", "/v1"),
    "llamaindex-cohere": of_llama_index(lambda url: LlamaCohere(model=MODEL, api_key=KEY, base_url=url, max_retries=1)),
    "llamaindex-jina": of_llama_index(lambda url: LlamaJina(model=MODEL, api_key=KEY, base_url=f"{url}/v1")),
    "llamaindex-tei": of_llama_index(lambda url: LlamaTei(base_url=url, auth_token=f"Bearer {KEY}")),
    "llamaindex-tei-rawtoken": of_llama_index(lambda url: LlamaTei(base_url=url, auth_token=KEY)),
    "llamaindex-xinference": of_llama_index(lambda url: LlamaXinference(model=MODEL, base_url=with_user(url))),
    "llamaindex-voyage": of_llama_index(voyage_of_llama_index),
    "llamaindex-siliconflow": of_llama_index(
        lambda url: LlamaSiliconFlow(model=MODEL, api_key=KEY, base_url=f"{url}/v1/rerank")
    ),
    "haystack-cohere": of_haystack(lambda url: CohereRanker(model=MODEL, api_key=SECRET, api_base_url=url)),
    "haystack-jina": of_haystack(lambda url: JinaRanker(model=MODEL, api_key=SECRET, base_url=f"{url}/v1/rerank")),
    "haystack-tei": of_haystack(lambda url: HuggingFaceTEIRanker(url=url, token=SECRET, max_retries=1)),
    "haystack-vllm": of_haystack(lambda url: VLLMRanker(model=MODEL, api_key=SECRET, api_base_url=f"{url}/v1")),
    "voyageai": lambda url, query: voyageai.Client(api_key=KEY, base_url=f"{url}/v1").rerank(query, DOCUMENTS, MODEL),
    "voyageai-async": lambda url, query: asyncio.run(
        voyageai.AsyncClient(api_key=KEY, base_url=f"{url}/v1").rerank(query, DOCUMENTS, MODEL)
    ),
    "infinity-client": infinity,
    "xinference-handle": lambda url, query: RESTfulRerankModelHandle(MODEL, url, BEARER).rerank(DOCUMENTS, query),
    "xinference-client": lambda url, query: (
        RESTfulClient(url, api_key=KEY).get_model(MODEL).rerank(documents=DOCUMENTS, query=query)
    ),
    "rerankers-cohere": of_rerankers("cohere", "/v1/rerank"),
    "rerankers-jina": of_rerankers("jina", "/v1/rerank"),
    "rerankers-voyage": of_rerankers("voyage", "/v1/rerank"),
    "rerankers-tei": of_rerankers("text-embeddings-inference", "/rerank"),
    "rerankers-pinecone": of_rerankers("pinecone", "/rerank"),
} | {
    name: lambda url, query, call=client.call: call(url, KEY, query, DOCUMENTS)
    for name, client in own_clients.CLIENTS.items()
}


def outcome(call: Call, url: str, query: str) -> tuple[str, str]:
    """What came of a call: the name and text of the exception, or of what it returned."""
    try:
        returned = call(url, query)
        return f"returns {type(returned).__name__}", str(returned)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we came for
        package = type(error).__module__.split(".")[0]
        name = type(error).__name__ if package == "builtins" else f"{package}.{type(error).__name__}"
        try:
            return name, str(error)
        except TypeError as broken:  # voyageai's, when `detail` is a list
            return f"{name}, which cannot be printed", str(broken)


def main() -> None:
    printed, sys.stdout = sys.stdout, sys.stderr  # some clients print
    for argument in sys.argv[1:]:
        status, url = argument.split("=", 1)
        query = " " if status == "422" else "What is the capital of France?"  # a query that we really refuse
        with ThreadPoolExecutor(len(CLIENTS)) as pool:  # those that retry wait for seconds
            outcomes = pool.map(lambda call, url=url, query=query: outcome(call, url, query), CLIENTS.values())
            for client, (name, message) in zip(CLIENTS, outcomes, strict=True):
                line = {"client": client, "status": int(status), "outcome": name, "message": message}
                printed.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
