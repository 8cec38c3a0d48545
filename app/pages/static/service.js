// The service's routes, as the pages call them. The key is in this module's memory and nowhere else.

export const ROOT = new URL("..", import.meta.url); // the pages' files lie one level below the service
const NETWORK = "The service does not answer. Is it running, and is this machine connected?";
const LOST = "The connection was lost before the ranking was complete.";
const FIELDS = ["query", "documents", "collection", "method", "deadline_ms", "language", "diversity", "exclude"];
const PLACES = { 401: "key", 403: "key", 413: "documents", 429: "query" };
const KINDS = { "invalid-vector": "exclude", "unknown-collection": "collection", "damaged-collection": "collection", "index-unavailable": "collection" };

let key = "";

export const hasKey = () => key !== "";

export function setKey(value) {
	key = value.trim();
}

/** What went wrong, where on the page it belongs, and in how many seconds a retry makes sense. */
export class Problem extends Error {
	constructor(message, { status = 0, kind = "network", place = "result", retryAfter = null } = {}) {
		super(message);
		Object.assign(this, { status, kind, place, retryAfter });
	}

	static of(fields) {
		const where = Array.isArray(fields.detail) ? fields.detail[0]?.loc?.find((part) => part !== "body") : null;
		let place = PLACES[fields.status] ?? KINDS[fields.error_type] ?? (FIELDS.includes(where) ? where : "result");
		if (place === "documents" && fields.message?.includes("excluded")) place = "exclude";
		const keys = fields.status === 401 ? "This key is not accepted, or none was given. Enter one that is valid." : null;
		return new Problem(keys ?? fields.message ?? `The service answered ${fields.status}.`, {
			status: fields.status,
			kind: fields.error_type,
			place,
			retryAfter: fields.retry_after_s ?? null,
		});
	}
}

async function send(method, path, body, signal) {
	const headers = body === undefined ? {} : { "Content-Type": "application/json" };
	if (key) headers.Authorization = `Bearer ${key}`;
	let response;
	try {
		response = await fetch(new URL(path, ROOT), {
			method,
			headers,
			body: body === undefined ? undefined : JSON.stringify(body),
			signal,
			credentials: "omit",
			redirect: "error",
		});
	} catch (error) {
		if (signal?.aborted) throw error;
		throw new Problem(NETWORK);
	}
	if (!response.ok) throw await refusal(response);
	return response;
}

async function refusal(response) {
	try {
		return Problem.of(await response.json());
	} catch {
		return new Problem(`The service, or a proxy before it, answered ${response.status}.`, { status: response.status });
	}
}

/** The JSON that a route answers. Throws Problem. */
export async function ask(method, path, body, signal) {
	const response = await send(method, path, body, signal);
	return response.status === 204 ? null : response.json();
}

/** A ranking of a scene that was recorded, shown where no key was given yet: {rows, query, matches}. */
export async function recorded() {
	const { results, query, tokens } = await ask("GET", "pages/recorded.json");
	const rows = results.map(([index, relevance_score, classical, quantum, lexical]) => ({ index, relevance_score, scores: { classical, quantum, lexical } }));
	const named = ([start, end, fidelity, match]) => ({ start, end, fidelity, match });
	return { rows, query: query.map(named), matches: tokens.map((of) => ({ tokens: of.map(named) })) };
}

/** The text that a route answers. */
export async function askText(path, signal) {
	return (await send("GET", path, undefined, signal)).text();
}

/** Rank over the stream: `onOrder` gets each partial ranking, and the last event, as /rerank answers, is returned. */
export async function rankLive(body, onOrder, signal) {
	const response = await send("POST", "v1/rerank/stream", body, signal);
	for await (const { event, data } of events(response.body, signal)) {
		if (event === "final") return data;
		if (event === "error") throw Problem.of(data);
		onOrder(data);
	}
	throw lost();
}

const lost = () => new Problem(LOST, { kind: "lost" });

/** The server-sent events of a response's body, their data parsed as JSON. */
async function* events(stream, signal) {
	const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";
	for (;;) {
		const { value, done } = await reader.read().catch((error) => {
			throw signal?.aborted ? error : lost();
		});
		if (done) return;
		const blocks = (rest + value).split("\n\n");
		rest = blocks.pop();
		for (const block of blocks) {
			const fields = block.split("\n").filter((line) => !line.startsWith(":"));
			const field = (name) =>
				fields.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trimStart());
			if (fields.length) yield { event: field("event").join(""), data: JSON.parse(field("data").join("\n")) };
		}
	}
}
