// The service's routes, as the pages call them. The key is in this module's memory and nowhere else.

import { sentence } from "./ranking.js";

export const ROOT = new URL("..", import.meta.url); // files lie one level below
const FIELDS = "query documents collection method deadline_ms language diversity exclude".split(" ");
const PLACES = { 401: "key", 403: "key", 413: "documents", 429: "query" };
const KINDS = { "invalid-vector": "exclude", "unknown-collection": "collection", "damaged-collection": "collection", "model-not-served": "collection", "index-unavailable": "collection" };

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
		const where = fields.detail?.[0]?.loc?.find((part) => part !== "body");
		let place = PLACES[fields.status] ?? KINDS[fields.error_type] ?? (FIELDS.includes(where) ? where : "result");
		if (place === "documents" && fields.message?.includes("excluded")) place = "exclude";
		const keys = fields.status === 401 ? "This key is not accepted, or none was given. Enter one that is valid." : null;
		const words = fields.message?.replace(/^([a-z_]+)(\.\d+)?:/, (_, name) => `${name.replace("_", " ")}:`); // a field
		return new Problem(keys ?? sentence(words || `The service answered ${fields.status}`), {
			status: fields.status,
			kind: fields.error_type,
			place,
			retryAfter: (!/ again in \d/.test(fields.message) && fields.retry_after_s) || null, // once is enough
		});
	}
}

async function send(path, method = "GET", body, signal) {
	const headers = body ? { "Content-Type": "application/json" } : {};
	if (key) headers.Authorization = `Bearer ${key}`;
	let response;
	try {
		response = await fetch(new URL(path, ROOT), { method, headers, body: JSON.stringify(body), signal, credentials: "omit", redirect: "error" });
	} catch (error) {
		if (signal?.aborted) throw error;
		throw new Problem("The service does not answer. Is it running, and is this machine connected?");
	}
	const { status } = response;
	if (response.ok) {
		if (!/html/.test(response.headers.get("Content-Type"))) return response;
		throw new Problem("A proxy answered with a page: sign in there, or check the address.");
	}
	throw await response.json().then(Problem.of).catch(() => new Problem(`The service, or a proxy before it, answered ${status}.`, { status }));
}

/** The JSON that a route answers. Throws Problem. */
export async function ask(path, method, body) {
	const response = await send(path, method, body);
	return response.status === 204 ? null : response.json();
}

export const askText = async (path) => (await send(path)).text();

/** Rank over the stream: `onOrder` gets each partial ranking; returns what /rerank answers. */
export async function rankLive(body, onOrder, signal) {
	const response = await send("v1/rerank/stream", "POST", body, signal);
	for await (const { event, data } of events(response.body, signal)) {
		if (event === "final") return data;
		if (event === "error") throw Problem.of(data);
		onOrder(data);
	}
	throw lost();
}

const lost = () => new Problem("The connection was lost before the ranking was complete.", { kind: "lost" });

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
			const [event, data] = ["event", "data"].map((field) => new RegExp(`^${field}: ?(.*)$`, "m").exec(block)?.[1]);
			if (data) yield { event, data: JSON.parse(data) }; // else it keeps the connection alive
		}
	}
}
