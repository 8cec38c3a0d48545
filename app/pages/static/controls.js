// The controls of a ranking. Each acts at once; one that changed nothing says so.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { ofFile, ofLines } from "./passages.js";
import { Message } from "./shell.js";

const MOST_BYTES = 16 * 2 ** 20; // of a file: a request takes no more, unless the service was told so
const DEADLINES = { "": "the service’s own", 20: "20 ms", 50: "50 ms", 100: "100 ms", 400: "400 ms", 2000: "2 s", 0: "none" };
const CODES = "ar da de en es fi fr hi it ja nl no pt ru sv tr zh".split(" ");
const named = new Intl.DisplayNames("en", { type: "language" });
const LANGUAGES = { "": "the service’s own", auto: "detect", none: "no stemming", ...Object.fromEntries(CODES.map((code) => [code, named.of(code)])) };
const MEANINGS = {
	hybrid: "cosine, fidelity and words, fused",
	quantum: "fidelity of small circuits, token by token",
	classical: "cosine of embeddings",
	"hybrid+cross": "and a cross-encoder on the best",
};

const numeric = (text) => (text === "" ? null : Number(text));

function Field({ id, label, note, problem, children }) {
	return html`<div class="field"><label for=${id}>${label}</label>${children}<small class="note" role="status">${note}</small><${Message} problem=${problem} /></div>`;
}

function Select({ id, value, options, change }) {
	return html`<select id=${id} value=${value} onChange=${(event) => change(event.target.value)}>${Object.entries(options).map(([name, words]) => html`<option value=${name}>${words}</option>`)}</select>`;
}

/** Method, deadline, diversity, language, exclusions. `notes`: what a control did to this list. */
export function Controls({ state, set, notes, problems, crossed }) {
	const methods = Object.fromEntries(Object.keys(MEANINGS).filter((name) => crossed || name !== "hybrid+cross").map((name) => [name, name]));
	return html`<fieldset class="controls"><legend class="unseen">How to rank</legend>
		<${Field} id="method" label="Method" note=${notes.method ?? MEANINGS[state.method]} problem=${problems.method}>
			<${Select} id="method" value=${state.method} options=${methods} change=${(method) => set("method", { method })} />
		<//>
		<${Field} id="deadline" label="Deadline" note=${notes.deadline} problem=${problems.deadline_ms}>
			<${Select} id="deadline" value=${state.deadline ?? ""} options=${withValue(DEADLINES, state.deadline, (ms) => `${ms} ms`)} change=${(value) => set("deadline", { deadline: numeric(value) })} />
		<//>
		<${Field} id="language" label="Language" note=${notes.language} problem=${problems.language}>
			<${Select} id="language" value=${state.language ?? ""} options=${withValue(LANGUAGES, state.language, String)} change=${(value) => set("language", { language: value || null })} />
		<//>
		<${Field} id="diversity" label="Diversity" note=${notes.diversity} problem=${problems.diversity}>
			<span class="slider"><input id="diversity" type="range" min="0" max="1" step="0.05" value=${state.diversity ?? 0} onInput=${(event) => set("diversity", { diversity: Number(event.target.value) || null })} />
			<output for="diversity">${(state.diversity ?? 0).toFixed(2)}</output></span>
		<//>
		<${Exclusions} state=${state} set=${set} note=${notes.exclude} problem=${problems.exclude} />
	</fieldset>`;
}

const withValue = (options, value, words) => (value === null || value in options ? options : { ...options, [value]: words(value) });

function Exclusions({ state, set, note, problem }) {
	const add = (event) => {
		const text = event.target.value.trim();
		if (event.key !== "Enter" || event.isComposing) return;
		event.preventDefault();
		event.target.value = "";
		if (text && !state.exclude.includes(text)) set("exclude", { exclude: [...state.exclude, text] });
	};
	const remove = (text) => set("exclude", { exclude: state.exclude.filter((each) => each !== text) });
	return html`<div class="field wide"><label for="exclude">Exclude</label>
		<div class="chips">
			${state.exclude.map((text) => html`<span class="chip" key=${text}><span dir="auto">${text}</span><button aria-label="No longer exclude ${text}" onClick=${() => remove(text)}>×</button></span>`)}
			<input id="exclude" placeholder="a topic, then Enter" onKeyDown=${add} autocomplete="off" aria-describedby="exclude-note" />
		</div>
		<small id="exclude-note" class="note" role="status">${note}</small><${Message} problem=${problem} />
	</div>`;
}

/** The threshold: what scores less is greyed at once, without asking the service. */
export function Threshold({ state, set, results, problem }) {
	const below = results.filter((row) => row.relevance_score < state.threshold).length;
	const note = !state.threshold ? "" : below ? `${below} of ${results.length} below it` : "No effect on this list";
	return html`<${Field} id="threshold" label="Threshold" note=${note} problem=${problem}>
		<span class="slider"><input id="threshold" type="range" min="0" max="1" step="0.01" value=${state.threshold} onInput=${(event) => set("threshold", { threshold: Number(event.target.value) }, false)} />
		<output for="threshold">${state.threshold.toFixed(2)}</output></span>
	<//>`;
}

/** The passages: a collection, or the person's own, pasted or of a file. */
export function Source({ state, set, collections, most, problem }) {
	const [fault, setFault] = useState(null);
	const [over, setOver] = useState(false);
	const own = useRef(null);
	useEffect(() => { // what is being typed stays as it is
		const lines = state.passages.join("\n");
		if (own.current && ofLines(own.current.value).join("\n") !== lines) own.current.value = lines;
	}, [state.passages, state.file, state.collection]);
	const load = async (files) => {
		setOver(false);
		if (!files.length) return;
		try {
			if (files[0].size > MOST_BYTES) throw new Error(`${files[0].name} is larger than ${MOST_BYTES / 2 ** 20} MiB.`);
			const passages = ofFile(files[0].name, await files[0].text());
			setFault(null);
			set("passages", { passages: passages.slice(0, most), collection: null, file: files[0].name, scene: null });
			if (passages.length > most) setFault(new Error(`${files[0].name} has ${passages.length} passages, and the service takes ${most} at once: the first ${most} are ranked.`));
		} catch (error) {
			setFault(error);
		}
	};
	const drop = (event) => {
		event.preventDefault();
		load(event.dataTransfer.files);
	};
	const choose = (name) => {
		setFault(null);
		set("collection", name ? { collection: name, scene: null } : { collection: null, scene: null });
		if (!name) requestAnimationFrame(() => own.current?.focus());
	};
	const typed = (event) => set("passages", { passages: ofLines(event.target.value), file: null, scene: null }, false);
	const options = { "": "your own passages", ...Object.fromEntries([...collections, ...(state.collection && !collections.includes(state.collection) ? [state.collection] : [])].map((name) => [name, `collection ${name}`])) };
	return html`<div class="field source ${over ? "over" : ""}" onDragOver=${(event) => (event.preventDefault(), setOver(true))} onDragLeave=${() => setOver(false)} onDrop=${drop}>
		<label for="source">Search in</label>
		<${Select} id="source" value=${state.collection ?? ""} options=${options} change=${choose} />
		${state.collection === null && html`
			<label for="passages">Passages, one a line ${state.passages.length > 0 && html`<span class="count">${state.passages.length}</span>`}</label>
			${state.file
				? html`<p class="file"><span>${state.passages.length} passages of ${state.file}</span> <button class="plain" onClick=${() => set("passages", { file: null, passages: state.passages.map((text) => text.replace(/\s+/g, " ")) }, false)}>Edit as lines</button></p>`
				: html`<textarea id="passages" ref=${own} rows="9" dir="auto" spellcheck="false" placeholder="Paste passages here, one a line" onInput=${typed} onPaste=${() => setTimeout(() => set("passages", { passages: ofLines(own.current.value), file: null, scene: null }))}></textarea>`}
			<label class="upload">or drop a .txt, .jsonl or .csv file, or <input type="file" accept=".txt,.jsonl,.ndjson,.csv" onChange=${(event) => load(event.target.files)} /><span class="as-link">choose one</span></label>`}
		<${Message} problem=${fault ?? problem} />
	</div>`;
}
