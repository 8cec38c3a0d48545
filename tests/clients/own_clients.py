"""Clients that the judges of shared/wire do not call, each in one function. Imported in .venv-clients."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

# Nothing but our server is reached: LightRAG would fetch a tokenizer, and counts four characters as a token without it.
os.environ |= {"HTTPS_PROXY": "http://127.0.0.1:9", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

import dashscope
import litellm
import tenacity
from dashscope.rerank import AioTextReRank, TextReRank
from langchain_core.documents import Document
from langchain_nvidia_ai_endpoints import NVIDIARerank as LangchainNvidia
from lightrag.rerank import ali_rerank, cohere_rerank, generic_rerank_api, jina_rerank
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.dashscope_rerank import DashScopeRerank as LlamaDashScope
from llama_index.postprocessor.nvidia_rerank import NVIDIARerank as LlamaNvidia

generic_rerank_api.retry.wait = tenacity.wait_none()  # it would wait four seconds before it asks again
litellm.suppress_debug_info = True

TOP_N = 3
MODEL = "any"
NVIDIAS_MODEL = "nvidia/nv-rerankqa-mistral-4b-v3"  # LlamaIndex takes those that it knows and those that are listed
ALI_PATH = "/api/v1/services/rerank/text-rerank/text-rerank"
CHUNK_TOKENS = 64
CHUNKS = {"enable_chunking": True, "max_tokens_per_doc": CHUNK_TOKENS}

Call = Callable[[str, str, str, list[str]], Any]  # url, key, query, documents
Rows = list[tuple[int, float]]  # position among the documents, score


class Client(NamedTuple):
    """How a client is called, and what of its answer tells the order."""

    call: Call
    rows: Callable[[Any], Rows]


def langchain_nvidia(url: str, key: str) -> LangchainNvidia:
    return LangchainNvidia(
        base_url=f"{url}/v1", api_key=key, model=MODEL, top_n=TOP_N, truncate="END", usage_telemetry_enabled=False
    )


def passages(documents: Sequence[str]) -> list[Document]:
    return [Document(text, metadata={"at": at}) for at, text in enumerate(documents)]


def nodes(documents: Sequence[str]) -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text, id_=str(at)), score=0.5) for at, text in enumerate(documents)]


def llama_dashscope(url: str, key: str, query: str, documents: list[str]) -> list[NodeWithScore]:
    dashscope.base_http_api_url = f"{url}/api/v1"  # there is no argument for it
    return LlamaDashScope(model=MODEL, api_key=key, top_n=TOP_N).postprocess_nodes(nodes(documents), query_str=query)


def ask_dashscope(kind: Any, url: str, key: str, query: str, documents: list[str]) -> Any:
    return kind.call(
        MODEL, query, documents, return_documents=True, top_n=TOP_N, api_key=key, base_address=f"{url}/api/v1"
    )


def ask_lightrag(function: Any, path: str, **more: Any) -> Call:
    def call(url: str, key: str, query: str, documents: list[str]) -> Any:
        return asyncio.run(
            function(query, documents, top_n=TOP_N, api_key=key, model=MODEL, base_url=url + path, **more)
        )

    return call


def ask_litellm(model: str, path: str = "", as_objects: bool = False) -> Call:
    def call(url: str, key: str, query: str, documents: list[str]) -> Any:
        sent = [{"title": "No text", "body": text} for text in documents] if as_objects else documents
        return litellm.rerank(model, query, sent, api_base=url + path, api_key=key, top_n=TOP_N)

    return call


def of_documents(found: Sequence[Document]) -> Rows:
    return [(document.metadata["at"], document.metadata["relevance_score"]) for document in found]


def of_nodes(found: Sequence[NodeWithScore]) -> Rows:
    return [(int(found.node.node_id), found.score) for found in found]


def of_dashscope(response: Any) -> Rows:
    assert response.status_code == 200, f"{response.code}: {response.message}"
    assert response.usage.total_tokens
    assert all(row["document"]["text"] for row in response.output.results)  # its attribute is always None
    return [(row.index, row.relevance_score) for row in response.output.results]


def of_objects(found: Any) -> Rows:
    rows = found if isinstance(found, list) else found.results
    assert all(row["document"]["text"] for row in rows if "document" in row)
    return [(row["index"], row["relevance_score"]) for row in rows]


CLIENTS: dict[str, Client] = {
    "langchain-nvidia": Client(
        lambda url, key, query, documents: langchain_nvidia(url, key).compress_documents(passages(documents), query),
        of_documents,
    ),
    "langchain-nvidia-async": Client(
        lambda url, key, query, documents: asyncio.run(
            langchain_nvidia(url, key).acompress_documents(passages(documents), query)
        ),
        of_documents,
    ),
    "llamaindex-nvidia": Client(
        lambda url, key, query, documents: LlamaNvidia(
            base_url=f"{url}/v1", api_key=key, model=NVIDIAS_MODEL, top_n=TOP_N
        ).postprocess_nodes(nodes(documents), query_str=query),
        of_nodes,
    ),
    "litellm-nvidia": Client(ask_litellm(f"nvidia_nim/ranking/{MODEL}"), of_objects),
    "dashscope": Client(lambda *asked: ask_dashscope(TextReRank, *asked), of_dashscope),
    "dashscope-async": Client(lambda *asked: asyncio.run(ask_dashscope(AioTextReRank, *asked)), of_dashscope),
    "llamaindex-dashscope": Client(llama_dashscope, of_nodes),
    "litellm-dashscope": Client(ask_litellm(f"dashscope/{MODEL}", "/v1/rerank"), of_objects),
    "litellm-cohere-objects": Client(ask_litellm(f"cohere/{MODEL}", as_objects=True), of_objects),
    "lightrag-ali": Client(ask_lightrag(ali_rerank, ALI_PATH), of_objects),
    "lightrag-cohere": Client(ask_lightrag(cohere_rerank, "/v2/rerank", **CHUNKS), of_objects),
    "lightrag-jina": Client(ask_lightrag(jina_rerank, "/v1/rerank"), of_objects),
    "lightrag-jina-chunks": Client(ask_lightrag(generic_rerank_api, "/v1/rerank", **CHUNKS), of_objects),
}
