// Each control acts at once; one that changed nothing says so.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact-htm.js";
import { ofFile, ofLines } from "./passages.js";
import { counted } from "./ranking.js";
import { Message } from "./shell.js";

const MOST_BYTES = 16 * 2 ** 20; // of a file, as usual of a request
const DEADLINES = { "": "service’s own", 20: "20 ms", 50: "50 ms", 100: "100 ms", 400: "400 ms", 2000: "2 s", 0: "none" };
const CODES = "ar da de en es fi fr hi it ja nl no pt ru sv tr zh".split(" ");
const named = new Intl.DisplayNames("en", { type: "language" });
const LANGUAGES = { "": "service’s own", auto: "detect", none: "no stemming", ...Object.fromEntries(CODES.map((code) => [code, named.of(code)])) };
const MEANINGS = {
	hybrid: "cosine, fidelity and words, fused",
	quantum: "fidelity of small circuits, token by token",
	classical: "cosine of embeddings",
	"hybrid+cross": "and a cross-encoder on the best",
};

function Field({ id, label, note, problem, children }) {
	return html`<div class=field><label for=${id}>${label}</label>${children}<small class=note role=status>${note}</small><${Message} problem=${problem} /></div>`;
}

const Select = ({ id, value, options, change }) =>
	html`<select id=${id} value=${value ?? ""} onChange=${(event) => change(event.target.value)}>${Object.entries(options).map(([name, words]) => html`<option value=${name}>${words}</option>`)}</select>`;

const Choice = (all) => html`<${Field} ...${all}><${Select} ...${all} /><//>`;

const Slider = ({ value, step, change, ...all }) =>
	html`<${Field} ...${all}><span class=slider><input id=${all.id} type=range min=0 max=1 step=${step} value=${value} onInput=${(event) => change(Number(event.target.value))} /><output for=${all.id}>${value.toFixed(2)}</output></span><//>`;

/** `notes`: what each control did to this list. */
export function Controls({ state, set, notes, problems, crossed }) {
	const methods = Object.fromEntries(Object.keys(MEANINGS).filter((name) => crossed || name !== "hybrid+cross").map((name) => [name, name]));
	const of = (id) => ({
		id,
		label: id[0].toUpperCase() + id.slice(1),
		value: state[id],
		note: notes[id],
		problem: problems[id],
		change: (value) => set(id, { [id]: value || null }),
	});
	return html`<fieldset class=controls><legend class=unseen>How to rank</legend>
		<${Choice} ...${of("method")} note=${notes.method ?? MEANINGS[state.method]} options=${methods} />
		<${Choice} ...${of("deadline")} problem=${problems.deadline_ms} options=${withValue(DEADLINES, state.deadline, " ms")} change=${(value) => set("deadline", { deadline: value === "" ? null : Number(value) })} />
		<${Choice} ...${of("language")} options=${withValue(LANGUAGES, state.language)} />
		<${Slider} ...${of("diversity")} value=${state.diversity ?? 0} step=0.05 />
		<${Exclusions} state=${state} set=${set} note=${notes.exclude} problem=${problems.exclude} />
	</fieldset>`;
}

const withValue = (options, value, unit = "") => (value === null || value in options ? options : { ...options, [value]: value + unit });

function Exclusions({ state, set, note, problem }) {
	const own = useRef(null);
	const add = () => { // at Enter, and when the field is left
		const text = own.current.value.trim();
		own.current.value = "";
		if (text && !state.exclude.includes(text)) set("exclude", { exclude: [...state.exclude, text] });
	};
	const remove = (text) => {
		set("exclude", { exclude: state.exclude.filter((each) => each !== text) });
		own.current.focus();
	};
	return html`<div class="field wide"><label for=exclude>Exclude</label>
		<div class=chips>
			${state.exclude.map((text) => html`<span class=chip key=${text}><span dir=auto>${text}</span><button aria-label="No longer exclude ${text}" onClick=${() => remove(text)}>×</button></span>`)}
			<input id=exclude placeholder="a topic, then Enter" ref=${own} onChange=${add} autocomplete=off aria-describedby=exclude-note />
		</div>
		<small id=exclude-note class=note role=status>${note}</small><${Message} problem=${problem} />
	</div>`;
}

/** What scores less is greyed at once, without asking the service. */
export function Threshold({ state, set, results }) {
	const below = results.filter((row) => row.relevance_score < state.threshold).length;
	const note = !state.threshold ? "" : below ? `${below} of ${results.length} below it` : "No effect on this list";
	return html`<${Slider} id=threshold label=Threshold note=${note} value=${state.threshold} step=0.01 change=${(threshold) => set("threshold", { threshold }, false)} />`;
}

/** Whether a file is held over the page. `load` gets what is dropped. */
function useDropped(load) {
	const [over, setOver] = useState(false);
	useEffect(() => {
		const drag = (event) => {
			if (!event.dataTransfer.types.includes("Files")) return;
			event.preventDefault();
			setOver(event.type === "dragover");
			if (event.type === "drop") load(event.dataTransfer.files);
		};
		const types = ["dragover", "dragleave", "drop"];
		types.forEach((type) => addEventListener(type, drag));
		return () => types.forEach((type) => removeEventListener(type, drag));
	});
	return over;
}

/** The passages: a collection, or the person's own, pasted or of a file. */
export function Source({ state, set, collections, most, problem }) {
	const [fault, setFault] = useState(null);
	const own = useRef(null);
	useLayoutEffect(() => { // before the next key arrives
		setFault(null);
		const lines = state.passages.join("\n"); // what is being typed stays as it is
		if (own.current && ofLines(own.current.value).slice(0, most).join("\n") !== lines) own.current.value = lines;
	}, [state.passages, state.file, state.collection]);
	const read = async (file) => {
		if (file.size > MOST_BYTES) throw new Error(`${file.name} is larger than ${MOST_BYTES / 2 ** 20} MiB.`);
		return ofFile(file.name, await file.arrayBuffer());
	};
	const load = async (dropped) => {
		const files = [...dropped];
		if (!files.length) return;
		try {
			const passages = (await Promise.all(files.map(read))).flat();
			const left = passages.length > most ? `: ${passages.length} are more than are taken at once` : "";
			set("passages", { passages: passages.slice(0, most), collection: null, file: files.map(({ name }) => name).join(", ") + left, scene: null });
		} catch (error) {
			setFault(error);
		}
	};
	const over = useDropped(load);
	const edit = (control, changes, run) => {
		set(control, changes, run);
		requestAnimationFrame(() => own.current?.focus());
	};
	const choose = (name) => (name ? set : edit)("collection", { collection: name || null, scene: null });
	const typed = (run) => set("passages", { passages: ofLines(own.current.value).slice(0, most), file: null, scene: null }, run);
	const names = [...new Set([...collections, state.collection])].filter(Boolean);
	const options = { "": "your own passages", ...Object.fromEntries(names.map((name) => [name, `collection ${name}`])) };
	return html`<div class="field source ${over ? "over" : ""}">
		<label for=source>Search in</label>
		<${Select} id=source value=${state.collection} options=${options} change=${choose} />
		${state.collection === null && html`
			<label for=passages>Passages, one a line ${state.passages.length > 0 && html`<span class=count>${state.passages.length}${state.passages.length < most ? "" : ", more are not taken at once"}</span>`}</label>
			${state.file
				? html`<p class=file><span>${counted(state.passages.length)} of ${state.file}</span> <button class=plain onClick=${() => edit("passages", { file: null, passages: state.passages.map((text) => text.replace(/\s+/g, " ")) }, false)}>Edit as lines</button></p>`
				: html`<textarea id=passages ref=${own} rows=9 dir=auto spellcheck=false placeholder="Paste them here" onInput=${() => typed(false)} onPaste=${() => setTimeout(() => typed(true))}></textarea>`}
			<label class=upload>or drop a .txt, .jsonl or .csv file, or <input type=file multiple class=unseen accept=".txt,.jsonl,.ndjson,.csv" onClick=${(event) => (event.target.value = "")} onChange=${(event) => load(event.target.files)} /><span class=as-link>choose one</span></label>`}
		<${Message} problem=${fault ?? problem} />
	</div>`;
}
