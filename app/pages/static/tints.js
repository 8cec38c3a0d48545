// The tokens of passages that matched the question, asked for when a passage comes into view.

import { ask } from "./service.js";

const WAIT_MS = 60; // for other passages that come into view
const AT_ONCE = 6; // long ones have up to 16 pieces, and the service compares 128

export class Tints {
	#known = new Map(); // by the ranked text
	#wanted = new Set(); // texts, also those that were asked for
	#queue = [];
	#timer = null;

	/** `view`: what is ranked, perhaps with recorded tokens; `changed` is called when more is known. */
	constructor({ query, rows, recorded }, changed) {
		this.query = recorded?.query ?? null; // the question's tokens
		this.problem = null;
		this.question = query;
		this.changed = changed;
		recorded?.matches.forEach((each, at) => this.#known.set(rows[at].shown.ranked, each));
	}

	/** Forget a failure, so that what comes into view is asked for again. */
	retry() {
		if (this.problem) this.#wanted.clear();
		this.problem = null;
	}

	of = (row) => this.#known.get(row.shown.ranked);

	want(row) {
		const text = row.shown.ranked;
		if (this.problem || this.#known.has(text) || this.#wanted.has(text) || !text.trim() || row.tokens?.read === 0) return;
		this.#wanted.add(text);
		this.#queue.push(text);
		this.#timer ??= setTimeout(() => this.#ask(), WAIT_MS);
	}

	async #ask() {
		const texts = this.#queue.splice(0, AT_ONCE);
		try {
			const { query, results } = await ask("v1/matches", "POST", { query: this.question, documents: texts });
			this.query = query;
			results.forEach((each, at) => this.#known.set(texts[at], each));
		} catch (problem) {
			this.problem = problem.message;
			this.#queue = [];
		}
		this.changed();
		this.#timer = this.#queue.length ? setTimeout(() => this.#ask()) : null;
	}
}
