// The tokens of passages that matched the question, asked for when a passage comes into view.

import { ask } from "./service.js";

const WAIT_MS = 60; // for other passages that come into view
const AT_ONCE = 6; // long ones have up to 16 pieces, and the service compares 128

export class Tints {
	#known = new Map(); // by the ranked text
	#wanted = new Map();
	#timer = null;

	/** `view`: what is ranked, perhaps with recorded tokens; `changed` is called when more is known. */
	constructor({ query, rows, recorded }, changed) {
		this.query = recorded?.query ?? null; // the question's tokens
		this.problem = null;
		this.question = query;
		this.changed = changed;
		recorded?.matches.forEach((each, at) => this.#known.set(rows[at].shown.ranked, each));
	}

	of = (row) => this.#known.get(row.shown.ranked);

	want(row) {
		const text = row.shown.ranked;
		if (this.problem || this.#known.has(text) || this.#wanted.has(text) || !text.trim() || row.tokens?.read === 0) return;
		this.#wanted.set(text, false);
		this.#timer ??= setTimeout(() => this.#ask(), WAIT_MS);
	}

	async #ask() {
		const texts = [...this.#wanted].filter(([, asked]) => !asked).map(([text]) => text).slice(0, AT_ONCE);
		for (const text of texts) this.#wanted.set(text, true);
		try {
			const { query, results } = await ask("POST", "v1/matches", { query: this.question, documents: texts });
			this.query = query;
			results.forEach((each, at) => this.#known.set(texts[at], each));
			this.changed();
		} catch (problem) {
			this.problem = problem.message;
			this.changed();
		}
		this.#timer = [...this.#wanted.values()].includes(false) && !this.problem ? setTimeout(() => this.#ask(), 0) : null;
	}
}
