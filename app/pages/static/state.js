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

/** A scene's texts and language; how to rank them stays as it was. */
export function ofScene(name, { method, deadline, threshold, diversity } = NOTHING) {
	const { label, ...fields } = SCENES[name];
	return { ...NOTHING, ...fields, method, deadline, threshold, diversity, scene: name };
}

function toFragment(state) {
	const { scene, collection, method, deadline, threshold, diversity, language } = state;
	const own = { ...NOTHING, ...SCENES[scene] };
	const exclude = own.exclude.every((text) => state.exclude.includes(text)) ? NOTHING.exclude : ""; // the scene's own is gone
	const usual = { ...NOTHING, language: own.language };
	const said = Object.entries({ scene, collection: scene ? null : collection, exclude, method, deadline, threshold, diversity, language });
	return new URLSearchParams(said.filter(([name, value]) => value !== usual[name]).map(([name, value]) => [name, value ?? ""])).toString();
}

/** The state of a fragment; what it does not say, or says wrongly, is as in `otherwise`. */
export function ofFragment(fragment, otherwise) {
	const said = Object.fromEntries(new URLSearchParams(fragment.slice(1)));
	const { collection, query } = SCENES.docs; // its question does for the collection, too: texts are not in the address
	const own = { ...NOTHING, query: said.collection === collection ? query : "" };
	const start = Object.hasOwn(SCENES, said.scene ?? "") ? ofScene(said.scene) : "collection" in said ? own : otherwise;
	const number = (name, most) => {
		const value = Number.parseFloat(said[name]);
		return value >= 0 && value <= most ? value : NOTHING[name];
	};
	return {
		...start,
		collection: said.collection ?? start.collection,
		exclude: "exclude" in said ? [] : start.exclude,
		method: METHODS.includes(said.method) ? said.method : NOTHING.method,
		deadline: number("deadline", 600_000),
		threshold: number("threshold", 1),
		diversity: number("diversity", 1),
		language: /^([a-z]{2,4})?$/.test(said.language ?? "?") ? said.language || null : start.language,
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

const write = (how, number, state) => history[`${how}State`]({ number }, "", `#${toFragment(state)}`);

/** The states behind the browser's back button, in memory by the number of their entry. */
export class Past {
	#states = new Map();
	#timer = null;
	#last = { control: null, at: 0 };

	/** Show a state in the address. Steps of one control within a second are one step back, what changes nothing is none. */
	push(state, control, { replace = false } = {}) {
		const entry = history.state?.number;
		const shown = this.#states.get(entry);
		if (shown && Object.keys(state).every((name) => state[name] === shown[name])) return;
		const now = performance.now();
		const merged = replace || (control !== null && control === this.#last.control && now - this.#last.at < 1000);
		const number = merged ? (entry ?? 0) : Date.now(); // new also after a reload
		this.#states.set(number, state);
		this.#last = { control, at: now };
		clearTimeout(this.#timer);
		if (merged && !replace) this.#timer = setTimeout(write, 200, "replace", number, state); // browsers refuse too many a second
		else {
			if (shown) write("replace", entry, shown); // the timer may not have done it
			write(merged ? "replace" : "push", number, state);
		}
	}

	/** The state of the entry that the browser went to. */
	current(otherwise) {
		clearTimeout(this.#timer); // it would write into the entry that the browser went to
		this.#last = { control: null, at: 0 };
		return this.#states.get(history.state?.number) ?? ofFragment(location.hash, otherwise);
	}
}
