// What the person chose. The address's fragment has it all, except texts and keys; these stay in memory.

import { SCENES } from "./scenes.js";

const METHODS = ["hybrid", "quantum", "classical", "hybrid+cross"];
const NOTHING = {
	scene: null, // whose texts these are; null: the person's own
	collection: null, // null: the passages below
	query: "",
	passages: [],
	file: null, // the name of the file that the passages came from
	exclude: [],
	method: "hybrid",
	deadline: null, // milliseconds; null: the service's own
	threshold: 0,
	diversity: null,
	language: null,
};

export function ofScene(name) {
	const { label, ...fields } = SCENES[name];
	return { ...NOTHING, ...fields, scene: name };
}

/** The fragment that stands for a state. */
function toFragment(state) {
	const said = { scene: state.scene, collection: state.scene ? null : state.collection, method: state.method === "hybrid" ? null : state.method };
	const numbers = { deadline: state.deadline, threshold: state.threshold || null, diversity: state.diversity };
	const language = state.language === (SCENES[state.scene]?.language ?? null) ? null : state.language;
	const all = Object.entries({ ...said, ...numbers, language }).filter(([, value]) => value !== null);
	return new URLSearchParams(all.map(([name, value]) => [name, String(value)])).toString();
}

/** The state that a fragment stands for; what it does not say, or says wrongly, is as in `otherwise`. */
export function ofFragment(fragment, otherwise) {
	const said = new URLSearchParams(fragment.replace(/^#/, ""));
	const scene = said.get("scene");
	const start = Object.hasOwn(SCENES, scene ?? "") ? ofScene(scene) : said.has("collection") ? { ...NOTHING } : otherwise;
	const number = (name, low, high, instead) => {
		const value = Number.parseFloat(said.get(name) ?? "");
		return value >= low && value <= high ? value : instead;
	};
	return {
		...start,
		collection: said.get("collection") ?? start.collection,
		method: METHODS.includes(said.get("method")) ? said.get("method") : "hybrid",
		deadline: number("deadline", 0, 600_000, null),
		threshold: number("threshold", 0, 1, 0),
		diversity: number("diversity", 0, 1, null),
		language: /^[a-z]{2,4}$/.test(said.get("language") ?? "") ? said.get("language") : start.language,
	};
}

/** The body of the request. `shown`: with the threshold, as a program would send it. */
export function toBody(state, { shown = false } = {}) {
	const candidates = state.collection ? { collection: state.collection } : { documents: state.passages };
	const chosen = {
		method: state.method,
		exclude: state.exclude.length ? state.exclude : null,
		deadline_ms: state.deadline,
		diversity: state.diversity || null,
		language: state.language,
		min_score: shown ? state.threshold || null : 0,
		explain: shown ? null : true,
	};
	return { query: state.query, ...candidates, ...Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== null)) };
}

/** Which candidates a state ranks for which question: only for the same can two rankings be compared. */
export const candidatesOf = (state) => JSON.stringify([state.query, state.collection, state.collection ? null : state.passages]);

/** A history of states for the browser's back button. The texts of each are in memory only, by its number. */
export class Past {
	#states = new Map();
	#count = 0;
	#timer = null;
	#last = { control: null, at: 0 };

	/** Show a state in the address. Steps of one control within a second are one step back. */
	push(state, control, { replace = false } = {}) {
		const now = performance.now();
		const merged = replace || (control !== null && control === this.#last.control && now - this.#last.at < 1000);
		const number = merged ? (history.state?.number ?? 0) : (this.#count += 1);
		this.#states.set(number, state);
		this.#last = { control, at: now };
		clearTimeout(this.#timer);
		const write = () => history[merged ? "replaceState" : "pushState"]({ number }, "", `#${toFragment(state)}`);
		if (merged && !replace) this.#timer = setTimeout(write, 200); // browsers refuse too many a second
		else write();
	}

	/** The state of the entry that the browser went to. */
	current(otherwise) {
		return this.#states.get(history.state?.number) ?? ofFragment(location.hash, otherwise);
	}
}
