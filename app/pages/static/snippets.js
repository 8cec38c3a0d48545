// The request on the screen as programs, to copy. The key is a variable in each.

const quoted = (value) => JSON.stringify(value);
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A request's strings, numbers, lists and objects as a Python expression. */
function python(value, indent = "") {
	if (typeof value !== "object") return quoted(value);
	const inner = `${indent}    `;
	if (Array.isArray(value)) return `[\n${value.map((each) => `${inner}${python(each, inner)},\n`).join("")}${indent}]`;
	return `{\n${Object.entries(value).map(([name, each]) => `${inner}${quoted(name)}: ${python(each, inner)},\n`).join("")}${indent}}`;
}

function curl(url, body) {
	return `curl ${shell(`${url}rerank`)} -H 'Content-Type: application/json' -H "Authorization: Bearer $QRERANK_API_KEY" \\\n  --data-binary @- <<'JSON'\n${JSON.stringify(body, null, 2)}\nJSON`;
}

function httpx(url, body) {
	return `import os

import httpx

response = httpx.post(
    ${quoted(`${url}rerank`)},
    headers={"Authorization": f"Bearer {os.environ['QRERANK_API_KEY']}"},
    json=${python(body, "    ")},
)
response.raise_for_status()
for row in response.json()["results"]:
    print(row["index"], row["relevance_score"])`;
}

function cohere(url, { query, documents, ...rest }) {
	if (!documents) return "# Cohere’s SDK sends passages with each request: choose “your own passages”.";
	return `import os

import cohere

client = cohere.ClientV2(os.environ["QRERANK_API_KEY"], base_url=${quoted(url.slice(0, -1))})
response = client.rerank(
    model="quantum-rerank",
    query=${quoted(query)},
    documents=${python(documents, "    ")},
    request_options={"additional_body_parameters": ${python(rest, "    ")}},
)
for row in response.results:
    print(row.index, row.relevance_score)`;
}

function langchain(url, { query, documents, method, ...rest }) {
	if (!documents) return "# In LangChain a retriever finds the passages: choose “your own passages”.";
	const left = Object.keys(rest);
	const note = left.length ? `\n# CohereRerank cannot send ${left.join(", ")}: the service’s settings decide there.` : "";
	return `import os

from langchain_cohere import CohereRerank
from langchain_core.documents import Document
${note}
reranker = CohereRerank(
    model=${quoted(`quantum-rerank${method !== "hybrid" ? `:${method}` : ""}`)},
    base_url=${quoted(url.slice(0, -1))},
    cohere_api_key=os.environ["QRERANK_API_KEY"],
    top_n=5,
)
found = [Document(text) for text in ${python(documents)}]
for document in reranker.compress_documents(found, ${quoted(query)}):
    print(document.metadata["relevance_score"], document.page_content)`;
}

export const SNIPPETS = { curl, "Python (httpx)": httpx, "Cohere SDK": cohere, LangChain: langchain };
