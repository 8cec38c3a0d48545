// The playground: a question, passages, and how each method ranks them.

import { html, render, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { Controls, Source, Threshold } from "./controls.js";
import { columns, remember, same } from "./ranking.js";
import { Result } from "./result.js";
import { SCENES, offered } from "./scenes.js";
import { Problem, ask, hasKey, rankLive, recorded } from "./service.js";
import { Bar, Message, startTheme, useMedia } from "./shell.js";
import { Past, candidatesOf, ofFragment, ofScene, toBody } from "./state.js";

const SLOW_MS = 300; // after which the page says what is happening
const PAUSE_MS = 150; // of a control that moves
const ONE_COLUMN = matchMedia("(max-width: 899px)");
const LABEL = 80; // characters of a passage that stand for it

function App({ service }) {
	const past = useMemo(() => new Past(), []);
	const first = useMemo(() => begin(service), []);
	const [state, setState] = useState(first);
	const [collections, setCollections] = useState(service.collections);
	const [asked, setAsked] = useState(first.query);
	const ranker = useRanker(service);
	const question = useRef(null);
	const narrow = useMedia(ONE_COLUMN);

	const show = (next, run) => {
		setState(next);
		setAsked(next.query);
		if (run) ranker.rank(next);
	};
	const set = (control, changes, run = true) => {
		const next = { ...state, query: asked, ...changes };
		past.push(next, control);
		show(next, false);
		if (run) ranker.rank(next, control);
	};
	const keyed = async () => {
		setCollections(await collectionsOf().catch(() => []));
		ranker.rank(state);
	};
	useEffect(() => {
		past.push(first, null, { replace: true });
		question.current.focus();
		question.current.select();
		if (!service.needsKey) ranker.rank(first);
		else ranker.ask(first);
	}, []);
	useEffect(() => {
		const back = () => show(past.current(state), true);
		addEventListener("popstate", back);
		return () => removeEventListener("popstate", back);
	});

	const submit = (event) => {
		event.preventDefault();
		set("query", { scene: asked === state.query ? state.scene : null });
	};
	const { problem } = ranker;
	const problems = problem ? { [problem.place]: problem } : {};
	const placed = ["key", "query", "passages", "documents", "collection", "run", "method", "deadline_ms", "language", "diversity", "exclude"];
	return html`
		<${Bar} here="playground" needed=${service.needsKey} problem=${problems.key} keyed=${keyed}>
			<p class="summary">${state.collection ? `collection ${state.collection}` : "your passages"} · ${state.method} · ${state.deadline === null ? "usual deadline" : state.deadline ? `${state.deadline} ms` : "no deadline"}</p>
		<//>
		<main>
			<section class="asking" aria-label="Question and passages">
				<h1>A search finds a hundred passages, a language model reads five. See which five, and why.</h1>
				<form class="ask" onSubmit=${submit}>
					<label class="unseen" for="question">Question</label>
					<textarea id="question" ref=${question} value=${asked} rows="2" dir="auto" autocomplete="off" maxlength="10000" onInput=${(event) => setAsked(event.target.value)} onKeyDown=${(event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && submit(event)}></textarea>
					<button class="main">Rank</button>
				</form>
				<${Message} problem=${problems.query ?? problems.run} />
				<p class="scenes">Try ${offered(collections).map((name) => html`<button class="plain" key=${name} aria-pressed=${state.scene === name} onClick=${() => set("scene", ofScene(name))}>${SCENES[name].label}</button>`)}</p>
				<details class="options" open=${!narrow}><summary>Passages and how to rank them</summary>
					<${Source} state=${state} set=${set} collections=${collections} most=${service.most} problem=${problems.passages ?? problems.documents ?? problems.collection} />
					<${Threshold} state=${state} set=${set} results=${ranker.view?.rows ?? []} />
					<${Controls} state=${state} set=${set} notes=${ranker.notes} problems=${problems} crossed=${service.crossed} />
				</details>
			</section>
			<section class="result" aria-label="Ranking" aria-busy=${ranker.busy !== null}>
				<${Result} view=${ranker.view} state=${state} busy=${ranker.busy} problem=${problem && !placed.includes(problem.place) ? problem : null} again=${() => ranker.rank(state)} />
			</section>
		</main>`;
}

/** Ranks over the stream, the newest request only. The last good ranking stays where one fails. */
function useRanker(service) {
	const [view, setView] = useState(null);
	const [busy, setBusy] = useState(null);
	const [problem, setProblem] = useState(null);
	const [notes, setNotes] = useState({});
	const now = useRef({ abort: null, timer: null, slow: null, known: new Map(), byIndex: new Map(), candidates: null, rows: [] });

	const rank = (state, control = null) => {
		clearTimeout(now.current.timer);
		now.current.timer = setTimeout(() => run(state, control), control === null ? 0 : PAUSE_MS);
	};
	const run = async (state, control) => {
		const at = now.current;
		at.abort?.abort();
		clearTimeout(at.slow);
		const wrong = checked(state);
		setProblem(wrong);
		if (wrong) return setBusy(null);
		const { signal } = (at.abort = new AbortController());
		let doing = state.collection ? `Searching ${state.collection} …` : `Reading ${state.passages.length} passages …`;
		let isSlow = false;
		at.slow = setTimeout(() => ((isSlow = true), setBusy(doing)), SLOW_MS);
		const candidates = candidatesOf(state);
		const onOrder = ({ results, encoded }) => {
			doing = encoded ? `${encoded} passages read so far …` : "Ranked by words; reading the passages …";
			if (isSlow) setBusy(doing);
			if (!state.collection && !signal.aborted) setView((last) => ({ ...fresh(last, candidates), rows: results.map((row) => dressed({ ...(last?.candidates === candidates ? at.byIndex.get(row.index) : null), ...row }, state)), partial: doing }));
		};
		try {
			const answer = await rankLive(toBody(state), onOrder, signal);
			if (signal.aborted) return;
			const rows = answer.results.map((row) => dressed(row, state));
			if (candidates !== at.candidates) at.known = new Map();
			else setNotes(control && same(rows, at.rows) ? { [control]: "No effect on this list" } : {});
			if (answer.meta.method !== "classical" && answer.meta.encoded === rows.length) remember(at.known, rows);
			Object.assign(at, { candidates, rows, byIndex: new Map(rows.map((row) => [row.index, row])) });
			setView({ rows, meta: answer.meta, columns: columns(rows, answer.meta.method, at.known), query: state.query, candidates });
		} catch (error) {
			if (signal.aborted) return;
			setProblem(error instanceof Problem ? error : new Problem(String(error)));
			setView((last) => (last?.partial ? { ...last, partial: "This ranking is not complete." } : last));
		}
		clearTimeout(at.slow);
		setBusy(null);
	};
	const askForKey = async (state) => {
		setProblem(new Problem("This service takes a key. Enter yours to rank; whoever runs the service can make you one.", { kind: "asked", place: "key" }));
		if (state.scene !== "shop") return;
		const { rows: found, ...tokens } = await recorded();
		const rows = found.map((row) => dressed(row, state));
		const note = "This ranking was recorded, with the default model. With a key you make your own.";
		setView((last) => last ?? { rows, columns: columns(rows, "hybrid", new Map()), meta: null, query: state.query, recorded: { ...tokens, note } });
	};
	return { view, busy, problem, notes, rank, ask: askForKey };
}

/** What of the last view stays while a ranking of these candidates comes in: its chart, if they are the same. */
const fresh = (last, candidates) => (last?.candidates === candidates ? last : { columns: [], meta: null, query: JSON.parse(candidates)[0], candidates });

function checked({ query, collection, passages }) {
	if (!query.trim()) return new Problem("Type a question first.", { place: "query" });
	if (!collection && !passages.length) return new Problem("There is nothing to rank yet: paste passages, or choose a collection.", { place: "passages" });
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

const collectionsOf = async () => (await ask("GET", "v1/collections")).data.map((each) => each.name);

function begin({ collections }) {
	const [usual] = offered(collections);
	const state = ofFragment(location.hash, ofScene(usual));
	return state.scene === "docs" && usual !== "docs" ? ofScene(usual) : state;
}

/** What the page must know of the service. While the model loads, it says so and asks again. */
async function look(say) {
	for (;;) {
		try {
			const [info, { auth }] = await Promise.all([ask("GET", "info"), ask("GET", "v1/cluster/auth")]);
			const collections = auth && !hasKey() ? [] : await collectionsOf();
			return { needsKey: auth, collections, crossed: Boolean(info.cross_encoder), most: info.max_client_batch_size };
		} catch (problem) {
			say(problem.kind === "not-ready" ? "The model is loading …" : `${problem.message} Trying again …`);
			await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(problem.retryAfter ?? 2, 10)));
		}
	}
}

startTheme();
const app = document.getElementById("app");
const service = await look((text) => render(html`<p class="loading" role="status">${text}</p>`, app));
render(null, app);
app.textContent = "";
render(html`<${App} service=${service} />`, app);
