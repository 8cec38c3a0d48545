// Ranks over the stream, the newest request only. The last good ranking stays where one fails.

import { useRef, useState } from "./vendor/preact-htm.js";
import { columns, counted, remember, same } from "./ranking.js";
import { Problem, ask, hasKey, rankLive } from "./service.js";
import { candidatesOf, toBody } from "./state.js";

const SLOW_MS = 300; // after which the page says what is happening
const PAUSE_MS = 150; // of a slider that moves
const LABEL = 80; // characters of a passage that stand for it
const asked = (place, words) => new Problem(words, { kind: "asked", place });
const ASKED = asked("key", "This service takes a key. Enter yours to rank; whoever runs the service can make you one.");

/** What is shown, what is happening, what went wrong, what each control did; and what ranks anew. */
export function useRanker(needsKey) {
	const [view, setView] = useState(null);
	const [busy, setBusy] = useState(null);
	const [problem, setProblem] = useState(null);
	const [notes, setNotes] = useState({});
	const at = useRef({ abort: null, timer: null, known: new Map(), view: null }).current;

	const rank = (state, control = null) => {
		clearTimeout(at.timer);
		at.timer = setTimeout(() => run(state, control), control === "diversity" ? PAUSE_MS : 0);
	};
	const run = async (state, control) => {
		at.abort?.abort();
		setProblem(null);
		await null; // what is wrong still is said again
		const wrong = needsKey && !hasKey() ? ASKED : checked(state);
		if (wrong) {
			setProblem(wrong);
			setView(at.view);
			return setBusy(null);
		}
		const { signal } = (at.abort = new AbortController());
		const partial = partials(state, at.view, signal, setView, setBusy);
		try {
			const answer = await rankLive(toBody(state), partial.add, signal);
			if (!signal.aborted) finish(state, control, answer);
		} catch (error) {
			if (signal.aborted) return;
			if (!(error instanceof Problem)) error = new Problem(String(error));
			error.message = error.message.replace(/^Excluded vector (\d+) is parallel to/, (_, number) => `“${state.exclude[number]}” means the same as`);
			setProblem(error);
			setView(at.view);
		} finally {
			partial.end();
		}
		if (!signal.aborted) setBusy(null);
	};
	const finish = (state, control, { results, meta }) => {
		const candidates = candidatesOf(state);
		const rows = results.map((row) => dressed(row, state));
		const isSame = candidates === at.view?.candidates;
		if (!isSame) at.known = new Map();
		setNotes(isSame && control && same(rows, at.view.rows) ? { [control]: "No effect on this list" } : {});
		if (meta.encoded === rows.length) remember(at.known, rows);
		at.view = { rows, meta, columns: columns(rows, meta.method, at.known), query: state.query, candidates };
		setView(at.view);
	};
	const showRecorded = async (state) => {
		setProblem(ASKED);
		if (state.scene !== "shop") return;
		const found = await ask("pages/recorded.json").catch(setProblem);
		if (!found) return;
		const rows = found.results.map(([index, relevance_score, classical, quantum, lexical]) => dressed({ index, relevance_score, scores: { classical, quantum, lexical } }, state));
		const named = (tokens) => tokens.map(([start, end, fidelity, match]) => ({ start, end, fidelity, match }));
		const recorded = { query: named(found.query), matches: found.tokens.map((tokens) => ({ tokens: named(tokens) })) };
		at.view ??= { rows, columns: columns(rows, "hybrid", new Map()), meta: null, query: state.query, recorded };
		setView(at.view);
	};
	return { view, busy, problem, notes, rank, showRecorded };
}

/** Shows partial rankings; of new candidates only if it takes long, so that nothing moves twice. */
function partials(state, last, signal, setView, setBusy) {
	const candidates = candidatesOf(state);
	const isSame = candidates === last?.candidates;
	const before = new Map(isSame ? last.rows.map((row) => [row.index, row]) : []);
	let isSlow = false;
	let order = null;
	const show = () => {
		if (signal.aborted) return;
		const doing = happening(state, order);
		if (isSlow) setBusy(doing);
		if (!order || state.collection || !(isSlow || isSame)) return; // a collection's texts come at the end
		const rows = order.results.map((row) => dressed({ ...before.get(row.index), ...row }, state));
		setView({ ...(isSame ? last : { columns: [], meta: null, query: state.query, candidates }), rows, partial: doing });
	};
	const timer = setTimeout(() => {
		isSlow = true;
		show();
	}, SLOW_MS);
	const add = (found) => {
		order = found;
		show();
	};
	return { add, end: () => clearTimeout(timer) };
}

function happening({ collection, passages }, order) {
	if (!order) return collection ? `Searching ${collection} …` : `Reading ${counted(passages.length)} …`;
	return order.encoded ? `${counted(order.encoded)} read so far …` : "Ranked by words; reading the passages …";
}

function checked({ query, collection, passages }) {
	if (!query.trim()) return asked("query", "Type a question first.");
	if (!collection && !passages.length) return asked("documents", "There is nothing to rank yet: paste passages, or choose a collection.");
	return null;
}


/** A row with what the page shows of its passage. */
function dressed(row, state) {
	const document = row.document ?? { title: "", text: state.passages[row.index] ?? "" };
	const ranked = document.title ? `${document.title} ${document.text}`.trim() : document.text;
	const shown = { title: document.title ?? "", text: document.text, ranked };
	const key = row.document ? `${document.id}/${document.chunk?.start ?? 0}` : `${row.index} ${ranked.slice(0, LABEL)}`;
	return { ...row, shown, key, label: (document.title ? `${document.title}: ${document.text}` : document.text).slice(0, LABEL).replace(/\s+/g, " ") };
}
